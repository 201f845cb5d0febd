"""Which text is a score and which a clock, and whether a score that was read is believed.

A pair of numbers with a dash is a score. With a colon it may be either: a text that ticks (its seconds rise or fall by
one, again and again) is a clock for good, and `2:1` is a score because clocks have two digits for seconds. `10:12` is a
score only after it has stood for 10 s, and a change of it is believed 1.5 s later.

Points do not fall, and rise by a few at once, on one side. Any other change is a wrong reading, here or at the start. It is
believed if it stays for 4 s; then the new score is the one to compare with.
"""

import re
from dataclasses import dataclass, field
from typing import Literal

from sca.watch.engines.describe.phrases import DASHES

__all__ = ["Pair", "ScoreChange", "ScoreTrack", "parse_pair"]

_PAIR = re.compile(rf"(?<![\d{DASHES}:.,/])([\dOoIl|]{{1,3}})\s*([{DASHES}:])\s*([\dOoIl|]{{1,3}})(?![\d{DASHES}:.,/])")
_AS_DIGITS = str.maketrans("OoIl|", "00111")

_SUSPECT_US = 4_000_000
_AMBIGUOUS_US = 10_000_000
_STANDS_US = 1_500_000
_PROVEN_US = 10_000_000
_TICK_US = 3_000_000
_TICKS = 2


@dataclass(frozen=True, slots=True)
class Pair:
    """Two numbers in a text.

    Attributes:
        first: The first number.
        second: The second number.
        is_ambiguous: Whether they may be minutes and seconds.
        before: The text on their left.
        after: The text on their right.
    """

    first: int
    second: int
    is_ambiguous: bool
    before: str = field(default="", compare=False)
    after: str = field(default="", compare=False)


def parse_pair(text: str) -> Pair | None:
    """Return the pair of numbers in a text: a score if there is one, else what may be a clock; None without any.

    Args:
        text: A text of one line, such as `ARS 2-1 CHE` or `67:42`.
    """
    ambiguous: Pair | None = None
    for found in _PAIR.finditer(text):
        if not (_has_digit(found[1]) or _has_digit(found[3]) or found[1] == found[3] == "O"):
            continue  # `O-O` is how a lone zero is read
        touches = text[max(0, found.start() - 1) : found.start()] + text[found.end() : found.end() + 1]
        if any(character.isalpha() for character in touches):  # a word such as "F1-30mm"
            continue
        first, second = (found[part].translate(_AS_DIGITS) for part in (1, 3))
        may_be_clock = found[2] == ":" and len(second) == 2 and int(second) < 60
        pair = Pair(int(first), int(second), may_be_clock, text[: found.start()], text[found.end() :])
        if not may_be_clock:
            return pair
        if len(first) <= 3 and ambiguous is None:
            ambiguous = pair
    return ambiguous


def _has_digit(text: str) -> bool:
    return any(character.isdigit() for character in text)


@dataclass(frozen=True, slots=True)
class ScoreChange:
    """A new score.

    Attributes:
        home: Points of the first team.
        away: Points of the second team.
        about_us: `VideoFrame.time_us` of the first picture with it.
        kind: "points", or "correction" if it is not a plausible step from the score before.
    """

    home: int
    away: int
    about_us: int
    kind: Literal["points", "correction"]


class ScoreTrack:
    """The pairs that were read at one place.

    Args:
        step: The most points that are plausible at once.
    """

    def __init__(self, step: int) -> None:
        self._step = step
        self._current: tuple[int, int] | None = None
        self._since_us = 0
        self._candidate: tuple[int, int] | None = None
        self._candidate_us = 0
        self._ticks = 0
        self.is_clock = False

    @property
    def needs_reading(self) -> bool:
        """Whether another reading decides something: a change is waiting to be believed."""
        return not self.is_clock and self._candidate is not None

    def read(self, pair: Pair, first_us: int, now_us: int) -> ScoreChange | None:
        """Receive a reading that several pictures agree on.

        Args:
            pair: The numbers.
            first_us: The time of the first picture with them.
            now_us: The time of the picture now.

        Returns:
            A change of the score that is believed now.
        """
        new = (pair.first, pair.second)
        if self.is_clock or new == self._current:
            self._candidate = None
            return None
        if new != self._candidate:
            if pair.is_ambiguous and self._ticks_to(new, first_us):
                self.is_clock, self._candidate = True, None
                return None
            self._candidate, self._candidate_us = new, first_us
        if self._current is None:
            if now_us - self._candidate_us >= (_AMBIGUOUS_US if pair.is_ambiguous else 0):
                self._accept(new)
            return None
        if self._is_plausible(new):
            wait_us = _STANDS_US if pair.is_ambiguous else 0
            return self._accept(new, "points") if now_us - self._candidate_us >= wait_us else None
        if now_us - self._candidate_us < _SUSPECT_US:
            return None
        was_proven = self._candidate_us - self._since_us >= _PROVEN_US
        change = self._accept(new, "correction")
        return change if was_proven else None

    def _accept(self, new: tuple[int, int], kind: Literal["points", "correction"] = "points") -> ScoreChange:
        change = ScoreChange(*new, self._candidate_us, kind)
        self._current, self._since_us, self._candidate = new, self._candidate_us, None
        return change

    def _is_plausible(self, new: tuple[int, int]) -> bool:
        assert self._current is not None
        rises = sorted((new[0] - self._current[0], new[1] - self._current[1]))
        return rises[0] == 0 and 0 < rises[1] <= self._step

    def _ticks_to(self, new: tuple[int, int], first_us: int) -> bool:
        """Count another tick, if it is one; return whether there were enough."""
        before = self._candidate or self._current
        before_us = self._candidate_us if self._candidate else self._since_us
        if before is None or first_us - before_us > _TICK_US:
            return False
        seconds = [minutes * 60 + second for minutes, second in (before, new)]
        self._ticks += 1 <= abs(seconds[1] - seconds[0]) <= 3
        return self._ticks >= _TICKS
