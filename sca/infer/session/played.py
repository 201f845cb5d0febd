"""How much of each turn was played when the output is flushed. Synchronous; times are ticks of `sca.infer.clock`."""

from dataclasses import dataclass

from sca.infer.clock import TICKS_PER_SPOKEN_SAMPLE

__all__ = ["PlayedTurn", "PlayoutLog"]


@dataclass(frozen=True, slots=True)
class PlayedTurn:
    """What was played of a turn: samples at 24 kHz since its start."""

    turn_id: int
    samples: int


class PlayoutLog:
    """The pieces of the latest turn that the sink has accepted, with the time of each one."""

    def __init__(self) -> None:
        self._turn_id: int | None = None
        self._pieces: list[tuple[int, int]] = []  # start tick, samples; without gaps between them they are one

    def add(self, turn_id: int, start: int, samples: int) -> None:
        """Add a piece.

        Args:
            turn_id: Its turn.
            start: The tick at which its first sample is played.
            samples: Its length at 24 kHz.
        """
        if turn_id != self._turn_id:
            self._turn_id = turn_id
            self._pieces.clear()
        if self._pieces and start == _end(*self._pieces[-1]):
            first, length = self._pieces.pop()
            self._pieces.append((first, length + samples))
        else:
            self._pieces.append((start, samples))

    def cut(self, turn_id: int, now: int) -> PlayedTurn:
        """Return what of a turn was played before `now`."""
        if turn_id != self._turn_id:
            return PlayedTurn(turn_id, 0)
        played = (min(samples, max(0, _samples_of(now - start))) for start, samples in self._pieces)
        return PlayedTurn(turn_id, sum(played))


def _samples_of(ticks: int) -> int:
    """Round up, as the sink does when it is flushed."""
    return -(-ticks // TICKS_PER_SPOKEN_SAMPLE)


def _end(start: int, samples: int) -> int:
    return start + samples * TICKS_PER_SPOKEN_SAMPLE
