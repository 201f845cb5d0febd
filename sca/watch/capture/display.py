"""The pictures of the last seconds as JPEG files, for display with a delay. Any thread may read while one adds."""

import threading
from bisect import bisect_left
from collections import deque

from sca.watch.frames import JpegFrame

__all__ = ["DisplayBuffer"]


class DisplayBuffer:
    """The newest pictures, at most so many seconds and so many bytes of them.

    The newest picture stays, however large it is.

    Args:
        seconds: The longest time between the oldest and the newest picture.
        max_bytes: The most bytes of JPEG files.

    Attributes:
        bytes_per_s: The rate at which both limits are reached together.
    """

    def __init__(self, seconds: float = 15.0, max_bytes: int = 45_000_000) -> None:
        self._span_us, self._max_bytes = round(seconds * 1_000_000), max_bytes
        self.bytes_per_s = int(max_bytes / seconds)
        self._frames: deque[JpegFrame] = deque()
        self._bytes, self._closed = 0, False
        self._changed = threading.Condition()

    def add(self, frame: JpegFrame) -> None:
        """Add the next picture. Its index is above, and its time not below, that of the last one."""
        with self._changed:
            self._frames.append(frame)
            self._bytes += len(frame.data)
            oldest_us = frame.time_us - self._span_us
            while len(self._frames) > 1 and (self._bytes > self._max_bytes or self._frames[0].time_us < oldest_us):
                self._bytes -= len(self._frames.popleft().data)
            self._changed.notify_all()

    def latest(self) -> JpegFrame | None:
        """Return the newest picture; None for an empty buffer."""
        with self._changed:
            return self._frames[-1] if self._frames else None

    def get_frame_near(self, time_us: int) -> JpegFrame | None:
        """Return the picture that is on the screen at a time of the source: the last one that is not after it.

        Returns:
            The oldest picture for an earlier time; None for an empty buffer.
        """
        with self._changed:
            if not self._frames:
                return None
            at = bisect_left(self._frames, time_us + 1, key=lambda frame: frame.time_us)
            return self._frames[max(0, at - 1)]

    def shown(self, at_us: int) -> tuple[JpegFrame, int | None] | None:
        """Return the picture that is shown with a delay: the last one that the session had at a time.

        Args:
            at_us: The time of the session, less the delay.

        Returns:
            The picture, the oldest one for an earlier time, and the `at_us` of the next one, None without one. None for an
            empty buffer.
        """
        with self._changed:
            if not self._frames:
                return None
            after = max(1, bisect_left(self._frames, at_us + 1, key=lambda frame: frame.at_us))
            return self._frames[after - 1], self._frames[after].at_us if after < len(self._frames) else None

    def wait_newer(self, index: int, timeout_s: float | None = None) -> JpegFrame | None:
        """Wait for a picture after another one, and return the oldest such picture that is held.

        Args:
            index: The index of the other picture; -1 for any picture.
            timeout_s: How long to wait; None waits until one comes or the buffer is closed.

        Returns:
            The picture; None if none came in time, or the buffer was closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._newest_index() > index, timeout_s)
            if self._newest_index() <= index:
                return None
            return self._frames[bisect_left(self._frames, index + 1, key=lambda frame: frame.index)]

    def close(self) -> None:
        """End all waiting. The pictures stay."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def n_bytes(self) -> int:
        """The bytes of the JPEG files that are held."""
        with self._changed:
            return self._bytes

    @property
    def seconds(self) -> float:
        """The time between the oldest and the newest picture."""
        with self._changed:
            return (self._frames[-1].time_us - self._frames[0].time_us) / 1e6 if self._frames else 0.0

    def __len__(self) -> int:
        with self._changed:
            return len(self._frames)

    def _newest_index(self) -> int:
        return self._frames[-1].index if self._frames else -1
