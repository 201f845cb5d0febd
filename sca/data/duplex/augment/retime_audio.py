"""Audio of a retimed track: the units of its speaker at their new times, and recorded room sound between them.

Nothing is synthesised: a longer pause repeats its own sound, forwards and backwards; a shorter one loses its middle.
Joins lie in pauses, or at the edge of a word where a unit was cut short or the recording starts or ends; they fade over
5 ms.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from numpy.typing import NDArray

from sca.data.duplex.audio.stored_samples import read_samples
from sca.data.duplex.model.units import Unit
from sca.data.duplex.model.unlabelled import UnlabelledSpan
from sca.units import HEARD_HZ, seconds_to_samples

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["TICK", "Piece", "moved_spans", "pieces_of", "write_pieces"]

TICK = 2
"""The unit of time in this module, in samples at 16 kHz: 3 samples at 24 kHz."""
_FADE_S = 0.005
_MIN_ROOM = HEARD_HZ // 20 // TICK  # pauses under 50 ms are too short to be repeated

Piece = tuple[int, int, int]
"""Ticks `[start, end)` of the recorded track, played forwards (1), backwards (-1), or as silence (0)."""


def pieces_of(
    recorded: Sequence[Unit], retimed: Sequence[Unit], moves: Sequence[int], samples: int, total: int
) -> list[Piece]:
    """Return the pieces of a recorded track that make the retimed one, in order.

    Args:
        recorded: The units as recorded.
        retimed: The same units with their new times; some end earlier.
        moves: By how many samples each unit moved.
        samples: The length of the recorded track.
        total: The length of the retimed track. Both lengths are exact to a tick.
    """
    starts = [*(unit.start for unit in recorded), samples]
    ends = [0, *(unit.end for unit in recorded)]
    pauses = [(-(-end // TICK), start // TICK) for end, start in zip(ends, starts, strict=True)]
    longest = max(pauses, key=lambda pause: pause[1] - pause[0])
    pieces: list[Piece] = []
    at = 0
    for n, (begin, end) in enumerate(pauses):
        goal = total // TICK if n == len(recorded) else _begin_of(recorded[n], moves[n])
        pieces += _pause(begin, end, goal - at, longest)
        at = goal
        if n < len(recorded):
            start = recorded[n].start // TICK
            stop = -(-(retimed[n].end - moves[n]) // TICK)
            pieces.append((start, stop, 1))
            at += stop - start
    return [piece for piece in pieces if piece[1] > piece[0]]


def _begin_of(unit: Unit, move: int) -> int:
    """Return the tick at which a moved unit begins."""
    return unit.start // TICK + move // TICK


def _pause(begin: int, end: int, length: int, longest: tuple[int, int]) -> Iterator[Piece]:
    """Yield `length` ticks of the pause `[begin, end)`: both its ends, with the middle removed or repeated."""
    kept = min(length, end - begin)
    if kept == end - begin == length:
        yield begin, end, 1
        return
    left = kept // 2
    yield begin, begin + left, 1
    missing = length - kept
    a, b = (begin, end) if end - begin >= _MIN_ROOM else longest
    step = -1
    while missing > 0 and b - a >= _MIN_ROOM:
        take = min(missing, b - a)
        # Alternately backwards and forwards, from where the last piece ended.
        yield (b - take, b, -1) if step < 0 else (a, a + take, 1)
        missing, step = missing - take, -step
    if missing > 0:
        yield 0, missing, 0
    yield end - (kept - left), end, 1


def moved_spans(spans: Sequence[UnlabelledSpan], pieces: Sequence[Piece]) -> Iterator[UnlabelledSpan]:
    """Yield where parts of a recorded track are in the retimed one."""
    at = 0
    for first, last, direction in pieces:
        since, until = first * TICK, last * TICK
        for span in spans if direction else ():
            start, end = max(span.start, since), min(span.end, until)
            if start < end:
                moved = at + (start - since if direction > 0 else until - end)
                yield UnlabelledSpan(moved, moved + end - start, span.reason)
        at += until - since


def write_pieces(audio: "pa.Buffer", rate_hz: int, pieces: Sequence[Piece], out: soundfile.SoundFile) -> None:
    """Write pieces of a stored track, with a fade at every join.

    Args:
        audio: The track's cell, mapped.
        rate_hz: Its rate.
        pieces: The pieces.
        out: The file to write to.
    """
    scale = TICK * rate_hz // HEARD_HZ
    fade = seconds_to_samples(_FADE_S, rate_hz)
    for n, (start, end, step) in enumerate(pieces):
        samples = _piece(audio, rate_hz, start * scale, end * scale, step)
        joins_before = n > 0 and not _continues(pieces[n - 1], pieces[n])
        joins_after = n + 1 < len(pieces) and not _continues(pieces[n], pieces[n + 1])
        out.write(_faded(samples, fade if joins_before else 0, fade if joins_after else 0))


def _continues(before: Piece, after: Piece) -> bool:
    return before[2] == after[2] == 1 and before[1] == after[0]


def _piece(audio: "pa.Buffer", rate_hz: int, start: int, end: int, step: int) -> NDArray[np.int16]:
    samples = np.zeros(end - start, np.int16)
    if step:
        found = read_samples(audio, start, end - start, rate_hz)
        samples[: len(found)] = found
    return samples[::-1] if step < 0 else samples


def _faded(samples: NDArray[np.int16], first: int, last: int) -> NDArray[np.int16]:
    """Fade in over the first samples and out over the last ones."""
    if not first and not last:
        return samples
    gain = np.ones(len(samples), np.float32)
    for length, where in ((first, slice(None, first)), (last, slice(len(samples) - last, None))):
        if length and len(samples) >= length:
            ramp = np.arange(1, length + 1, dtype=np.float32) / (length + 1)
            gain[where] *= ramp if where.start is None else ramp[::-1]
    faded: NDArray[np.int16] = np.rint(samples * gain).astype(np.int16)
    return faded
