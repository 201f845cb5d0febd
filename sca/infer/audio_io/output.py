"""A loudspeaker as a `Sink`: frames at 24 kHz become samples at the device's rate in a ring that the driver's thread empties.

`flush` empties the ring, so that it is silent from the driver's next callback on. What was really played is kept for a moment as
the reference of echo cancellation. Knows no backend.
"""

import asyncio
import threading
from collections import deque
from dataclasses import dataclass

import numpy as np

from sca.audio.resample import StreamResampler
from sca.config import LiveConfig
from sca.infer.audio_io.base import BLOCK_MS, OUTPUT_BUFFER_MS
from sca.infer.clock import TICK_HZ, TICKS_PER_MS, TICKS_PER_SPOKEN_SAMPLE, Clock
from sca.infer.frames import AudioOutput, ControlFrame, TurnEnd
from sca.infer.interfaces import BaseListener
from sca.infer.session.pacing import Playout
from sca.units import SPOKEN_HZ

__all__ = ["LoudspeakerSink", "PlaybackStats"]

_REFERENCE_S = 1
_LONGEST_FINISH_S = 3.0
_LOST_S = 2.0


@dataclass(slots=True)
class PlaybackStats:
    """How the play-out went.

    callbacks: how often the driver asked.   underruns: gaps inside a turn.   lost: samples at 24 kHz for a device that was gone.
    """

    callbacks: int = 0
    underruns: int = 0
    lost: int = 0


class LoudspeakerSink(BaseListener):
    """A `Sink`, and a listener: it must be told when a turn ends. `fill` is called by the driver's thread.

    buffer_ms: what the driver may want at once; sound waits that much longer in the ring, so that it does not run dry.
    level: loudness of what is being played, RMS in [0, 1].   last_callback_s: loop time of the last callback, None before the first.
    """

    def __init__(
        self, clock: Clock, live: LiveConfig, *, buffer_ms: int = OUTPUT_BUFFER_MS, keep_reference: bool = False
    ) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._most_ahead = live.speak_buffer_ms * TICKS_PER_MS
        delay_ms = live.playout_delay_ms + buffer_ms
        self._drift = (2 * BLOCK_MS + buffer_ms) * TICKS_PER_MS
        self._playout = Playout(delay_ms * TICKS_PER_MS, max(delay_ms, live.playout_delay_max_ms) * TICKS_PER_MS)
        self._lock = threading.Lock()
        self._ring: deque[np.ndarray] = deque()
        self._queued = 0
        self._turn: int | None = None
        self._keep_reference = keep_reference
        self._reference: deque[np.ndarray] = deque()
        self._reference_held = 0
        self.rate_hz = SPOKEN_HZ
        self._resampler = StreamResampler(SPOKEN_HZ, SPOKEN_HZ)
        self.stats = PlaybackStats()
        self.level = 0.0
        self.last_callback_s: float | None = None
        self._opened_s = 0.0

    def on_open(self, rate_hz: int) -> None:
        """A device at this rate plays from now on. Call before its stream starts."""
        self.flush()
        with self._lock:
            self._reference.clear()
            self._reference_held = 0
        self.rate_hz = rate_hz
        self._resampler = StreamResampler(SPOKEN_HZ, rate_hz)
        self._opened_s = self._loop.time()

    @property
    def playing(self) -> bool:
        """Whether something is still to be heard."""
        return self._queued > 0

    @property
    def _gone(self) -> bool:
        """Whether the driver stopped asking."""
        return self._loop.time() - max(self._opened_s, self.last_callback_s or 0.0) > _LOST_S

    def fill(self, frames: int) -> np.ndarray:
        """The next float32 `(frames,)`, silence where there is none. Called by the driver's thread."""
        out = np.zeros(frames, np.float32)
        done = 0
        with self._lock:
            while done < frames and self._ring:
                first = self._ring[0]
                took = min(len(first), frames - done)
                out[done : done + took] = first[:took]
                done += took
                if took == len(first):
                    self._ring.popleft()
                else:
                    self._ring[0] = first[took:]
            self._queued -= done
            if self._keep_reference:
                self._remember(out)
        self.stats.callbacks += 1
        self.last_callback_s = self._loop.time()
        self.level = float(np.sqrt(np.mean(np.square(out)))) if done else 0.0
        return out

    def _remember(self, played: np.ndarray) -> None:
        self._reference.append(played)
        self._reference_held += len(played)
        while self._reference_held > _REFERENCE_S * self.rate_hz:
            self._reference_held -= len(self._reference.popleft())

    def take_reference(self) -> np.ndarray:
        """What was played since the last call (a second at most): float32 `(n,)` at `rate_hz`."""
        with self._lock:
            pieces, self._reference, self._reference_held = self._reference, deque(), 0
        return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)

    async def play(self, frame: AudioOutput) -> int:
        """See `Sink`."""
        length = frame.num_samples * TICKS_PER_SPOKEN_SAMPLE
        while (ahead := self._ahead()) > self._most_ahead:
            await self._clock.sleep_until(self._clock.now() + ahead - self._most_ahead)
        if self._gone:
            # Nobody hears it; but it takes the time it takes, or the engine would talk to the wall as fast as it can.
            self.flush()
            await self._clock.sleep_until(self._clock.now() + length)
            self.stats.lost += frame.num_samples
            return self._clock.now()
        return self._put(frame, length)

    def _ahead(self) -> int:
        """Ticks of sound in the ring."""
        return 0 if self._gone else self._queued * TICK_HZ // self.rate_hz

    def _put(self, frame: AudioOutput, length: int) -> int:
        now = self._clock.now()
        dry = self._queued == 0
        real_end = now + self._ahead()
        if dry:
            self._playout.end = min(self._playout.end, now - 1)
        elif self._playout.end < now or abs(self._playout.end - real_end) > self._drift:
            self._playout.end = real_end  # the device's clock and this one differ; the ring knows what is really left
        pcm = np.frombuffer(frame.audio_bytes, "<i2").astype(np.float32) / np.float32(32768)
        gaps = self._playout.underruns
        start = self._playout.push(length, frame.turn_id, now)
        self.stats.underruns += self._playout.underruns - gaps
        pause = (start - now) * self.rate_hz // TICK_HZ if dry else 0
        if frame.turn_id != self._turn:
            self._resampler.flush()
            self._turn = frame.turn_id
        sound = self._resampler.push(pcm)
        if pause:
            # The resampler holds some back; played at once, the ring would run dry that much before the next frame comes.
            pause += max(0, len(pcm) * self.rate_hz // SPOKEN_HZ - len(sound))
            self._append(np.zeros(pause, np.float32))
        self._append(sound)
        return start

    def _append(self, samples: np.ndarray) -> None:
        if len(samples):
            with self._lock:
                self._ring.append(samples)
                self._queued += len(samples)

    def flush(self) -> None:
        """See `Sink`."""
        with self._lock:
            self._ring.clear()
            self._queued = 0
        self._turn = None
        self._resampler.flush()
        self._playout.cut(self._clock.now())

    def on_control(self, frame: ControlFrame) -> None:
        """See `SessionListener`."""
        if isinstance(frame, TurnEnd) and self._turn is not None and frame.turn_id >= self._turn:
            self._append(self._resampler.flush())

    async def finish(self, heard_samples: int) -> None:
        """See `Sink`. Waits some seconds at most."""
        deadline_s = self._loop.time() + _LONGEST_FINISH_S
        while self._queued and not self._gone and self._loop.time() < deadline_s:
            await asyncio.sleep(0.02)
