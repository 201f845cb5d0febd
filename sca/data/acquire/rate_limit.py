"""Rate limiting of requests to a site: a minimum interval, and a maximum number per hour."""

import threading
import time
from collections import deque
from collections.abc import Callable

__all__ = ["VIDEOS_PER_HOUR", "RateLimiter", "Schedule"]

VIDEOS_PER_HOUR = 250
"""YouTube blocks guests after about 300 videos per hour (yt-dlp's wiki, "Extractors", section YouTube)."""
_HOUR_S = 3600.0


class Schedule:
    """When the next request may start. Times are seconds of any clock."""

    def __init__(self, interval_s: float, per_hour: int = VIDEOS_PER_HOUR) -> None:
        """Create a schedule.

        Args:
            interval_s: The minimum time between the starts of two requests.
            per_hour: The maximum number of requests in any hour.
        """
        self._interval_s = interval_s
        self._starts: deque[float] = deque(maxlen=per_hour)

    def reserve(self, now_s: float) -> float:
        """Reserve the next start, and return its time: `now_s` or later."""
        start = now_s
        if self._starts:
            start = max(start, self._starts[-1] + self._interval_s)
        if len(self._starts) == self._starts.maxlen:
            start = max(start, self._starts[0] + _HOUR_S)
        self._starts.append(start)
        return start


class RateLimiter:
    """A schedule that several threads share."""

    def __init__(
        self,
        schedule: Schedule,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create a rate limiter.

        Args:
            schedule: When requests may start.
            sleep: Waits a number of seconds; it may return early when the run ends.
            clock: Returns the time in seconds.
        """
        self._schedule, self._sleep, self._clock = schedule, sleep, clock
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Wait until the next request may start."""
        with self._lock:
            start = self._schedule.reserve(self._clock())
        remaining_s = start - self._clock()
        if remaining_s > 0:
            self._sleep(remaining_s)
