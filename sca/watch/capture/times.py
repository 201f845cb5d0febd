"""Presentation times of pictures, and which pictures are taken at a lower rate. Integer microseconds; nothing waits."""

__all__ = ["Sampler", "Timeline"]

MAX_GAP_US = 60_000_000
"""A longer gap between two pictures is a jump of the time stamps."""


class Timeline:
    """Converts time stamps to a time that begins at 0 and never decreases.

    A stamp that is missing, goes back or jumps ahead by over `MAX_GAP_US` is one period after the picture before; later stamps
    are counted from there.

    Args:
        period_us: The usual time between two pictures.
        start_us: The time of the first picture.
    """

    def __init__(self, period_us: int, start_us: int = 0) -> None:
        self._period_us = period_us
        self._offset_us: int | None = None
        self._next_us = start_us
        self._last_us: int | None = None

    def time_us(self, stamp_us: int | None) -> int:
        """Return the time of the next picture.

        Args:
            stamp_us: Its time stamp, from any origin; None if it has none.
        """
        time_us = self._next_us
        if stamp_us is not None:
            if self._offset_us is not None and self._last_us is not None:
                candidate = stamp_us + self._offset_us
                if self._last_us < candidate <= self._last_us + MAX_GAP_US:
                    time_us = candidate
            self._offset_us = time_us - stamp_us
        self._last_us, self._next_us = time_us, time_us + self._period_us
        return time_us

    def restart(self) -> None:
        """Continue with time stamps from another origin: the next picture is one period after the last one."""
        self._offset_us = None


class Sampler:
    """Takes pictures at no more than a rate, at regular times where there are enough.

    Args:
        fps: The rate; None takes every picture, 0 none.
    """

    def __init__(self, fps: float | None) -> None:
        self._period_us = None if fps is None else 0 if fps == 0 else max(1, round(1_000_000 / fps))
        self._due_us = 0

    def takes(self, time_us: int) -> bool:
        """Return whether a picture is taken. Times must not decrease."""
        if self._period_us is None:
            return True
        if self._period_us == 0 or time_us < self._due_us:
            return False
        self._due_us += self._period_us * max(1, (time_us - self._due_us) // self._period_us + 1)
        return True
