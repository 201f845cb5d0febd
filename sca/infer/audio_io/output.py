"""A loudspeaker as an `AudioSink`: converts frames at 24 kHz to the device's rate and queues them for the driver's thread.

`flush` empties the queue, so that the next callback of the driver plays silence. The samples that were played are kept
for a moment as the reference of echo suppression.
"""

import asyncio
import threading
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.audio.pcm import pcm16_samples
from sca.audio.resample import StreamResampler
from sca.config import LiveConfig
from sca.infer.audio_io.base import BLOCK_MS, OUTPUT_BUFFER_MS
from sca.infer.clock import TICK_HZ, TICKS_PER_MS, TICKS_PER_SPOKEN_SAMPLE, Clock
from sca.infer.frames import AudioOutput, ControlFrame, TurnEnd
from sca.infer.interfaces import AudioSink, BaseListener
from sca.infer.session.pacing import Playout
from sca.units import SPOKEN_HZ

__all__ = ["LoudspeakerSink", "PlaybackStats"]

_REFERENCE_S = 1
_FINISH_TIMEOUT_S = 3.0
_CALLBACK_TIMEOUT_S = 2.0
_FINISH_POLL_S = 0.02


@dataclass(slots=True)
class PlaybackStats:
    """Counters of a loudspeaker.

    Attributes:
        callbacks: Calls of the driver.
        underruns: Gaps inside a turn.
        lost: Samples at 24 kHz that were discarded because the device was disconnected.
    """

    callbacks: int = 0
    underruns: int = 0
    lost: int = 0


class LoudspeakerSink(BaseListener, AudioSink):
    """A loudspeaker. It must also be a listener of the session, to learn when a turn ends.

    `fill` is called in the driver's thread, all other methods on the event loop.

    Args:
        clock: The session clock.
        live: Delays and buffer sizes.
        buffer_ms: How much the driver may request at once. Audio waits that much longer in the queue, so that it does
            not run dry.
        keep_reference: Whether to keep the played samples for `take_reference`.

    Attributes:
        rate_hz: The rate of the device.
        stats: Counters.
        level: The RMS level of the audio that is playing, in [0, 1].
        last_callback_s: The loop time of the latest callback, None before the first.
    """

    def __init__(
        self, clock: Clock, live: LiveConfig, *, buffer_ms: int = OUTPUT_BUFFER_MS, keep_reference: bool = False
    ) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._most_ahead = live.speak_buffer_ms * TICKS_PER_MS
        delay_ms = live.playout_delay_ms + buffer_ms
        self._most_drift = (2 * BLOCK_MS + buffer_ms) * TICKS_PER_MS
        self._playout = Playout(delay_ms * TICKS_PER_MS, max(delay_ms, live.playout_delay_max_ms) * TICKS_PER_MS)
        self._lock = threading.Lock()
        self._queue: deque[NDArray[np.float32]] = deque()
        self._queued_samples = 0
        self._turn: int | None = None
        self._keep_reference = keep_reference
        self._reference: deque[NDArray[np.float32]] = deque()
        self._reference_samples = 0
        self.rate_hz = SPOKEN_HZ
        self._resampler = StreamResampler(SPOKEN_HZ, SPOKEN_HZ)
        self.stats = PlaybackStats()
        self.level = 0.0
        self.last_callback_s: float | None = None
        self._opened_s = 0.0

    def on_open(self, rate_hz: int) -> None:
        """Note that a device with this rate is about to start. Call before its stream starts."""
        self.flush()
        with self._lock:
            self._reference.clear()
            self._reference_samples = 0
        self.rate_hz = rate_hz
        self._resampler = StreamResampler(SPOKEN_HZ, rate_hz)
        self._opened_s = self._loop.time()

    @property
    def playing(self) -> bool:
        """Whether audio is queued."""
        return self._queued_samples > 0

    @property
    def _disconnected(self) -> bool:
        """Whether the driver has stopped calling."""
        return self._loop.time() - max(self._opened_s, self.last_callback_s or 0.0) > _CALLBACK_TIMEOUT_S

    def fill(self, frames: int) -> NDArray[np.float32]:
        """Return the next float32 `(frames,)`, padded with silence. Called in the driver's thread."""
        out = np.zeros(frames, np.float32)
        done = 0
        with self._lock:
            while done < frames and self._queue:
                first = self._queue[0]
                taken = min(len(first), frames - done)
                out[done : done + taken] = first[:taken]
                done += taken
                if taken == len(first):
                    self._queue.popleft()
                else:
                    self._queue[0] = first[taken:]
            self._queued_samples -= done
            if self._keep_reference:
                self._add_reference(out)
        self.stats.callbacks += 1
        self.last_callback_s = self._loop.time()
        self.level = float(np.sqrt(np.mean(np.square(out)))) if done else 0.0
        return out

    def _add_reference(self, played: NDArray[np.float32]) -> None:
        self._reference.append(played)
        self._reference_samples += len(played)
        while self._reference_samples > _REFERENCE_S * self.rate_hz:
            self._reference_samples -= len(self._reference.popleft())

    def take_reference(self) -> NDArray[np.float32]:
        """Return what was played since the last call, at most one second: float32 `(n,)` at `rate_hz`."""
        with self._lock:
            pieces, self._reference, self._reference_samples = self._reference, deque(), 0
        return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)

    @override
    async def play(self, frame: AudioOutput) -> int:
        length = frame.num_samples * TICKS_PER_SPOKEN_SAMPLE
        while (ahead := self._ahead()) > self._most_ahead:
            await self._clock.sleep_until(self._clock.now() + ahead - self._most_ahead)
        if self._disconnected:
            # The audio is discarded, but in real time: otherwise the engine would run as fast as it can.
            self.flush()
            await self._clock.sleep_until(self._clock.now() + length)
            self.stats.lost += frame.num_samples
            return self._clock.now()
        return self._enqueue(frame, length)

    def _ahead(self) -> int:
        """Return the ticks of audio in the queue."""
        return 0 if self._disconnected else self._queued_samples * TICK_HZ // self.rate_hz

    def _enqueue(self, frame: AudioOutput, length: int) -> int:
        now = self._clock.now()
        is_dry = self._queued_samples == 0
        queue_end = now + self._ahead()
        if is_dry:
            self._playout.end = min(self._playout.end, now - 1)
        elif self._playout.end < now or abs(self._playout.end - queue_end) > self._most_drift:
            self._playout.end = queue_end  # the clocks of device and session differ; the queue has the real position
        pcm = pcm16_samples(frame.audio_bytes)
        underruns = self._playout.underruns
        start = self._playout.push(length, frame.turn_id, now)
        self.stats.underruns += self._playout.underruns - underruns
        pause_samples = (start - now) * self.rate_hz // TICK_HZ if is_dry else 0
        if frame.turn_id != self._turn:
            self._resampler.flush()
            self._turn = frame.turn_id
        resampled = self._resampler.push(pcm)
        if pause_samples:
            # The resampler holds some samples back. Without this, the queue would run dry that much before the next
            # frame.
            pause_samples += max(0, len(pcm) * self.rate_hz // SPOKEN_HZ - len(resampled))
            self._append(np.zeros(pause_samples, np.float32))
        self._append(resampled)
        return start

    def _append(self, samples: NDArray[np.float32]) -> None:
        if len(samples):
            with self._lock:
                self._queue.append(samples)
                self._queued_samples += len(samples)

    @override
    def flush(self) -> None:
        with self._lock:
            self._queue.clear()
            self._queued_samples = 0
        self._turn = None
        self._resampler.flush()
        self._playout.cut(self._clock.now())

    @override
    def on_control(self, frame: ControlFrame) -> None:
        if isinstance(frame, TurnEnd) and self._turn is not None and frame.turn_id >= self._turn:
            self._append(self._resampler.flush())

    @override
    async def finish(self, heard_samples: int) -> None:
        deadline_s = self._loop.time() + _FINISH_TIMEOUT_S
        while self._queued_samples and not self._disconnected and self._loop.time() < deadline_s:
            await asyncio.sleep(_FINISH_POLL_S)
