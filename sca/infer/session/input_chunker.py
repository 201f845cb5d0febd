"""What a session hears, made fit for an engine: cleaned, counted and cut into chunks with their place and time.

Synchronous. The same samples give the same chunks however a device cuts them into blocks, and no chunk holds a sample that was
heard after its own tick.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sca.audio.chunker import Chunker
from sca.infer.clock import TICKS_PER_HEARD_SAMPLE
from sca.infer.interfaces import AudioBlock
from sca.infer.session.pacing import SampleClock, SessionStats

__all__ = ["AudioChunk", "InputChunker"]


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """A chunk heard.

    samples: float32 `(n,)` at 16 kHz, filled up with zeros when the session ended inside it.   length: how many are real.
    tick: when its last real sample was heard.
    """

    samples: np.ndarray
    index: int
    end_tick: int
    valid_samples: int

    @property
    def timestamp(self) -> int:
        """Sample clock of the first sample."""
        return self.index * len(self.samples)


class InputChunker:
    """Feeds `stats` and `clock` with what it hears. Raises ValueError for blocks that are not float32 `(n,)`."""

    def __init__(self, chunk_samples: int, stats: SessionStats, clock: SampleClock) -> None:
        self._chunk_samples = chunk_samples
        self._chunker = Chunker(chunk_samples)
        self._stats = stats
        self._clock = clock
        self._tick = 0

    def push(self, block: AudioBlock) -> Iterator[AudioChunk]:
        """Hear a block; gives the chunks it completes."""
        chunks = self._chunker.push(self._clean(block.samples))
        self._tick = block.end_tick
        self._clock.advance(len(block.samples), block.end_tick)
        for left, samples in zip(range(len(chunks) - 1, -1, -1), chunks, strict=True):
            after = self._chunker.pending + left * self._chunk_samples
            yield self._heard(samples, block.end_tick - after * TICKS_PER_HEARD_SAMPLE, self._chunk_samples)

    def flush(self) -> AudioChunk | None:
        """The unfinished chunk at the end, if there is one."""
        length = self._chunker.pending
        last = self._chunker.flush()
        return None if last is None else self._heard(last, self._tick, length)

    def _heard(self, samples: np.ndarray, tick: int, length: int) -> AudioChunk:
        self._stats.chunks_in += 1
        return AudioChunk(samples, self._stats.chunks_in - 1, tick, length)

    def _clean(self, samples: np.ndarray) -> np.ndarray:
        stats = self._stats
        stats.heard_samples += len(samples)
        if len(samples) == 0 or np.abs(samples).max() < 1:  # as good as always; false where one is NaN
            return samples
        finite = np.isfinite(samples)
        if not finite.all():
            stats.non_finite += int(finite.size - np.count_nonzero(finite))
            samples = np.where(finite, samples, np.float32(0))
        loud = int(np.count_nonzero(np.abs(samples) >= 1))
        if loud:
            stats.clipped += loud
            samples = np.clip(samples, -1, 1)
        return samples
