"""Decoded frames of FFmpeg as samples of one rate and number of channels."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sca.audio.coded.containers import channel_names
from sca.audio.coded.layouts import fitted

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler

__all__ = ["FrameConverter"]


class FrameConverter:
    """Converts frames to float32 at one rate and number of channels, also where their format changes.

    Args:
        rate_hz: The rate of the result.
        weights: The weight of each channel of the result in its mono mix, float32 `(channels,)`.
    """

    def __init__(self, rate_hz: int, weights: NDArray[np.float32]) -> None:
        self._rate_hz, self._weights = rate_hz, weights
        self._format: tuple[str, str, int] | None = None
        self._resampler: AudioResampler | None = None
        self._channels: tuple[str, ...] = ()

    def differs(self, frame: "AudioFrame") -> bool:
        """Return whether a frame has another format than the ones before it."""
        return self._format is not None and self._format != _format_of(frame)

    def convert(self, frame: "AudioFrame") -> Iterator[NDArray[np.float32]]:
        """Convert a frame. Call `flush` first if its format differs."""
        import av

        if self._resampler is None:
            # Resampling to the rate of the header handles frames with another rate than the stream (HE-AAC).
            self._resampler = av.AudioResampler(format="fltp", rate=self._rate_hz)
            self._format, self._channels = _format_of(frame), channel_names(frame.layout.channels)
        yield from self._results(frame)

    def flush(self) -> Iterator[NDArray[np.float32]]:
        """Return what the resampler holds."""
        if self._resampler is not None:
            yield from self._results(None)
        self._resampler = None

    def _results(self, frame: "AudioFrame | None") -> Iterator[NDArray[np.float32]]:
        assert self._resampler is not None
        for out in self._resampler.resample(frame):
            samples = fitted(np.asarray(out.to_ndarray(), np.float32).T, self._channels, self._weights)
            yield np.ascontiguousarray(samples)


def _format_of(frame: "AudioFrame") -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate
