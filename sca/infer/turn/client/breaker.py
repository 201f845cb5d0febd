"""Stops asking a turn model that fails, and tries it again later."""

import logging
import threading

__all__ = ["Breaker"]

logger = logging.getLogger(__name__)

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0


class Breaker:
    """The failures of one model. After a failure it is not asked for 1 s, then twice as long each time, up to 60 s.

    Thread-safe. Its clock is that of the caller: in simulated time, results must not depend on the wall clock.

    Args:
        name: The name of the model, for the log.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget all failures."""
        self._failures = 0
        self._failed_s = self._next_s = float("-inf")

    def allows(self, now_s: float) -> bool:
        """Return whether the model may be asked. While it fails, one caller may ask after each pause.

        Args:
            now_s: The time.
        """
        with self._lock:
            if now_s < self._next_s:
                return False
            if self._failures:
                self._next_s = now_s + self._pause_s()
            return True

    def _pause_s(self) -> float:
        return min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(self._failures - 1, 10))

    def failed(self, asked_s: float, now_s: float, cause: str) -> None:
        """Note a failure. The first one in a row is logged.

        Args:
            asked_s: When the model was asked.
            now_s: The time.
            cause: Why it failed.
        """
        with self._lock:
            if self._failures and asked_s < self._failed_s:
                return  # asked before the failure that is known, by another session
            self._failures += 1
            self._failed_s = now_s
            self._next_s = now_s + self._pause_s()
            first = self._failures == 1
        if first:
            logger.warning("turn model: %s; silence ends turns until %s answers", cause, self._name)

    def answered(self) -> None:
        """Note an answer."""
        with self._lock:
            failures = self._failures
            self.reset()
        if failures:
            logger.warning("turn model: %s answers again", self._name)
