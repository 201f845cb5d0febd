"""The audio of a call: received frames as samples of a session, and the times of the frames that are sent."""

import numpy as np
from numpy.typing import NDArray

from sca.audio.pcm import int16_to_float32
from sca.audio.resample import StreamResampler
from sca.units import HEARD_HZ

__all__ = ["FRAME_MS", "FRAME_SAMPLES", "TRACK_HZ", "FramePacer", "ReceivedAudio"]

TRACK_HZ = 48_000
"""The rate of sent audio, which is that of Opus."""

FRAME_MS = 20
FRAME_SAMPLES = TRACK_HZ * FRAME_MS // 1000

_MAX_GAP_S = 1
_MAX_LATE_S = 0.2


class ReceivedAudio:
    """Converts decoded frames to float32 mono at 16 kHz.

    A packet that was lost leaves a gap in the timestamps. Up to a second of it becomes silence, because the time of a
    session is that of its audio; a longer gap is a pause of the sender.
    """

    def __init__(self) -> None:
        self._rate_hz = 0
        self._resampler = StreamResampler(HEARD_HZ, HEARD_HZ)
        self._next: int | None = None

    def push(self, pcm: NDArray[np.int16], rate_hz: int, timestamp: int | None) -> NDArray[np.float32]:
        """Convert the next frame.

        Args:
            pcm: The frame, `(n, channels)`.
            rate_hz: Its rate.
            timestamp: The position of its first sample in the stream; None if it is unknown.

        Returns:
            The samples that are ready, float32 `(m,)`.
        """
        if rate_hz != self._rate_hz:
            self._rate_hz, self._next = rate_hz, None
            self._resampler = StreamResampler(rate_hz, HEARD_HZ)
        samples = int16_to_float32(pcm).mean(axis=1, dtype=np.float32)
        if timestamp is not None:
            gap = 0 if self._next is None else timestamp - self._next
            if 0 < gap <= _MAX_GAP_S * rate_hz:
                samples = np.concatenate([np.zeros(gap, np.float32), samples])
            self._next = timestamp + len(pcm)
        clipped: NDArray[np.float32] = np.clip(self._resampler.push(samples), -1, 1)
        return clipped


class FramePacer:
    """The times at which frames are sent: one every 20 ms from the first on, without drift.

    Frames that are late are sent at once. After a longer delay the times begin anew, so that there is no long burst.
    """

    def __init__(self) -> None:
        self._start_s: float | None = None
        self._frames = 0

    def wait_s(self, now_s: float) -> float:
        """Return the seconds to wait before the next frame is sent.

        Args:
            now_s: The current time on a monotonic clock.
        """
        due_s = now_s if self._start_s is None else self._start_s + self._frames * FRAME_MS / 1000
        if self._start_s is None or now_s - due_s > _MAX_LATE_S:
            self._start_s, self._frames, due_s = now_s, 0, now_s
        self._frames += 1
        return max(0.0, due_s - now_s)
