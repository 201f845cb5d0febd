"""Training rows in memory: chunks, segments and words on the grid."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sca.data.duplex.model.labels import Label
from sca.data.duplex.model.units import UnitWord

__all__ = ["Dropped", "Row", "Segment", "SegmentWord"]


@dataclass(frozen=True, slots=True)
class SegmentWord:
    """A word of a segment: its times (samples at 16 kHz in the session), the place of its first token, how many it has.

    A word whose characters went into its neighbour's token (possible in scripts without spaces) has no token of its own: `tokens`
    is then 0.
    """

    word: UnitWord
    chunk: int
    k: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A unit, or the part of it that falls into a row. `slots` and `ks` are its tokens' places, counted from the row's start.

    opening, closing: the control tokens before and after them, as (id, chunk).   speaks: the chunks `[first, last]` during which it
    is spoken.
    """

    text: str
    leading_space: bool
    first_word: int
    words: tuple[SegmentWord, ...]
    ids: tuple[int, ...]
    slots: tuple[int, ...]
    ks: tuple[int, ...]
    label: Label
    lag: int
    opening: tuple[int, int] | None
    closing: tuple[int, int] | None
    speaks: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Dropped:
    """A unit that was left out of a row on request because it lagged too far."""

    text: str
    start: int
    end: int
    tokens: int
    first_word: int
    words: int


@dataclass(frozen=True, slots=True)
class Row:
    """Chunks `[first, first + n_chunks)` of a session from one side. `extended` of the chunks lie past the window's end."""

    first: int
    n_chunks: int
    extended: int
    input_ids: NDArray[np.int32]
    segments: tuple[Segment, ...]
    dropped: tuple[Dropped, ...]
    flags: tuple[str, ...]
