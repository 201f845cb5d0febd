"""Diarize a recording: embed the windows of its speech, find the speakers, and decode the speakers of each moment.

Only embeddings of windows are held besides the samples: 5 vectors of 256 numbers per second of speech, 37 MB for two
hours.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sca.audio.samples import Samples
from sca.data.diarization.clustering import find_voices
from sca.data.diarization.decode import NOBODY, decode
from sca.data.diarization.timeline import FRAME_SAMPLES, SpeakerFrames
from sca.data.speakers.base import WindowModel, normalized
from sca.units import HEARD_HZ

__all__ = ["Diarizer", "SpeakerCount"]

Span: TypeAlias = tuple[int, int]

_SHORTEST_SURE_SAMPLES = 7 * HEARD_HZ // 10
_PAUSE_SAMPLES = HEARD_HZ // 2


@dataclass(frozen=True, slots=True)
class SpeakerCount:
    """How many speakers a recording may have.

    Attributes:
        least: At least so many.
        most: At most so many; None for any number.
    """

    least: int = 1
    most: int | None = None


@dataclass(frozen=True, slots=True)
class _Window:
    """A window of speech: the part of the recording that it decides on, in samples, and where its sound is."""

    start: int
    end: int
    first: int
    last: int


class Diarizer:
    """Finds the speakers of each moment.

    Args:
        model: The embedding model.
        count: How many speakers a recording may have.
        threshold: Voices with mean embeddings of a higher cosine are one speaker; that of the model if None.
    """

    def __init__(self, model: WindowModel, count: SpeakerCount, threshold: float | None = None) -> None:
        self._model, self._count = model, count
        self._threshold = model.threshold if threshold is None else threshold

    def diarize(self, samples: Samples, speech: Sequence[Span]) -> SpeakerFrames:
        """Find the speakers of each moment.

        Args:
            samples: float32 mono `(n,)` at 16 kHz.
            speech: Where speech is, in samples, sorted and disjoint.

        Returns:
            The speakers of each frame of speech. Speaker 0 speaks most.

        Raises:
            InputError: The model failed.
        """
        windows = [window for span in speech for window in self._windows(span)]
        frames = np.full((-(-len(samples) // FRAME_SAMPLES), 2), NOBODY, np.int16)
        if not windows:
            return SpeakerFrames(frames, np.zeros((0, 0), np.float32), np.zeros(0, np.int64))
        vectors = self._embed(samples, windows)
        is_sure = np.array([window.last - window.first >= _SHORTEST_SURE_SAMPLES for window in windows])
        if not is_sure.any():
            is_sure[:] = True
        lengths = np.array([window.end - window.start for window in windows], np.float32)
        hops = lengths / np.float32(self._model.hop_samples)
        voices = find_voices(
            vectors[is_sure],
            self._threshold,
            weights=hops[is_sure],
            least=self._count.least,
            most=self._count.most,
        )
        silences = [window.start - before.end for before, window in pairwise(windows)]
        gaps, pauses = [True, *(s > 0 for s in silences)], [True, *(s >= _PAUSE_SAMPLES for s in silences)]
        found = decode(vectors @ voices.T, hops, gaps, pauses)
        order = _by_time(found, windows, len(voices))
        for window, speakers in zip(windows, found, strict=True):
            first, last = round(window.start / FRAME_SAMPLES), round(window.end / FRAME_SAMPLES)
            frames[first:last] = [NOBODY if speaker == NOBODY else order.index(speaker) for speaker in speakers]
        middles = np.array([(window.start + window.end) // 2 for window in windows], np.int64)
        return SpeakerFrames(frames, vectors @ voices[order].T, middles)

    def _windows(self, span: Span) -> list[_Window]:
        """Return the windows of a span of speech. A span shorter than a window has one, of its own length."""
        start, end = span
        size, hop = self._model.window_samples, self._model.hop_samples
        if end - start <= size:
            return [_Window(start, end, start, end)]
        firsts = list(range(start, end - size + 1, hop))
        middles = [first + size // 2 for first in firsts]
        edges = [start, *((one + other) // 2 for one, other in pairwise(middles)), end]
        return [_Window(edges[n], edges[n + 1], first, first + size) for n, first in enumerate(firsts)]

    def _embed(self, samples: Samples, windows: Sequence[_Window]) -> NDArray[np.float32]:
        """Return the normalized embeddings of windows. A shorter one is repeated until it is long enough."""
        size = self._model.window_samples
        whole = [n for n, window in enumerate(windows) if window.last - window.first == size]
        parts: dict[int, NDArray[np.float32]] = {}
        if whole:
            found = self._model.embed_windows(samples, [windows[n].first for n in whole])
            parts.update(zip(whole, found, strict=True))
        for n, window in enumerate(windows):
            if n not in parts:
                repeated = np.resize(samples[window.first : window.last], size)
                parts[n] = self._model.embed_windows(repeated, [0])[0]
        return normalized(np.stack([parts[n] for n in range(len(windows))]))


def _by_time(found: NDArray[np.int16], windows: Sequence[_Window], count: int) -> list[int]:
    """Return the speakers that have windows, the one with most speech first."""
    spoken = np.zeros(count, np.int64)
    for window, speakers in zip(windows, found, strict=True):
        for speaker in speakers[speakers != NOBODY]:
            spoken[speaker] += window.end - window.start
    return [int(speaker) for speaker in np.lexsort((np.arange(count), -spoken)) if spoken[speaker]]
