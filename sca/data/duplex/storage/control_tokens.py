"""The control tokens of a stored row, found again by their places."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from sca.units import Grid

__all__ = ["PlacedControlToken", "decode_controls"]


class PlacedControlToken(NamedTuple):
    """A control token of a row: hold, start, stop or backchannel, and its place: chunk of the row, place in the chunk."""

    name: str
    chunk: int
    k: int


def decode_controls(
    ids: Sequence[int], names: Mapping[int, str], placeholder: int, grid: Grid
) -> Iterator[PlacedControlToken]:
    """The control tokens in `input_ids`, in order.   names: by id."""
    if not names:
        return
    heard, last = 0, -1
    for at, token in enumerate(ids):
        if token == placeholder:
            heard, last = heard + 1, at
        elif heard and token in names:
            yield PlacedControlToken(names[token], heard // grid.frames_per_chunk - 1, at - last - 1)
