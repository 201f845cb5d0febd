"""Turns blocks of input audio into the numbered, timestamped chunks that an engine receives.

Synchronous. The same samples give the same chunks for any block sizes, and no chunk contains a sample captured after
its own tick.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sca.audio.chunker import Chunker
from sca.infer.clock import TICKS_PER_HEARD_SAMPLE
from sca.infer.frames import Signal
from sca.infer.interfaces import AudioBlock
from sca.infer.session.pacing import SampleClock
from sca.infer.session.stats import SessionStats

__all__ = ["AudioChunk", "InputChunker"]


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """A chunk of input audio.

    Attributes:
        samples: Float32 `(n,)` at 16 kHz. The last chunk of a session is padded with zeros.
        index: The position of the chunk on the grid.
        end_tick: The time at which the last real sample was captured.
        valid_samples: The number of samples that the source delivered.
        added_silence: How many of the samples are silence that the source added.
        sound_start: The position of the first sample in the sound of the source.
        signals: What was decided about the turns of the user.
    """

    samples: NDArray[np.float32]
    index: int
    end_tick: int
    valid_samples: int
    added_silence: int = 0
    sound_start: int = 0
    signals: tuple[Signal, ...] = ()

    @property
    def timestamp(self) -> int:
        """The time of the first sample, in samples."""
        return self.index * len(self.samples)


class InputChunker:
    """Cuts input blocks into chunks, replaces invalid samples, and updates the statistics and the sample clock.

    Args:
        chunk_samples: The length of a chunk at 16 kHz.
        stats: Receives the counts of chunks, samples, non-finite and clipped samples.
        clock: Advanced with every block.
    """

    def __init__(self, chunk_samples: int, stats: SessionStats, clock: SampleClock) -> None:
        self._chunk_samples = chunk_samples
        self._chunker = Chunker(chunk_samples)
        self._stats = stats
        self._clock = clock
        self._end_tick = 0
        self._sound = self._added = 0  # samples of sound in the chunks so far, of silence in the next one
        self._signals: tuple[Signal, ...] = ()

    def push(self, block: AudioBlock) -> Iterator[AudioChunk]:
        """Add a block and yield the chunks that it completes.

        Raises:
            ValueError: The block is not float32 `(n,)`.
        """
        chunks = self._chunker.push(self._clean(block.samples))
        self._end_tick = block.end_tick
        self._added += block.added_silence
        self._signals += block.signals
        self._clock.advance(len(block.samples), block.end_tick)
        for remaining, samples in zip(range(len(chunks) - 1, -1, -1), chunks, strict=True):
            after = self._chunker.pending + remaining * self._chunk_samples
            yield self._chunk(samples, block.end_tick - after * TICKS_PER_HEARD_SAMPLE, self._chunk_samples)

    def flush(self) -> AudioChunk | None:
        """Return the unfinished chunk at the end of the input, or None if nothing is pending."""
        valid_samples = self._chunker.pending
        last = self._chunker.flush()
        return None if last is None else self._chunk(last, self._end_tick, valid_samples)

    def _chunk(self, samples: NDArray[np.float32], end_tick: int, valid_samples: int) -> AudioChunk:
        self._stats.chunks_in += 1
        added, signals, self._signals = min(self._added, valid_samples), self._signals, ()
        self._added -= added
        start = self._sound
        self._sound += valid_samples - added
        return AudioChunk(samples, self._stats.chunks_in - 1, end_tick, valid_samples, added, start, signals)

    def _clean(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        stats = self._stats
        stats.heard_samples += len(samples)
        if len(samples) == 0 or np.abs(samples).max() < 1:  # the usual case; False if a sample is NaN
            return samples
        finite = np.isfinite(samples)
        if not finite.all():
            stats.non_finite += int(finite.size - np.count_nonzero(finite))
            samples = np.where(finite, samples, np.float32(0))
        clipped = int(np.count_nonzero(np.abs(samples) >= 1))
        if clipped:
            stats.clipped += clipped
            samples = np.clip(samples, -1, 1)
        return samples
