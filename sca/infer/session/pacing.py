"""Synchronous policies of a live session: when audio is played, which turns are alive, and what to do about a backlog.

Nothing here waits, plays audio or reads a clock. Times are ticks of `sca.infer.clock`, passed in as arguments.
"""

from collections import deque
from typing import Literal

from sca.infer.clock import TICKS_PER_HEARD_SAMPLE, TICKS_PER_SPOKEN_SAMPLE

__all__ = ["BacklogPolicy", "Playout", "SampleClock", "TurnTracker", "spoken_length"]

_STEPS_REMEMBERED = 5
_LEAST_STEPS = 2  # the first step of a session may be much slower than the others
_MAX_CHUNKS = 1 << 30


class Playout:
    """The play-out clock. Audio is played piece after piece; after silence, with a short delay that absorbs jitter.

    A gap inside a turn (a piece arrives after the previous one has ended) lengthens the delay by the length of the gap,
    up to `max_delay`. Each turn without a gap shortens it by an eighth, down to the initial delay.

    Args:
        delay: The initial delay in ticks.
        max_delay: The longest delay in ticks.

    Attributes:
        delay: The current delay in ticks.
        end: The tick at which the queued audio ends.
        underruns: The number of gaps so far.
    """

    def __init__(self, delay: int, max_delay: int) -> None:
        self.delay = self._least = _round_up(delay)
        self._most = max(_round_up(max_delay), self._least)
        self.end = 0
        self.underruns = 0
        self._turn: int | None = None
        self._turn_has_no_gap = True

    def push(self, length: int, turn_id: int, now: int) -> int:
        """Queue `length` ticks of a turn and return the tick at which they start, a whole sample at 24 kHz."""
        new_turn = turn_id != self._turn
        if new_turn and self._turn is not None and self._turn_has_no_gap:
            self.delay = max(self._least, _round_up(self.delay - self.delay // 8))
        if new_turn:
            self._turn, self._turn_has_no_gap = turn_id, True
        if self.end < now:
            if not new_turn:
                self.underruns += 1
                self._turn_has_no_gap = False
                self.delay = min(self._most, _round_up(self.delay + now - self.end))
            self.end = _round_up(now) + self.delay
        start = self.end
        self.end += length
        return start

    def ahead(self, now: int) -> int:
        """Return the ticks of audio, including the delay before it, that are queued and not played yet."""
        return max(0, self.end - now)

    def cut(self, now: int) -> int:
        """Discard the queue; return the tick of the first sample at 24 kHz that is not played."""
        at = _round_up(now)
        self.end = min(self.end, at)
        self._turn = None
        return at


def _round_up(ticks: int) -> int:
    """Round up to a whole sample at 24 kHz."""
    return -(-ticks // TICKS_PER_SPOKEN_SAMPLE) * TICKS_PER_SPOKEN_SAMPLE


class SampleClock:
    """Maps ticks to the sample clock of the input, so that input and output stay aligned when a device clock is inaccurate."""

    def __init__(self) -> None:
        self.samples = 0
        self._tick = 0

    def advance(self, samples: int, tick: int) -> None:
        """Add input samples at 16 kHz, the last of which was captured at `tick`."""
        self.samples += samples
        self._tick = tick

    def spoken_at(self, tick: int) -> int:
        """Return the sample at 24 kHz, counted along the input, at `tick`."""
        ticks = max(0, self.samples * TICKS_PER_HEARD_SAMPLE + tick - self._tick)
        return _round_up(ticks) // TICKS_PER_SPOKEN_SAMPLE


class TurnTracker:
    """Which turns may still be played. A turn is alive until it, or a later turn, is interrupted.

    Attributes:
        alive_from: The lowest turn id that is alive.
        latest: The highest turn id seen.
    """

    def __init__(self) -> None:
        self.alive_from = 0
        self.latest = -1

    def observe(self, turn_id: int) -> bool:
        """Note a frame of a turn; return False if it is stale."""
        self.latest = max(self.latest, turn_id)
        return turn_id >= self.alive_from

    def interrupt(self, turn_id: int) -> None:
        """Make all turns up to and including `turn_id` stale."""
        self.latest = max(self.latest, turn_id)
        self.alive_from = max(self.alive_from, turn_id + 1)


class BacklogPolicy:
    """Decides what to do about chunks that queue up while the engine is busy, or because they came in a burst.

    Chunks that the engine can step in the time of `most` chunks are not dropped. How long a step takes is the shortest of
    the latest steps: an engine that was held up once can still catch up, and a slow engine has no short step.

    Args:
        most: Up to this many waiting chunks, nothing is done.
        policy: "skip" drops the oldest chunks that cannot be stepped in time; "wait" keeps them all.
        chunk_ticks: The length of a chunk.
    """

    def __init__(self, most: int, policy: Literal["skip", "wait"], chunk_ticks: int) -> None:
        self._most = most
        self._skips = policy == "skip"
        self._time = most * chunk_ticks
        self._steps: deque[int] = deque(maxlen=_STEPS_REMEMBERED)
        self._behind = False

    def add_step(self, ticks: int) -> None:
        """Note how long a chunk took, from leaving the queue until its frames were processed."""
        self._steps.append(ticks)

    def decide(self, waiting: int) -> tuple[int, bool]:
        """Decide for `waiting` chunks behind the one that is about to be stepped.

        Returns:
            How many of the oldest chunks to drop, including the one that is about to be stepped, and whether to report
            a lag. "skip" reports every time, "wait" reports once until no chunk is waiting any more.
        """
        if waiting <= self._most:
            self._behind = self._behind and waiting > 0
            return 0, False
        if self._skips:
            drop = max(0, waiting + 1 - self._most_in_time)
            return drop, drop > 0
        is_new, self._behind = not self._behind, True
        return 0, is_new

    @property
    def _most_in_time(self) -> int:
        """How many chunks can be stepped in time, at least the newest one."""
        if len(self._steps) < _LEAST_STEPS:
            return _MAX_CHUNKS
        return max(1, self._time // max(1, min(self._steps)))


def spoken_length(heard_samples: int) -> int:
    """Return the samples at 24 kHz that last as long as `heard_samples` at 16 kHz, rounded up."""
    return _round_up(heard_samples * TICKS_PER_HEARD_SAMPLE) // TICKS_PER_SPOKEN_SAMPLE
