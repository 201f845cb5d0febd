"""Find the control tokens of a stored row."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from sca.units import Grid

__all__ = ["PlacedControlToken", "decode_controls"]


class PlacedControlToken(NamedTuple):
    """A control token of a row.

    Attributes:
        name: `hold`, `start`, `stop` or `backchannel`.
        chunk: Chunk of the row.
        k: Place in the chunk, from 0.
    """

    name: str
    chunk: int
    k: int


def decode_controls(
    input_ids: Sequence[int], names: Mapping[int, str], placeholder: int, grid: Grid
) -> Iterator[PlacedControlToken]:
    """Yield the control tokens of a row, in order.

    Args:
        input_ids: The tokens of the row.
        names: Names of the control tokens by id.
        placeholder: Id of the audio placeholder.
        grid: The grid of the data set.
    """
    if not names:
        return
    placeholders, last = 0, -1
    for at, token in enumerate(input_ids):
        if token == placeholder:
            placeholders, last = placeholders + 1, at
        elif placeholders and token in names:
            yield PlacedControlToken(names[token], placeholders // grid.frames_per_chunk - 1, at - last - 1)
