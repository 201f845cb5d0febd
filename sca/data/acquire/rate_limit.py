"""How fast a site may be asked: never closer together than a gap, never more than so many in any hour."""

import threading
import time
from collections import deque
from collections.abc import Callable

__all__ = ["VIDEOS_AN_HOUR", "RateLimiter", "Schedule"]

VIDEOS_AN_HOUR = 250
"""Sites turn away guests who ask for more than about 300 videos an hour (yt-dlp's wiki, "Extractors", on YouTube)."""


class Schedule:
    """When the next request may start. Knows no clock: times are seconds of whichever clock the caller reads."""

    def __init__(self, gap_s: float, an_hour: int = VIDEOS_AN_HOUR) -> None:
        self._gap_s = gap_s
        self._starts: deque[float] = deque(maxlen=an_hour)

    def reserve(self, now_s: float) -> float:
        """Take the next place; returns when it begins, `now_s` or later."""
        start = now_s
        if self._starts:
            start = max(start, self._starts[-1] + self._gap_s)
        if len(self._starts) == self._starts.maxlen:
            start = max(start, self._starts[0] + 3600.0)
        self._starts.append(start)
        return start


class RateLimiter:
    """A schedule that several threads share, with a real clock. `sleep` returns early, with True, when the wait is called off."""

    def __init__(
        self,
        schedule: Schedule,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._schedule, self._sleep, self._clock = schedule, sleep, clock
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Wait for the next place."""
        with self._lock:
            start = self._schedule.reserve(self._clock())
        left_s = start - self._clock()
        if left_s > 0:
            self._sleep(left_s)
