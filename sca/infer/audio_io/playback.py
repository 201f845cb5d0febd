"""Play finished sound on a loudspeaker, to its end. The live loop has its own way out (`sound_out`), paced and interruptible."""

import threading
import time
from collections import deque
from collections.abc import Iterable

import numpy as np

from sca.audio.resample import StreamResampler
from sca.errors import InputError
from sca.infer.audio_io.base import select_device
from sca.infer.audio_io.registry import load_backend

__all__ = ["play"]

_AHEAD_S = 2.0
_LOST_S = 5.0
_POLL_S = 0.02


class _Ring:
    """Samples between who makes them and the driver's thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._blocks: deque[np.ndarray] = deque()
        self.queued = 0
        self.asked_at = time.monotonic()

    def put(self, block: np.ndarray) -> None:
        with self._lock:
            if len(block):
                self._blocks.append(block)
                self.queued += len(block)

    def fill(self, n: int) -> np.ndarray:
        """What the driver plays next; silence where nothing is there (yet, or any more)."""
        out = np.zeros(n, np.float32)
        at = 0
        with self._lock:
            self.asked_at = time.monotonic()
            while at < n and self._blocks:
                block = self._blocks.popleft()
                take = min(n - at, len(block))
                out[at : at + take] = block[:take]
                if take < len(block):
                    self._blocks.appendleft(block[take:])
                at += take
            self.queued -= at
        return out


def play(blocks: Iterable[np.ndarray], rate_hz: int, *, backend: str = "miniaudio", device: str | None = None) -> None:
    """Play float32 mono blocks `(n,)` and return when the last sample was handed over. Two seconds wait ahead, no more.

    device: as `select_device` understands it. Raises `MissingToolError`, `UsageError`, and `InputError` when the device goes away.
    """
    library = load_backend(backend)
    chosen = select_device(library.devices(), "output", device)
    ring = _Ring()
    stream = library.open_output(chosen, ring.fill)

    def wait_until(most: int) -> None:
        while ring.queued > most:
            if stream.stopped or time.monotonic() - ring.asked_at > _LOST_S:
                raise InputError(
                    f"the output device {chosen.name!r} stopped taking sound", hint="look at sca devices, and try again"
                )
            time.sleep(_POLL_S)

    try:
        resampler = StreamResampler(rate_hz, stream.rate_hz)
        for block in blocks:
            # In pieces, so that the ring holds no more than it should whatever is given.
            for at in range(0, len(block), rate_hz):
                ring.put(resampler.push(block[at : at + rate_hz]))
                wait_until(round(_AHEAD_S * stream.rate_hz))
        ring.put(resampler.flush())
        ring.put(np.zeros(stream.rate_hz // 4, np.float32))  # what the driver still holds is heard before it is closed
        wait_until(0)
    finally:
        stream.close()
