"""The speech of a session on its timeline, at one rate: for streams, recordings and anything else that needs it in time."""

import threading
from collections import deque

import numpy as np
from numpy.typing import NDArray

from sca.audio.resample import StreamResampler
from sca.units import seconds_to_samples
from sca.watch.events import Speech

__all__ = ["SpeechTrack"]

_GAP_US = 5_000
"""An utterance whose next samples are later than this after the last ones has a gap."""
_US = 1_000_000


class SpeechTrack:
    """Sample 0 is time 0 of the session. One thread adds, and any thread reads.

    Args:
        rate_hz: The rate.
        most_s: How much speech is held, in seconds; the oldest leaves.
    """

    def __init__(self, rate_hz: int, most_s: float = 120.0) -> None:
        self.rate_hz = rate_hz
        self._most = seconds_to_samples(most_s, rate_hz)
        self._blocks: deque[tuple[int, NDArray[np.float32]]] = deque()
        self._held = 0
        self._lock = threading.Lock()
        self._resampler: StreamResampler | None = None
        self._cycle, self._from_hz = -1, 0
        self._place = self._due_us = 0

    def add(self, speech: Speech, shift_us: int = 0) -> None:
        """Add samples. Those of an utterance follow each other without a gap, unless the voice is slower than its speech.

        Args:
            speech: The samples and their time.
            shift_us: How much later than that they are placed.
        """
        play_us = speech.play_us + shift_us
        if speech.cycle != self._cycle or speech.sample_rate != self._from_hz or play_us - self._due_us > _GAP_US:
            self.flush()
            self._cycle, self._from_hz = speech.cycle, speech.sample_rate
            self._resampler = StreamResampler(speech.sample_rate, self.rate_hz)
            self._place = max(self._place, play_us * self.rate_hz // _US)
            self._due_us = play_us
        self._due_us += len(speech.samples) * _US // speech.sample_rate
        assert self._resampler is not None
        self._put(self._resampler.push(speech.samples))

    def flush(self) -> None:
        """Add what the resampler holds back: the utterance is complete."""
        if self._resampler is not None:
            self._put(self._resampler.flush())
            self._resampler = None
            self._cycle = -1

    def _put(self, samples: NDArray[np.float32]) -> None:
        if not len(samples):
            return
        with self._lock:
            self._blocks.append((self._place, samples))
            self._held += len(samples)
            while self._held > self._most and len(self._blocks) > 1:
                self._held -= len(self._blocks.popleft()[1])
        self._place += len(samples)

    @property
    def end(self) -> int:
        """The sample after the last one that has speech."""
        return self._place

    def read(self, start: int, count: int) -> NDArray[np.float32]:
        """Return samples of the timeline; silence where nothing is spoken.

        Args:
            start: The first sample.
            count: How many.
        """
        found = np.zeros(count, np.float32)
        with self._lock:
            blocks = list(self._blocks)
        for place, samples in blocks:
            first, last = max(place, start), min(place + len(samples), start + count)
            if first < last:
                found[first - start : last - start] = samples[first - place : last - place]
        return found
