"""The sampled pictures that an engine chooses from. Any thread may read while one adds."""

import threading
from collections import deque

from sca.watch.frames import VideoFrame

__all__ = ["InferenceWindow"]


class InferenceWindow:
    """The newest sampled pictures.

    Args:
        size: How many are held; the oldest leaves.
    """

    def __init__(self, size: int = 32) -> None:
        self._frames: deque[VideoFrame] = deque(maxlen=size)
        self._changed = threading.Condition()
        self._closed = False

    def add(self, frame: VideoFrame) -> None:
        """Add the next sampled picture."""
        with self._changed:
            self._frames.append(frame)
            self._changed.notify_all()

    def select(self, frames_per_inference: int, frame_stride: int) -> tuple[VideoFrame, ...]:
        """Return the pictures for one cycle, the oldest first.

        Args:
            frames_per_inference: The most pictures.
            frame_stride: Every how many of the held pictures one is taken, counted from the newest, which always is.

        Returns:
            The pictures; fewer if the window holds fewer, and none if it is empty.
        """
        with self._changed:
            newest_first = list(self._frames)[::-1]
        return tuple(newest_first[::frame_stride][:frames_per_inference][::-1])

    def latest(self) -> VideoFrame | None:
        """Return the newest picture; None for an empty window."""
        with self._changed:
            return self._frames[-1] if self._frames else None

    def wait_newer(self, index: int, timeout_s: float | None = None) -> VideoFrame | None:
        """Wait for a picture after another one, and return the newest.

        Args:
            index: The index of the other picture; -1 for any picture.
            timeout_s: How long to wait; None waits until one comes or the window is closed.

        Returns:
            The picture; None if none came in time, or the window was closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._newest_index() > index, timeout_s)
            return self._frames[-1] if self._newest_index() > index else None

    def close(self) -> None:
        """End all waiting. The pictures stay."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __len__(self) -> int:
        with self._changed:
            return len(self._frames)

    def _newest_index(self) -> int:
        return self._frames[-1].index if self._frames else -1
