"""When people speak: the distributions of gaps, overlaps, pauses, interruptions and backchannels, by name or measured.

Draws use `random.Random` and the inverse of the distribution, which are the same in every version of Python and NumPy.

Sources, with what is from them in `TIMINGS`:
    Levinson and Torreira (2015), Frontiers in Psychology 6:731: Switchboard; 30 % of the transitions between speakers
        overlap; overlaps have a mode of 96 ms and a mean of 275 ms.
    Roberts, Torreira and Levinson (2015), Frontiers in Psychology 6:509: Switchboard; the offset of all transitions has
        a mode of 168 ms and a mean of 187 ms. With the overlaps above, gaps have a mean of 385 ms.
    Heldner and Edlund (2010), Journal of Phonetics 38(4): 40 % of the transitions overlap, and about 43 % are gaps
        longer than 200 ms.
    Stivers et al. (2009), PNAS 106(26): answers to questions in ten languages; mode 0 ms, median 100 ms, mean 208 ms.
    Jurafsky et al. (1997), SwDA manual: 19 % of the utterances of Switchboard are backchannels.
A lognormal distribution is fitted to two of these numbers. Pauses of one speaker, the time until an interrupted speaker
stops, and the share of interruptions are choices; their values are in the table.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import NormalDist
from typing import Protocol

__all__ = ["TIMINGS", "Distribution", "LogNormal", "Quantiles", "Timing"]

_NORMAL = NormalDist()


class Distribution(Protocol):
    """A distribution of a time in seconds."""

    def at(self, probability: float) -> float:
        """Return the time below which the share `probability`, in [0, 1), of all times lies."""
        ...

    def draw(self, random: Random) -> float:
        """Return a random time."""
        return self.at(random.random())


@dataclass(frozen=True, slots=True)
class LogNormal(Distribution):
    """A lognormal distribution without its longest tail, which is cut off at `longest_s`.

    Attributes:
        median_s: The median, in seconds from `shift_s`.
        sigma: The standard deviation of the logarithm.
        longest_s: The longest time from `shift_s`, in seconds.
        shift_s: What is added to every time.
    """

    median_s: float
    sigma: float
    longest_s: float
    shift_s: float = 0.0

    def at(self, probability: float) -> float:
        """Return a quantile."""
        share = _NORMAL.cdf(math.log(self.longest_s / self.median_s) / self.sigma)
        z = _NORMAL.inv_cdf(min(max(probability * share, 1e-9), 1 - 1e-9))
        return self.shift_s + self.median_s * math.exp(self.sigma * z)


@dataclass(frozen=True, slots=True)
class Quantiles(Distribution):
    """A measured distribution: its quantiles at equal steps of probability, from 0 to 1, with straight lines between.

    Attributes:
        values_s: The quantiles, ascending, at least two.
    """

    values_s: tuple[float, ...]

    @classmethod
    def of(cls, times_s: Sequence[float], steps: int = 50) -> "Quantiles":
        """Return the distribution of measured times, at least one."""
        ordered = sorted(times_s)
        places = [step / steps * (len(ordered) - 1) for step in range(steps + 1)]
        floors = [min(int(place), max(len(ordered) - 2, 0)) for place in places]
        above = [ordered[min(at + 1, len(ordered) - 1)] for at in floors]
        pairs = zip(places, floors, above, strict=True)
        return cls(tuple(ordered[at] + (place - at) * (top - ordered[at]) for place, at, top in pairs))

    def at(self, probability: float) -> float:
        """Return a quantile."""
        place = probability * (len(self.values_s) - 1)
        below = min(int(place), len(self.values_s) - 2)
        return self.values_s[below] + (place - below) * (self.values_s[below + 1] - self.values_s[below])


@dataclass(frozen=True, slots=True)
class Timing:
    """When people speak.

    Attributes:
        name: The name.
        source: Where the numbers are from, in a line.
        gap_s: The silence between two speakers.
        overlap_s: By how much a turn begins before the one before it ends, where it does.
        overlap_share: The share of the transitions between speakers that overlap, without interruptions.
        pause_s: The pause of a speaker who goes on.
        yield_s: How long an interrupted speaker goes on.
        interruption_share: The share of the transitions between speakers that are interruptions.
        backchannels_a_minute: Backchannels per minute of the other's speech.
    """

    name: str
    source: str
    gap_s: Distribution
    overlap_s: Distribution
    overlap_share: float
    pause_s: Distribution = LogNormal(0.5, 0.6, 2.5)
    yield_s: Distribution = LogNormal(0.35, 0.4, 1.0)
    interruption_share: float = 0.05
    backchannels_a_minute: float = 4.0


_SWITCHBOARD = Timing(
    "switchboard",
    "telephone conversations in American English: Levinson and Torreira 2015, Roberts et al. 2015",
    gap_s=LogNormal(0.292, 0.743, 4.0),
    overlap_s=LogNormal(0.194, 0.838, 2.0),
    overlap_share=0.30,
)
TIMINGS: dict[str, Timing] = {
    timing.name: timing
    for timing in (
        _SWITCHBOARD,
        Timing(
            "heldner-2010",
            "conversations in Dutch, Swedish and Scottish English: Heldner and Edlund 2010",
            gap_s=LogNormal(0.335, 0.9, 4.0),
            overlap_s=LogNormal(0.194, 0.838, 2.0),
            overlap_share=0.40,
        ),
        Timing(
            "stivers-2009",
            "answers to questions in ten languages: Stivers et al. 2009",
            gap_s=LogNormal(0.152, 1.037, 3.0, shift_s=-0.052),
            overlap_s=LogNormal(0.194, 0.838, 2.0),
            overlap_share=0.0,
        ),
    )
}
"""The distributions by name."""
