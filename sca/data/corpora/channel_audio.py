"""The sound of one speaker's part of a recording, block by block: a channel, a section, with spans silenced by ramps.

Two parts of one recording with the same spans, one inside and one outside of them, add up to the recording.
"""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sca.audio.decode import BLOCK_SAMPLES, BlockReader
from sca.data.corpora.base import WHOLE, Part

__all__ = ["RAMP_S", "PartReader"]

RAMP_S = 0.02
"""How long a silenced span takes to fade, half of it on either side of the span's edge."""


class PartReader:
    """Walk a part of a recording once, in float32 mono blocks `(n,)` at the recording's rate; a context manager.

    rate_hz: of the recording.   channels: that make up this mono sound.   frames: handed out so far.   non_finite: as of
    `BlockReader`. Raises `InputError` for a recording that cannot be read or lacks the channel.
    """

    def __init__(self, path: Path, part: Part = WHOLE, block_samples: int = BLOCK_SAMPLES) -> None:
        self._reader = BlockReader(path, block_samples, part.channel)
        self.rate_hz = self._reader.info.rate_hz
        self.channels = self._reader.info.channels if part.channel is None else 1
        self.frames = 0
        self._first = round(part.start_s * self.rate_hz)
        self._last = None if part.duration_s is None else self._first + round(part.duration_s * self.rate_hz)
        self._gain = None if part.spans is None else _Gain(part.spans, part.inside, self.rate_hz)

    @property
    def non_finite(self) -> int:
        """NaN and infinite samples met so far, each replaced by 0."""
        return self._reader.non_finite

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        at = 0
        for whole in self._reader:
            block = whole[max(0, self._first - at) : None if self._last is None else max(0, self._last - at)]
            at += len(whole)
            if len(block):
                if self._gain is not None:
                    block *= self._gain.of(self.frames, len(block))
                self.frames += len(block)
                yield block
            if self._last is not None and at >= self._last:
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader.close()


class _Gain:
    """1 inside spans and 0 outside, or the other way round, with linear ramps around the edges."""

    def __init__(self, spans: tuple[tuple[float, float], ...], inside: bool, rate_hz: int) -> None:
        half = RAMP_S * rate_hz / 2
        edges = [edge * rate_hz for span in spans for edge in span]
        self._at = np.array([at for edge in edges for at in (edge - half, edge + half)])
        levels = [level for _ in spans for level in (0.0, 1.0, 1.0, 0.0)]
        self._level = np.array(levels) if inside else 1 - np.array(levels)
        self._outside = 0.0 if inside else 1.0

    def of(self, first: int, count: int) -> NDArray[np.float32]:
        if not len(self._at):
            return np.full(count, self._outside, np.float32)
        gain: NDArray[np.float32] = np.interp(np.arange(first, first + count), self._at, self._level).astype(np.float32)
        return gain
