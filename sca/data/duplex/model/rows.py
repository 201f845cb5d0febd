"""Training rows in memory: segments, words and tokens on the grid.

Chunks of a row are counted from its first chunk, times are samples at 16 kHz from the start of the session.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sca.data.duplex.model.labels import Label
from sca.data.duplex.model.spans import Span
from sca.data.duplex.model.units import UnitWord

__all__ = ["DroppedSegment", "PlacedToken", "PlacedWord", "Row", "Segment"]


class PlacedToken(NamedTuple):
    """A token on the grid.

    Attributes:
        id: Token id.
        chunk: Chunk of the row.
        k: Place in the chunk, from 0.
    """

    id: int
    chunk: int
    k: int


@dataclass(frozen=True, slots=True)
class PlacedWord:
    """A word of a segment and the place of its first token.

    In scripts without spaces a token can span two words. It then counts for the first of them, and the second has no
    token of its own: `n_tokens` is 0 and the place is that of the next token.
    """

    word: UnitWord
    chunk: int
    k: int
    n_tokens: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A unit, or the part of it that falls into a row.

    Attributes:
        text: Its text.
        leading_space: Whether its tokens begin with a space.
        first_word: Index of its first word among all words of the speaker.
        words: Its words.
        tokens: Its text tokens.
        label: Label of the whole unit.
        lag: Most chunks that a token is placed after the chunk it should be in.
        opening: Control token before the text, if any.
        closing: Control token after the text, if any.
        spoken_chunks: First and last chunk during which it is spoken. The last can lie beyond the row.
    """

    text: str
    leading_space: bool
    first_word: int
    words: tuple[PlacedWord, ...]
    tokens: tuple[PlacedToken, ...]
    label: Label
    lag: int
    opening: PlacedToken | None
    closing: PlacedToken | None
    spoken_chunks: tuple[int, int]

    @property
    def all_tokens(self) -> list[PlacedToken]:
        """Text tokens and the control tokens around them, in order."""
        return [token for token in (self.opening, *self.tokens, self.closing) if token is not None]


@dataclass(frozen=True, slots=True)
class DroppedSegment:
    """A segment that was left out of its row because it lagged too far (`on_lag = drop-unit`)."""

    text: str
    start: int
    end: int
    n_tokens: int
    first_word: int
    n_words: int


@dataclass(frozen=True, slots=True)
class Row:
    """Chunks `[first, first + n_chunks)` of a session, seen from one speaker.

    Attributes:
        first: First chunk, counted in the session.
        n_chunks: Chunks in the row.
        extended: How many of them lie past the end of the window, for tokens that found no earlier place.
        input_ids: int32 `(tokens,)`.
        segments: Segments in time order.
        dropped: Segments left out on request.
        flags: Exceptional cuts and placements, without duplicates.
        unlabelled: Ranges `[first, end)` of chunks that are not labels: the words of the speech there are not known.
    """

    first: int
    n_chunks: int
    extended: int
    input_ids: NDArray[np.int32]
    segments: tuple[Segment, ...]
    dropped: tuple[DroppedSegment, ...]
    flags: tuple[str, ...]
    unlabelled: tuple[Span, ...] = ()
