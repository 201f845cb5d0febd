"""When sound is heard, how late things are, which turn is alive: synchronous policies that are told the time.

Nothing here waits, plays or reads a clock; times are ticks of `sca.infer.clock` passed in, so all of it is tested exactly.
"""

import math
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from sca.infer.clock import TICKS_PER_HEARD_SAMPLE, TICKS_PER_MS, TICKS_PER_SPOKEN_SAMPLE

__all__ = ["BacklogPolicy", "Histogram", "Playout", "SampleClock", "SessionStats", "TurnTracker", "spoken_length"]


class Playout:
    """The play-out clock: sound is heard piece after piece, after silence with a short delay that absorbs jitter.

    A gap inside a turn (the next piece came after the last was over) lengthens the delay by as much, up to `max_delay`; each turn
    without one shortens it by an eighth, down to what it began with.

    delay, max_delay: ticks.   underruns: gaps so far.
    """

    def __init__(self, delay: int, max_delay: int) -> None:
        self.delay = self._least = _even_up(delay)
        self._most = max(_even_up(max_delay), self._least)
        self.end = 0
        self.underruns = 0
        self._turn: int | None = None
        self._clean = True

    def push(self, length: int, turn_id: int, now: int) -> int:
        """Queue `length` ticks of a turn; returns the tick at which they begin, a whole sample at 24 kHz."""
        new_turn = turn_id != self._turn
        if new_turn and self._turn is not None and self._clean:
            self.delay = max(self._least, _even_up(self.delay - self.delay // 8))
        if new_turn:
            self._turn, self._clean = turn_id, True
        if self.end < now:
            if not new_turn:
                self.underruns += 1
                self._clean = False
                self.delay = min(self._most, _even_up(self.delay + now - self.end))
            self.end = _even_up(now) + self.delay
        start = self.end
        self.end += length
        return start

    def ahead(self, now: int) -> int:
        """Ticks of sound (and of delay before it) that are queued and not heard yet."""
        return max(0, self.end - now)

    def cut(self, now: int) -> int:
        """Fall silent; returns the tick of the first sample at 24 kHz that is not heard any more."""
        at = _even_up(now)
        self.end = min(self.end, at)
        self._turn = None
        return at


def _even_up(ticks: int) -> int:
    return -(-ticks // TICKS_PER_SPOKEN_SAMPLE) * TICKS_PER_SPOKEN_SAMPLE


class SampleClock:
    """Maps ticks to the sample clock of what is heard, so that two tracks stay together when a device's clock is off."""

    def __init__(self) -> None:
        self.samples = 0
        self._tick = 0

    def advance(self, samples: int, tick: int) -> None:
        """`samples` more at 16 kHz were heard, the last of them at `tick`."""
        self.samples += samples
        self._tick = tick

    def spoken_at(self, tick: int) -> int:
        """The sample at 24 kHz, counted along what is heard, that falls on `tick`."""
        return _even_up(max(0, self.samples * TICKS_PER_HEARD_SAMPLE + tick - self._tick)) // TICKS_PER_SPOKEN_SAMPLE


class TurnTracker:
    """Which turns may still be heard. A turn id is alive until it, or a later one, is interrupted.

    alive_from: the lowest turn id alive.   latest: the highest turn id seen.
    """

    def __init__(self) -> None:
        self.alive_from = 0
        self.latest = -1

    def observe(self, turn_id: int) -> bool:
        """Note a frame of a turn; False when it is stale."""
        self.latest = max(self.latest, turn_id)
        return turn_id >= self.alive_from

    def interrupt(self, turn_id: int) -> None:
        """Everything up to and including `turn_id` is stale from now on."""
        self.latest = max(self.latest, turn_id)
        self.alive_from = max(self.alive_from, turn_id + 1)


class BacklogPolicy:
    """What to do about chunks that wait while the engine is busy: nothing while there are at most `most`."""

    def __init__(self, most: int, policy: Literal["skip", "wait"]) -> None:
        self._most = most
        self._skips = policy == "skip"
        self._behind = False

    def decide(self, waiting: int) -> tuple[int, bool]:
        """How many of the oldest to drop, the one about to be stepped included, and whether to say that the session lags.

        skip drops all but the newest and says so each time; wait says so once, until nothing waits any more.
        """
        if waiting <= self._most:
            self._behind = self._behind and waiting > 0
            return 0, False
        if self._skips:
            return waiting, True
        news, self._behind = not self._behind, True
        return 0, news


_STEP = math.log(1.01)


class Histogram:
    """Durations in ticks, in buckets 1 % wide: percentiles without keeping the values. Exact at 0 and at the ends."""

    def __init__(self) -> None:
        self.count = 0
        self._buckets: dict[int, int] = {}
        self._least = self._most = 0

    def add(self, ticks: int) -> None:
        """Note one duration; a negative one counts as 0."""
        ticks = max(0, ticks)
        bucket = 0 if ticks == 0 else 1 + int(math.log(ticks) / _STEP)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self._least = ticks if self.count == 0 else min(self._least, ticks)
        self._most = max(self._most, ticks)
        self.count += 1

    def percentile_ms(self, percent: float) -> float | None:
        """The duration that `percent` of all do not exceed, in ms to within 1 %; None when there are none."""
        if self.count == 0:
            return None
        rank = max(1, math.ceil(self.count * percent / 100))
        for bucket in sorted(self._buckets):
            rank -= self._buckets[bucket]
            if rank <= 0:
                ticks = 0.0 if bucket == 0 else math.exp(bucket * _STEP)
                return round(min(max(ticks, self._least), self._most) / TICKS_PER_MS, 3)
        raise AssertionError("the buckets hold fewer than were counted")

    def summary(self) -> dict[str, float | int | None]:
        """p50, p95, p99 and the largest in ms, and how many there are."""
        found: dict[str, float | int | None] = {f"p{percent}": self.percentile_ms(percent) for percent in (50, 95, 99)}
        return found | {"max": self.percentile_ms(100), "count": self.count}


@dataclass(slots=True)
class SessionStats:
    """What a session counts.

    chunks_in: heard, the dropped ones included.   chunks_out: frames of sound handed to the sink.   late: stepped chunks whose
    frames came more than a chunk after it was heard.   stale: frames of sound of an interrupted turn that were not played.
    non_finite, clipped: samples heard that were replaced by 0, or lie at or beyond full scale.   latency: mouth to ear, last
    sample of a chunk heard to the first sample of what the engine says to it handed to the sink.   step: time in the engine.
    overhead: chunk heard to its frames passed on, less the time in the engine.
    """

    chunks_in: int = 0
    stepped: int = 0
    chunks_out: int = 0
    dropped: int = 0
    late: int = 0
    lags: int = 0
    stale: int = 0
    interruptions: int = 0
    heard_samples: int = 0
    said_samples: int = 0
    non_finite: int = 0
    clipped: int = 0
    latency: Histogram = field(default_factory=Histogram)
    step: Histogram = field(default_factory=Histogram)
    overhead: Histogram = field(default_factory=Histogram)

    def summary(self) -> dict[str, Any]:
        """All of it, for JSON."""
        found: dict[str, Any] = {}
        for one in fields(self):
            value = getattr(self, one.name)
            found |= {f"{one.name}_ms": value.summary()} if isinstance(value, Histogram) else {one.name: value}
        return found


def spoken_length(heard_samples: int) -> int:
    """How many samples at 24 kHz last as long as `heard_samples` at 16 kHz; half a sample counts as one."""
    return _even_up(heard_samples * TICKS_PER_HEARD_SAMPLE) // TICKS_PER_SPOKEN_SAMPLE
