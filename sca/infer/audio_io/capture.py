"""A microphone as an `AudioSource`: converts the blocks of the driver's thread to timestamped 16 kHz mono on the event loop.

The driver's callback only appends its block to a bounded queue and wakes the event loop. If the loop does not empty the
queue in time, the oldest blocks are dropped and counted.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.audio.resample import StreamResampler
from sca.infer.clock import Clock, seconds_to_ticks
from sca.infer.interfaces import AudioBlock, AudioSource
from sca.units import HEARD_HZ

__all__ = ["QUEUE_MS", "CaptureStats", "MicrophoneSource", "mix_to_mono"]

QUEUE_MS = 1000
"""Audio that is kept while the event loop is busy."""

_LEVEL_DECAY = 0.8


@dataclass(slots=True)
class CaptureStats:
    """Counters of a microphone, in samples of the device.

    Attributes:
        callbacks: Calls of the driver.
        dropped: Samples dropped because the queue was full.
        non_finite: NaN and infinite samples, which were replaced by 0.
        clipped: Samples at full scale.
    """

    callbacks: int = 0
    dropped: int = 0
    non_finite: int = 0
    clipped: int = 0


@dataclass(frozen=True, slots=True)
class _CapturedBlock:
    """A block of the driver.

    Attributes:
        samples: Float32 `(n, channels)`.
        captured_s: The loop time at which it arrived.
        rate_hz: The sample rate.
        opening: Counts how often the device was opened before.
    """

    samples: NDArray[np.float32]
    captured_s: float
    rate_hz: int
    opening: int


class MicrophoneSource(AudioSource):
    """A microphone. `on_samples` is called in the driver's thread, all other methods on the event loop.

    Args:
        clock: The session clock.
        process: Applied to all audio, float32 `(n,)` at 16 kHz (echo suppression). It may delay some samples.

    Attributes:
        stats: Counters.
        level: The RMS level of the latest blocks, in [0, 1].
        last_callback_s: The loop time of the latest callback, None before the first.
    """

    can_wait = False

    def __init__(
        self, clock: Clock, process: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None
    ) -> None:
        self._clock = clock
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._lock = threading.Lock()
        self._queue: deque[_CapturedBlock] = deque()
        self._queued_samples = 0
        self._opening = 0
        self._rate_hz = HEARD_HZ
        self.stats = CaptureStats()
        self.level = 0.0
        self.last_callback_s: float | None = None

    def on_open(self, rate_hz: int) -> None:
        """Note that a device with this rate is about to start. Call before its stream starts."""
        self._opening += 1
        self._rate_hz = rate_hz

    def on_samples(self, samples: NDArray[np.float32]) -> None:
        """Append float32 `(n, channels)`, captured up to now.

        Called in the driver's thread; takes some microseconds.
        """
        now_s = self._loop.time()
        block = _CapturedBlock(samples, now_s, self._rate_hz, self._opening)
        most_samples = self._rate_hz * QUEUE_MS // 1000
        with self._lock:
            self._queue.append(block)
            self._queued_samples += len(samples)
            while self._queued_samples > most_samples and len(self._queue) > 1:
                oldest = len(self._queue.popleft().samples)
                self._queued_samples -= oldest
                self.stats.dropped += oldest
        self.stats.callbacks += 1
        self.last_callback_s = now_s
        with suppress(RuntimeError):  # the event loop is closed
            self._loop.call_soon_threadsafe(self._wake.set)

    def _take_queue(self) -> deque[_CapturedBlock]:
        with self._lock:
            blocks, self._queue, self._queued_samples = self._queue, deque(), 0
        return blocks

    @override
    async def blocks(self) -> AsyncIterator[AudioBlock]:
        self._take_queue()  # audio captured before the session is discarded
        opening = -1
        while True:
            await self._wake.wait()
            self._wake.clear()
            for captured in self._take_queue():
                if captured.opening != opening:
                    opening = captured.opening
                    resampler = StreamResampler(captured.rate_hz, HEARD_HZ)
                    pushed = returned = 0
                clean = self._clean(captured.samples)
                self._update_level(clean)
                pushed += len(clean)
                samples = np.clip(resampler.push(clean), -1, 1)
                samples = samples if self._process is None else self._process(samples)
                returned += len(samples)
                if len(samples):
                    held_s = pushed / captured.rate_hz - returned / HEARD_HZ
                    age_s = self._loop.time() - captured.captured_s + held_s
                    yield AudioBlock(samples, self._clock.now() - max(0, seconds_to_ticks(age_s)))

    def _clean(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        finite = np.isfinite(samples)
        if not finite.all():
            self.stats.non_finite += int(finite.size - np.count_nonzero(finite))
            samples = np.where(finite, samples, np.float32(0))
        self.stats.clipped += int(np.count_nonzero(np.abs(samples) >= 1))
        return mix_to_mono(np.clip(samples, -1, 1))

    def _update_level(self, samples: NDArray[np.float32]) -> None:
        rms = float(np.sqrt(np.mean(np.square(samples)))) if len(samples) else 0.0
        self.level = max(rms, _LEVEL_DECAY * self.level)


def mix_to_mono(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average float32 `(n, channels)` to `(n,)`."""
    if samples.shape[1] == 1:
        return np.ascontiguousarray(samples[:, 0])
    mixed: NDArray[np.float32] = samples.mean(axis=1, dtype=np.float32)
    return mixed
