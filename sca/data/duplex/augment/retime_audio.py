"""The sound of a retimed track: the speaker's own units where they are now, between them the room as it sounded there.

Nothing is made up: a pause that got longer repeats what was heard in it, forth and back; one that got shorter loses its middle.
Joins lie in pauses, or at the edge of a word where a unit was cut short or the recording began or ended; they fade over 5 ms.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from sca.data.duplex.audio.stored_samples import read_samples
from sca.data.duplex.model.units import Unit
from sca.units import HEARD_HZ

__all__ = ["TICK", "Piece", "pieces_of", "write_pieces"]

TICK = 2
"""Samples at 16 kHz that times are counted in here: 3 samples at 24 kHz."""
_FADE_S = 0.005
_ROOM = HEARD_HZ // 20 // TICK  # less than 50 ms is no room to repeat

Piece = tuple[int, int, int]
"""Ticks `[start, end)` of the recorded track; 1 played as they are, -1 played backwards, 0 silence of that length."""


def pieces_of(
    recorded: Sequence[Unit], retimed: Sequence[Unit], moves: Sequence[int], samples: int, total: int
) -> list[Piece]:
    """What a track of `samples` is made of, in order, so that it has `total` samples (both less than a tick).

    recorded, retimed: the units as they were and as they are; some of these end earlier.   moves: of each, in samples.
    """
    pauses = [*(unit.start for unit in recorded), samples]
    ended = [0, *(unit.end for unit in recorded)]
    gaps = [(-(-a // TICK), b // TICK) for a, b in zip(ended, pauses, strict=True)]
    room = max(gaps, key=lambda gap: gap[1] - gap[0])
    made: list[Piece] = []
    at = 0
    for n, (begin, end) in enumerate(gaps):
        goal = total // TICK if n == len(recorded) else begin_of(recorded[n], moves[n])
        made += _pause(begin, end, goal - at, room)
        at = goal
        if n < len(recorded):
            start = recorded[n].start // TICK
            stop = -(-(retimed[n].end - moves[n]) // TICK)
            made.append((start, stop, 1))
            at += stop - start
    return [piece for piece in made if piece[1] > piece[0]]


def begin_of(unit: Unit, move: int) -> int:
    """The tick at which a unit begins once it moved."""
    return unit.start // TICK + move // TICK


def _pause(begin: int, end: int, length: int, room: tuple[int, int]) -> Iterator[Piece]:
    """`length` ticks of the pause `[begin, end)`: its two ends, and in the middle what is too much or too little."""
    kept = min(length, end - begin)
    if kept == end - begin == length:
        yield begin, end, 1
        return
    left = kept // 2
    yield begin, begin + left, 1
    missing = length - kept
    a, b = (begin, end) if end - begin >= _ROOM else room
    step = -1
    while missing > 0 and b - a >= _ROOM:
        take = min(missing, b - a)
        # From where the last piece ended, back and forth.
        yield (b - take, b, -1) if step < 0 else (a, a + take, 1)
        missing, step = missing - take, -step
    if missing > 0:
        yield 0, missing, 0
    yield end - (kept - left), end, 1


def write_pieces(audio: Any, rate_hz: int, pieces: Sequence[Piece], out: soundfile.SoundFile) -> None:
    """Write what `pieces` says of a stored track (a mapped cell of `rate_hz`), fading at every join."""
    scale = TICK * rate_hz // HEARD_HZ
    fade = round(_FADE_S * rate_hz)
    for n, (start, end, step) in enumerate(pieces):
        samples = _piece(audio, rate_hz, start * scale, end * scale, step)
        joins_before = n > 0 and not _goes_on(pieces[n - 1], pieces[n])
        joins_after = n + 1 < len(pieces) and not _goes_on(pieces[n], pieces[n + 1])
        out.write(_faded(samples, fade if joins_before else 0, fade if joins_after else 0))


def _goes_on(before: Piece, after: Piece) -> bool:
    return before[2] == after[2] == 1 and before[1] == after[0]


def _piece(audio: Any, rate_hz: int, start: int, end: int, step: int) -> NDArray[np.int16]:
    samples = np.zeros(end - start, np.int16)
    if step:
        found = read_samples(audio, start, end - start, rate_hz)
        samples[: len(found)] = found
    return samples[::-1] if step < 0 else samples


def _faded(samples: NDArray[np.int16], first: int, last: int) -> NDArray[np.int16]:
    if not first and not last:
        return samples
    gain = np.ones(len(samples), np.float32)
    for length, where in ((first, slice(None, first)), (last, slice(len(samples) - last, None))):
        if length and len(samples) >= length:
            ramp = np.arange(1, length + 1, dtype=np.float32) / (length + 1)
            gain[where] *= ramp if where.start is None else ramp[::-1]
    faded: NDArray[np.int16] = np.rint(samples * gain).astype(np.int16)
    return faded
