"""When utterances are played, and by how much the picture is delayed. Times are integer microseconds."""

__all__ = ["DelayAverage", "SpeechLine"]

_US = 1_000_000


class SpeechLine:
    """The places of utterances in time. No two overlap, and a pause is between them.

    Args:
        pause_us: The least pause between two utterances.

    Attributes:
        end_us: Where the speech ends that has a place; None without speech so far.
    """

    def __init__(self, pause_us: int) -> None:
        self._pause_us = pause_us
        self.end_us: int | None = None
        self._cycle: int | None = None
        self._start_us = self._samples = 0

    @property
    def free_us(self) -> int | None:
        """The earliest time of the next utterance; None without a limit."""
        return None if self.end_us is None else self.end_us + self._pause_us

    def place(self, cycle: int, samples: int, rate_hz: int, now_us: int, earliest_us: int) -> int:
        """Give the next samples of an utterance a place.

        Args:
            cycle: The cycle of the utterance; a new one begins a new utterance.
            samples: How many samples.
            rate_hz: Their rate.
            now_us: The time, before which nothing can be played.
            earliest_us: When the utterance may begin.

        Returns:
            When the first of these samples is played.
        """
        if cycle != self._cycle:
            self._cycle, self._samples = cycle, 0
            self._start_us = max(now_us, earliest_us, 0 if self.free_us is None else self.free_us)
        play_us = self._start_us + self._samples * _US // rate_hz
        if play_us < now_us:  # the voice is slower than its speech, which gets a gap
            self._start_us, self._samples, play_us = now_us, 0, now_us
        self._samples += samples
        self.end_us = self._start_us - (-self._samples * _US // rate_hz)
        return play_us


class DelayAverage:
    """The moving average of a time: `average += alpha * (newest - average)`, within bounds.

    Args:
        initial_us: The average at the start.
        alpha: The weight of the newest time, 0 to 1.
        least_us: Its lower bound.
        most_us: Its upper bound.
    """

    def __init__(self, initial_us: int, alpha: float, least_us: int, most_us: int) -> None:
        self._alpha, self._least, self._most = alpha, least_us, max(least_us, most_us)
        self.us = self._within(initial_us)

    def add(self, newest_us: int) -> None:
        """Take the time of a cycle into account."""
        self.us = self._within(round(self.us + self._alpha * (newest_us - self.us)))

    def _within(self, us: int) -> int:
        return min(max(us, self._least), self._most)
