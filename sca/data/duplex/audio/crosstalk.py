"""How much of one speaker is heard in another's track: a microphone that picks up both, a loudspeaker in the room.

Looked at only where the one speaks and the other does not, so real overlapped speech is never taken for it. In windows of 0.512 s,
at 8 kHz and with the highs raised (y[n] = x[n] - 0.95 x[n-1]), with a the one's track and b the other's:

    rho(t)  = sum a[n] b[n+t] / sqrt(sum a[n]^2 · sum b[n+t]^2)          |t| <= 20 ms
    delay   = the t with the largest |rho|
    level   = 10 log10 (sum b[n+delay]^2 / sum a[n]^2)                   dB, against the one's own track

A window with |rho| of 0.25 or more is bleed. Voices that have nothing to do with each other stay below 0.2; a room that answers
more loudly than the voice itself arrives brings rho down to about 0.3.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import soundfile
from numpy.typing import NDArray

from sca.data.duplex.model.crosstalk import Bleed
from sca.data.duplex.model.spans import Span, merge_spans
from sca.units import HEARD_HZ

__all__ = ["bleed_in", "measure", "outside"]

_WINDOW = HEARD_HZ * 512 // 1000
_REACH = HEARD_HZ // 50  # 20 ms
_LEAST_RHO = 0.25
_TRANSFORM = 4608  # at 8 kHz a window and twice the reach are 4416 samples; this divides better
_LOUDER_DB = 6.0  # a window this much above the others' level has more in it than bleed
_QUIETEST = 1e-4  # -80 dBFS: nothing can be heard that is fainter
_MARGIN = HEARD_HZ // 5  # what a speaker's own words are widened by: breath, and times that are a little off
_WINDOWS_AT_ONCE = 64


def measure(
    of: str, source: Path | IO[bytes], speech: Sequence[Span], heard: Path | IO[bytes], own: Sequence[Span]
) -> Bleed:
    """How much of speaker `of` is in the track `heard`.

    source, heard: his own track and the other's, mono at 16 kHz, equally long.   speech, own: where he speaks, and where the other.
    """
    alone = outside(merge_spans(speech), own)
    windows: list[Span] = []
    found: list[tuple[Span, float, float]] = []
    with soundfile.SoundFile(source) as a, soundfile.SoundFile(heard) as b:
        for starts in _groups(alone, a.frames):
            first, last = starts[0] - _REACH, starts[-1] + _WINDOW + _REACH
            one, other = (_half(_read(file, first, last)) for file in (a, b))
            tried = [(start, start + _WINDOW) for start in starts]
            windows += tried
            rho, level, delay = bleed_in(one, other, [(start - first) // 2 for start in starts])
            every = zip(tried, np.abs(rho), level.tolist(), delay.tolist(), strict=True)
            found += [(span, db, 2000 * lag / HEARD_HZ) for span, height, db, lag in every if height >= _LEAST_RHO]
    samples = sum(end - start for start, end in merge_spans(windows))
    if not found:
        return Bleed(of, samples, (), (), None, None)
    level_db = float(np.median([db for _, db, _ in found]))
    only = merge_spans(span for span, db, _ in found if db <= level_db + _LOUDER_DB)
    delay_ms = float(np.median([lag for _, _, lag in found]))
    spans = merge_spans(span for span, _, _ in found)
    return Bleed(of, samples, tuple(spans), tuple(only), round(level_db, 2), round(delay_ms, 3))


def outside(spans: Sequence[Span], own: Sequence[Span]) -> list[Span]:
    """The parts of `spans` that stay 0.2 s away from all of `own`."""
    left: list[Span] = []
    away = merge_spans((start - _MARGIN, end + _MARGIN) for start, end in own)
    at = 0
    for start, end in spans:
        while at < len(away) and away[at][1] <= start:
            at += 1
        here = start
        for a, b in away[at:]:
            if a >= end:
                break
            if a > here:
                left.append((here, a))
            here = max(here, b)
        if here < end:
            left.append((here, end))
    return left


def bleed_in(
    one: NDArray[np.float32], other: NDArray[np.float32], starts: Sequence[int]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """The largest rho of each window, the level there in dB, and its delay in samples. All at 8 kHz; windows begin at `starts`."""
    size, reach = _WINDOW // 2, _REACH // 2
    at = np.asarray(starts)[:, None]
    a = one[at + np.arange(size)]
    b = other[at - reach + np.arange(size + 2 * reach)]
    # Circular; what wraps around lies behind the part that is looked at.
    spectrum = np.fft.rfft(b, _TRANSFORM) * np.conj(np.fft.rfft(a, _TRANSFORM))
    dot = np.fft.irfft(spectrum, _TRANSFORM)[:, : 2 * reach + 1]
    power = np.cumsum(np.pad(np.square(b, dtype=np.float64), ((0, 0), (1, 0))), axis=1)
    of_b = power[:, size:] - power[:, : 2 * reach + 1]
    of_a = np.square(a, dtype=np.float64).sum(axis=1)[:, None]
    loud = (of_a > size * _QUIETEST**2) & (of_b > size * _QUIETEST**2)
    rho = np.where(loud, dot / np.sqrt(np.maximum(of_a * of_b, 1e-30)), 0.0)
    best = np.argmax(np.abs(rho), axis=1)
    rows = np.arange(len(best))
    level = 10 * np.log10(np.maximum(of_b[rows, best], 1e-30) / np.maximum(of_a[:, 0], 1e-30))
    return rho[rows, best].astype(np.float32), level.astype(np.float32), best - reach


def _groups(alone: Sequence[Span], frames: int) -> Iterator[list[int]]:
    """Where windows begin, in groups near to each other: side by side in what is tried, the last one at its end."""
    group: list[int] = []
    for start, end in alone:
        first, last = start + start % 2, (min(end, frames) - _WINDOW) // 2 * 2
        for at in sorted({*range(first, last + 1, _WINDOW), last} if last >= first else ()):
            if group and (len(group) == _WINDOWS_AT_ONCE or at - group[0] > _WINDOWS_AT_ONCE * _WINDOW):
                yield group
                group = []
            group.append(at)
    if group:
        yield group


def _read(file: soundfile.SoundFile, first: int, last: int) -> NDArray[np.float32]:
    """Samples `[first, last)`, zeros outside the file."""
    samples = np.zeros(last - first, np.float32)
    begin = max(0, first)
    file.seek(min(begin, file.frames))
    found = file.read(max(0, min(last, file.frames) - begin), dtype="float32")
    samples[begin - first : begin - first + len(found)] = found
    return samples


def _half(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Half the rate, by the mean of each two, with the highs raised."""
    half = (samples[0::2] + samples[1::2]) * np.float32(0.5)
    half[1:] -= np.float32(0.95) * half[:-1]
    return half
