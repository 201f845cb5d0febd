"""A microphone as a `Source`: what a driver's thread hands over becomes clean 16 kHz mono on the event loop, with its time.

The driver's callback only puts its block into a bounded ring and wakes the loop; when the loop does not come for it, the oldest
goes and is counted. Knows no backend.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from sca.audio.resample import StreamResampler
from sca.infer.clock import TICK_HZ, Clock
from sca.infer.interfaces import AudioBlock
from sca.units import HEARD_HZ

__all__ = ["RING_MS", "CaptureStats", "MicrophoneSource", "mono"]

RING_MS = 1000
"""Sound the ring holds while the event loop is busy with something else."""


@dataclass(slots=True)
class CaptureStats:
    """What happened to the sound before the session got it, in samples of the device.

    dropped: thrown away because the ring was full.   non_finite: NaN and infinite ones, replaced by 0.   clipped: at full scale.
    """

    callbacks: int = 0
    dropped: int = 0
    non_finite: int = 0
    clipped: int = 0


@dataclass(frozen=True, slots=True)
class _Piece:
    samples: np.ndarray
    heard_s: float
    rate_hz: int
    opening: int


class MicrophoneSource:
    """A `Source` that never waits. `take` is called by the driver's thread, everything else on the event loop.

    process: what every stretch of float32 `(n,)` at 16 kHz goes through (echo); may hold some back and give it with the next.
    level: loudness of the last blocks, RMS in [0, 1].   last_callback_s: loop time of the last callback, None before the first.
    """

    can_wait = False

    def __init__(self, clock: Clock, process: Callable[[np.ndarray], np.ndarray] | None = None) -> None:
        self._clock = clock
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._lock = threading.Lock()
        self._ring: deque[_Piece] = deque()
        self._held = 0
        self._opening = 0
        self._rate_hz = HEARD_HZ
        self.stats = CaptureStats()
        self.level = 0.0
        self.last_callback_s: float | None = None

    def on_open(self, rate_hz: int) -> None:
        """Blocks from now on come from a newly opened device at this rate. Call before its stream starts."""
        self._opening += 1
        self._rate_hz = rate_hz

    def on_samples(self, samples: np.ndarray) -> None:
        """Float32 `(n, channels)`, heard until now. Called by the driver's thread; takes some microseconds."""
        now_s = self._loop.time()
        piece = _Piece(samples, now_s, self._rate_hz, self._opening)
        most = self._rate_hz * RING_MS // 1000
        with self._lock:
            self._ring.append(piece)
            self._held += len(samples)
            while self._held > most and len(self._ring) > 1:
                oldest = len(self._ring.popleft().samples)
                self._held -= oldest
                self.stats.dropped += oldest
        self.stats.callbacks += 1
        self.last_callback_s = now_s
        with suppress(RuntimeError):  # the event loop is gone: nobody listens any more
            self._loop.call_soon_threadsafe(self._wake.set)

    def _drain(self) -> deque[_Piece]:
        with self._lock:
            pieces, self._ring, self._held = self._ring, deque(), 0
        return pieces

    async def blocks(self) -> AsyncIterator[AudioBlock]:
        """See `Source`. What was heard before is forgotten: the session begins now. Never ends by itself."""
        self._drain()
        opening = -1
        while True:
            await self._wake.wait()
            self._wake.clear()
            for piece in self._drain():
                if piece.opening != opening:
                    opening = piece.opening
                    resampler = StreamResampler(piece.rate_hz, HEARD_HZ)
                    pushed = given = 0
                clean = self._clean(piece.samples)
                self._meter(clean)
                pushed += len(clean)
                samples = np.clip(resampler.push(clean), -1, 1)
                samples = samples if self._process is None else self._process(samples)
                given += len(samples)
                if len(samples):
                    late = self._loop.time() - piece.heard_s + (pushed / piece.rate_hz - given / HEARD_HZ)
                    yield AudioBlock(samples, self._clock.now() - max(0, round(late * TICK_HZ)))

    def _clean(self, samples: np.ndarray) -> np.ndarray:
        finite = np.isfinite(samples)
        if not finite.all():
            self.stats.non_finite += int(finite.size - np.count_nonzero(finite))
            samples = np.where(finite, samples, np.float32(0))
        self.stats.clipped += int(np.count_nonzero(np.abs(samples) >= 1))
        return mono(np.clip(samples, -1, 1))

    def _meter(self, samples: np.ndarray) -> None:
        loud = float(np.sqrt(np.mean(np.square(samples)))) if len(samples) else 0.0
        self.level = max(loud, 0.8 * self.level)


def mono(samples: np.ndarray) -> np.ndarray:
    """Average float32 `(n, channels)` to `(n,)`."""
    if samples.shape[1] == 1:
        return np.ascontiguousarray(samples[:, 0])
    mixed: np.ndarray = samples.mean(axis=1, dtype=np.float32)
    return mixed
