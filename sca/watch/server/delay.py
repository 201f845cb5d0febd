"""The delay that the shown picture really has. Pure: times are integer microseconds of the session."""

__all__ = ["ShownDelay"]


class ShownDelay:
    """Follows the delay of the policy: by a quarter of a second per second, so pictures neither jump nor run backwards.

    Speech is placed in time for the delay of that moment. A new delay therefore does not count before that speech has begun.

    Args:
        initial_us: The delay at the start.
    """

    def __init__(self, initial_us: int) -> None:
        self._from_us = self._target_us = initial_us
        self._since_us = self._speech_us = 0

    def expect_speech(self, play_us: int) -> None:
        """Note when the next utterance begins."""
        self._speech_us = play_us

    def set_target(self, delay_us: int, now_us: int) -> None:
        """Move towards another delay."""
        if delay_us != self._target_us:
            self._from_us, self._target_us = self.at(now_us), delay_us
            self._since_us = max(now_us, self._speech_us)

    def at(self, now_us: int) -> int:
        """Return the delay at a time."""
        moved_us = max(0, now_us - self._since_us) // 4
        left_us = self._target_us - self._from_us
        return self._target_us if moved_us >= abs(left_us) else self._from_us + (moved_us if left_us > 0 else -moved_us)
