"""Block-wise reading of one speaker's part of a recording: a channel, a section, with spans silenced by ramps.

Two parts of one recording with the same spans, one silent inside and one outside of them, add up to the recording.
"""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sca.audio.decode import AS_DEFAULT, BLOCK_SAMPLES, BlockReader, Reading
from sca.data.corpora.base import WHOLE, Part
from sca.units import seconds_to_samples

__all__ = ["RAMP_S", "PartReader"]

RAMP_S = 0.02
"""Length of the ramp at each edge of a silenced span; half of it lies on either side of the edge."""


class PartReader:
    """Reads a part of a recording once, in float32 mono blocks `(n,)` at the recording's rate; a context manager.

    Args:
        path: The recording.
        part: The part of it.
        block_samples: The length of a block, except where the part starts and ends.
        reading: How recordings are read.

    Attributes:
        rate_hz: The rate of the recording.
        channels: The number of channels that are averaged.
        frames: The number of samples yielded so far.

    Raises:
        InputError: The recording cannot be read or lacks the channel.
    """

    def __init__(
        self,
        path: Path,
        part: Part = WHOLE,
        block_samples: int = BLOCK_SAMPLES,
        *,
        reading: Reading = AS_DEFAULT,
    ) -> None:
        self._reader = BlockReader(path, block_samples, part.channel, reading=reading)
        self.rate_hz = self._reader.info.rate_hz
        self.channels = self._reader.info.channels if part.channel is None else 1
        self.frames = 0
        self._first = seconds_to_samples(part.start_s, self.rate_hz)
        self._last: int | None = None
        if part.duration_s is not None:
            self._last = self._first + seconds_to_samples(part.duration_s, self.rate_hz)
        self._gain = None if part.spans is None else _Gain(part.spans, part.inside, self.rate_hz)

    @property
    def non_finite(self) -> int:
        """NaN and infinite samples read so far, each replaced by 0."""
        return self._reader.non_finite

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks about what was read so far."""
        return self._reader.notes

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        position = 0
        for whole in self._reader:
            end = None if self._last is None else max(0, self._last - position)
            block = whole[max(0, self._first - position) : end]
            position += len(whole)
            if len(block):
                if self._gain is not None:
                    block *= self._gain.at(self.frames, len(block))
                self.frames += len(block)
                yield block
            if self._last is not None and position >= self._last:
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()


class _Gain:
    """A gain of 1 inside spans and 0 outside, or the other way round, with linear ramps at the edges."""

    def __init__(self, spans: tuple[tuple[float, float], ...], inside: bool, rate_hz: int) -> None:
        half = RAMP_S * rate_hz / 2
        edges = [edge * rate_hz for span in spans for edge in span]
        self._positions = np.array([position for edge in edges for position in (edge - half, edge + half)])
        levels = np.array([level for _ in spans for level in (0.0, 1.0, 1.0, 0.0)])
        self._levels = levels if inside else 1 - levels
        self._outside = 0.0 if inside else 1.0

    def at(self, first: int, count: int) -> NDArray[np.float32]:
        """Return the gains of samples `[first, first + count)`."""
        if not len(self._positions):
            return np.full(count, self._outside, np.float32)
        samples = np.arange(first, first + count)
        gain: NDArray[np.float32] = np.interp(samples, self._positions, self._levels).astype(np.float32)
        return gain
