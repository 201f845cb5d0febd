"""Play finished audio on a loudspeaker to its end.

Live sessions use `LoudspeakerSink`, which is paced and interruptible.
"""

import threading
import time
from collections import deque
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from sca.audio.resample import StreamResampler
from sca.errors import InputError
from sca.infer.audio_io.base import select_device
from sca.infer.audio_io.registry import load_backend

__all__ = ["play"]

_AHEAD_S = 2
_CALLBACK_TIMEOUT_S = 5.0
_POLL_S = 0.02


class _SampleQueue:
    """Samples between the caller and the driver's thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks: deque[NDArray[np.float32]] = deque()
        self.samples = 0
        self.last_callback_s = time.monotonic()

    def put(self, block: NDArray[np.float32]) -> None:
        with self._lock:
            if len(block):
                self._blocks.append(block)
                self.samples += len(block)

    def fill(self, n: int) -> NDArray[np.float32]:
        """Return the next `n` samples, padded with silence."""
        out = np.zeros(n, np.float32)
        done = 0
        with self._lock:
            self.last_callback_s = time.monotonic()
            while done < n and self._blocks:
                block = self._blocks.popleft()
                taken = min(n - done, len(block))
                out[done : done + taken] = block[:taken]
                if taken < len(block):
                    self._blocks.appendleft(block[taken:])
                done += taken
            self.samples -= done
        return out


def play(
    blocks: Iterable[NDArray[np.float32]], rate_hz: int, *, backend: str = "miniaudio", device: str | None = None
) -> None:
    """Play audio and return when the last sample has been handed to the driver.

    Args:
        blocks: Float32 mono `(n,)`. At most two seconds are buffered.
        rate_hz: The rate of the blocks.
        backend: The name of the audio backend.
        device: The output device; see `select_device`.

    Raises:
        MissingToolError: The backend or a loudspeaker is missing.
        UsageError: The device does not exist.
        InputError: The device cannot be opened, or stops.
    """
    library = load_backend(backend)
    chosen = select_device(library.devices(), "output", device)
    queue = _SampleQueue()
    stream = library.open_output(chosen, queue.fill)

    def wait_until(most_samples: int) -> None:
        while queue.samples > most_samples:
            if stream.stopped or time.monotonic() - queue.last_callback_s > _CALLBACK_TIMEOUT_S:
                raise InputError(
                    f"the output device {chosen.name!r} has stopped", hint="check sca devices, and try again"
                )
            time.sleep(_POLL_S)

    try:
        resampler = StreamResampler(rate_hz, stream.rate_hz)
        for block in blocks:
            # A second at a time, so that the queue stays short for any block size.
            for at in range(0, len(block), rate_hz):
                queue.put(resampler.push(block[at : at + rate_hz]))
                wait_until(_AHEAD_S * stream.rate_hz)
        queue.put(resampler.flush())
        queue.put(np.zeros(stream.rate_hz // 4, np.float32))  # lets the driver play its own buffer before it is closed
        wait_until(0)
    finally:
        stream.close()
