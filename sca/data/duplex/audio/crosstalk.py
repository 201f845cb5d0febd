"""Cross-talk: how much of one speaker is audible in another's track, for example in a shared room.

Only stretches in which one speaker speaks and the other does not are examined, so overlapping speech is never counted.
In windows of 0.512 s, at 8 kHz with pre-emphasis (y[n] = x[n] - 0.95 x[n-1]), where a is the speaker's own track and b
the other:

    rho(t)  = sum a[n] b[n+t] / sqrt(sum a[n]^2 · sum b[n+t]^2)          |t| <= 20 ms
    delay   = the t with the largest |rho|
    level   = 10 log10 (sum b[n+delay]^2 / sum a[n]^2)                   dB, relative to the own track

A window with |rho| of 0.25 or more has cross-talk. Unrelated voices stay below 0.2; if the reverberation of a room is
louder than the direct sound, rho is about 0.3.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import soundfile
from numpy.typing import NDArray

from sca.data.duplex.model.crosstalk import Bleed
from sca.data.duplex.model.spans import Span
from sca.spans import merge_spans
from sca.units import HEARD_HZ

__all__ = ["bleed_in", "measure", "outside"]

_WINDOW = HEARD_HZ * 512 // 1000
_MAX_DELAY = HEARD_HZ // 50  # 20 ms
_MIN_RHO = 0.25
_FFT_SIZE = 4608  # at 8 kHz a window and twice the delay are 4416 samples; this has smaller factors
_LOUDER_DB = 6.0  # a window this much above the median level contains more than cross-talk
_QUIETEST = 1e-4  # -80 dBFS: anything fainter is inaudible
_MARGIN = HEARD_HZ // 5  # a speaker's own words are widened by this: breath, and inexact times
_WINDOWS_AT_ONCE = 64


def measure(
    of: str, source: Path | IO[bytes], speech: Sequence[Span], heard: Path | IO[bytes], own: Sequence[Span]
) -> Bleed:
    """Measure how much of one speaker is audible in the track of another.

    Args:
        of: The speaker.
        source: That speaker's track. Both tracks are mono, at 16 kHz and of equal length.
        speech: Where that speaker speaks.
        heard: The track of the other speaker.
        own: Where the other speaker speaks.
    """
    alone = outside(merge_spans(speech), own)
    windows: list[Span] = []
    found: list[tuple[Span, float, float]] = []
    with soundfile.SoundFile(source) as a, soundfile.SoundFile(heard) as b:
        for starts in _window_groups(alone, a.frames):
            first, last = starts[0] - _MAX_DELAY, starts[-1] + _WINDOW + _MAX_DELAY
            own_track, other_track = (_half_rate(_read(file, first, last)) for file in (a, b))
            tried = [(start, start + _WINDOW) for start in starts]
            windows += tried
            rho, level, delay = bleed_in(own_track, other_track, [(start - first) // 2 for start in starts])
            measured = zip(tried, np.abs(rho), level.tolist(), delay.tolist(), strict=True)
            found += [(span, db, 2000 * lag / HEARD_HZ) for span, height, db, lag in measured if height >= _MIN_RHO]
    samples = sum(end - start for start, end in merge_spans(windows))
    if not found:
        return Bleed(of, samples, (), (), None, None)
    level_db = float(np.median([db for _, db, _ in found]))
    only = merge_spans(span for span, db, _ in found if db <= level_db + _LOUDER_DB)
    delay_ms = float(np.median([lag for _, _, lag in found]))
    spans = merge_spans(span for span, _, _ in found)
    return Bleed(of, samples, tuple(spans), tuple(only), round(level_db, 2), round(delay_ms, 3))


def outside(spans: Sequence[Span], own: Sequence[Span]) -> list[Span]:
    """Return the parts of `spans` that are at least 0.2 s away from all of `own`."""
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
    own: NDArray[np.float32], other: NDArray[np.float32], starts: Sequence[int]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Compare windows of two tracks. All lengths and times are samples at 8 kHz.

    Args:
        own: The track of the speaker, `(n,)`.
        other: The same stretch of the other track, `(n,)`.
        starts: Where the windows begin.

    Returns:
        For each window the rho with the largest magnitude, the level at that delay in dB, and the delay.
    """
    size, reach = _WINDOW // 2, _MAX_DELAY // 2
    at = np.asarray(starts)[:, None]
    a = own[at + np.arange(size)]
    b = other[at - reach + np.arange(size + 2 * reach)]
    # The correlation is circular; the part that wraps around lies behind the delays that are used.
    spectrum = np.fft.rfft(b, _FFT_SIZE) * np.conj(np.fft.rfft(a, _FFT_SIZE))
    dot = np.fft.irfft(spectrum, _FFT_SIZE)[:, : 2 * reach + 1]
    power = np.cumsum(np.pad(np.square(b, dtype=np.float64), ((0, 0), (1, 0))), axis=1)
    of_b = power[:, size:] - power[:, : 2 * reach + 1]
    of_a = np.square(a, dtype=np.float64).sum(axis=1)[:, None]
    loud = (of_a > size * _QUIETEST**2) & (of_b > size * _QUIETEST**2)
    rho = np.where(loud, dot / np.sqrt(np.maximum(of_a * of_b, 1e-30)), 0.0)
    best = np.argmax(np.abs(rho), axis=1)
    rows = np.arange(len(best))
    level = 10 * np.log10(np.maximum(of_b[rows, best], 1e-30) / np.maximum(of_a[:, 0], 1e-30))
    return rho[rows, best].astype(np.float32), level.astype(np.float32), best - reach


def _window_groups(alone: Sequence[Span], frames: int) -> Iterator[list[int]]:
    """Yield the starts of windows in groups that are close together.

    The windows of a span are adjacent, except that the last one ends where the span ends. Starts are even, because the
    rate is halved later.
    """
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
    """Read samples `[first, last)`, zeros outside the file."""
    samples = np.zeros(last - first, np.float32)
    begin = max(0, first)
    file.seek(min(begin, file.frames))
    found = file.read(max(0, min(last, file.frames) - begin), dtype="float32")
    samples[begin - first : begin - first + len(found)] = found
    return samples


def _half_rate(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Halve the rate by averaging pairs, and apply pre-emphasis."""
    half = (samples[0::2] + samples[1::2]) * np.float32(0.5)
    half[1:] -= np.float32(0.95) * half[:-1]
    return half
