"""Retiming: a conversation with other pauses, overlaps and interruptions, drawn from those of a corpus.

Pure: units in, moved units out. The time line is cut at turn changes. From a changed one on, both speakers move by the
same amount, so everything else keeps its relative time, including backchannels during a turn. No unit comes before an
earlier unit of its speaker, or closer to it than two units may be.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from sca.data.duplex.model.labels import INTERRUPTION, TURN
from sca.data.duplex.model.units import Unit
from sca.data.duplex.rows.turn_labels import label
from sca.units import HEARD_HZ

__all__ = ["EARLY", "GAP", "OVERLAP", "Edit", "Retimed", "Shares", "offset_pool", "retime"]

EARLY = "early_interruption"
GAP = "gap_jitter"
OVERLAP = "overlap_jitter"

_STEP = HEARD_HZ // 100  # 10 ms, which is a whole number of samples at 24 kHz too
_MAX_OFFSET = 5 * HEARD_HZ  # beyond this a unit does not respond to the other speaker
_MAX_DRAWS = 8
_MIN_LEFT = (
    HEARD_HZ // 2
)  # what remains of an interrupted turn, and what is heard of it before the other speaker begins


@dataclass(frozen=True, slots=True)
class Shares:
    """The share of the turn changes of each kind that get a new offset, 0 to 1."""

    early: float
    gap: float
    overlap: float


@dataclass(frozen=True, slots=True)
class Edit:
    """A turn change with a new offset.

    Attributes:
        kind: `EARLY`, `GAP` or `OVERLAP`.
        side: The speaker that takes the turn, 0 or 1.
        unit: The index of that speaker's unit.
        was: The original offset from the end of the other speaker's unit, in samples.
        now: The new offset.
    """

    kind: str
    side: int
    unit: int
    was: int
    now: int


@dataclass(frozen=True, slots=True)
class Retimed:
    """A retimed conversation.

    Attributes:
        units: The units of each speaker with their new times; some are shortened.
        moves: By how many samples each unit moved.
        samples: The new length.
        edits: The changes, in time order.
        undone: Changes that were drawn but not made, by reason.
    """

    units: tuple[tuple[Unit, ...], ...]
    moves: tuple[tuple[int, ...], ...]
    samples: int
    edits: tuple[Edit, ...]
    undone: Mapping[str, int]


def offset_pool(sides: Sequence[Sequence[Unit]]) -> list[tuple[str, int]]:
    """Return the floor-transfer offsets of a conversation of two as (kind, samples), except very large ones."""
    spans = [[(unit.start, unit.end) for unit in side] for side in sides]
    pool = []
    for side, other in ((0, 1), (1, 0)):
        for span, unit in zip(spans[side], sides[side], strict=True):
            found = label(span, len(unit.words), spans[other])
            if found.kind in (TURN, INTERRUPTION) and found.offset is not None and abs(found.offset) <= _MAX_OFFSET:
                pool.append((found.kind, found.offset))
    return pool


def retime(
    sides: Sequence[Sequence[Unit]],
    samples: int,
    pool: Sequence[tuple[str, int]],
    shares: Shares,
    gap: int,
    random: Random,
) -> Retimed:
    """Draw new offsets for turn changes of a conversation.

    Args:
        sides: The units of the two speakers.
        samples: The length of the conversation.
        pool: The offsets to draw from, see `offset_pool`.
        shares: How many changes get a new offset.
        gap: The least distance between units of one speaker, in samples.
        random: The source of randomness, which alone decides the result.
    """
    return _Retiming(sides, pool, gap, random).run(samples, shares)


class _Retiming:
    """The state of one run: the units placed so far, and by how much the following ones move."""

    def __init__(
        self, sides: Sequence[Sequence[Unit]], pool: Sequence[tuple[str, int]], gap: int, random: Random
    ) -> None:
        self._sides, self._gap, self._random = sides, gap, random
        self._spans = [[(unit.start, unit.end) for unit in side] for side in sides]
        self._pools = {
            EARLY: [offset for kind, offset in pool if kind == INTERRUPTION],
            GAP: [offset for _, offset in pool if offset >= 0],
            OVERLAP: [offset for _, offset in pool if offset < 0],
        }
        self._units: list[list[Unit]] = [[], []]
        self._moves: list[list[int]] = [[], []]
        self._edits: list[Edit] = []
        self._undone: Counter[str] = Counter()
        self._shift = 0

    def run(self, samples: int, shares: Shares) -> Retimed:
        order = sorted((unit.start, side, n) for side, units in enumerate(self._sides) for n, unit in enumerate(units))
        last_side: int | None = None
        for _, side, n in order:
            found = label(self._spans[side][n], len(self._sides[side][n].words), self._spans[1 - side])
            # A turn change: the unit before is the other speaker's, and the offset counts from its end.
            changes = last_side is not None and last_side != side
            if changes and found.offset is not None and found.kind in (TURN, INTERRUPTION):
                kind = self._draw_kind(found.offset, shares)
                if kind is not None:
                    self._change(kind, side, n, found.offset)
            self._units[side].append(_moved(self._sides[side][n], self._shift))
            self._moves[side].append(self._shift)
            last_side = side
        length = max([samples + self._shift, *(unit.end for units in self._units for unit in units)])
        length += length % 2  # a whole number of samples at 24 kHz
        return Retimed(
            (tuple(self._units[0]), tuple(self._units[1])),
            (tuple(self._moves[0]), tuple(self._moves[1])),
            length,
            tuple(self._edits),
            dict(sorted(self._undone.items())),
        )

    def _draw_kind(self, offset: int, shares: Shares) -> str | None:
        # Both numbers are always drawn, so that one share does not change the draws for another.
        early, jitter = self._random.random() < shares.early, self._random.random()
        if offset >= 0:
            return EARLY if early else GAP if jitter < shares.gap else None
        return OVERLAP if jitter < shares.overlap else None

    def _change(self, kind: str, side: int, n: int, was: int) -> None:
        """Move unit `n` and all units after it, if an offset that fits is drawn."""
        interrupted = self._units[1 - side][-1]
        obstacle = self._obstacle(kind, side, n, was, interrupted)
        if obstacle is not None:
            self._undone[obstacle] += 1
            return
        unit = self._sides[side][n]
        for _ in range(_MAX_DRAWS):
            ends, cut = (interrupted.end, interrupted) if kind != EARLY else self._cut_short(interrupted)
            drawn = self._random.choice(self._pools[kind])
            shift = (ends + drawn - unit.start) // _STEP * _STEP
            begins = unit.start + shift
            late_enough = begins > cut.start + (_MIN_LEFT if drawn < 0 else 0)
            outlasts = kind != EARLY or unit.end + shift > ends
            if late_enough and outlasts and self._has_room(side, n, shift, cut):
                self._units[1 - side][-1] = cut
                self._shift = shift
                self._edits.append(Edit(kind, side, n, was, begins - ends))
                return
        self._undone["no_room"] += 1

    def _obstacle(self, kind: str, side: int, n: int, was: int, interrupted: Unit) -> str | None:
        """Return why a turn change cannot get a new offset, or None."""
        if not self._pools[kind]:
            return "no_such_offset"
        if abs(was) > _MAX_OFFSET:
            return "no_answer"
        follows = self._sides[1 - side][len(self._units[1 - side]) :]
        if follows and follows[0].start == self._sides[side][n].start:
            return "both_at_once"
        # The end of an interpolated word is not known, so its unit cannot be cut there.
        if kind == EARLY and any(word.source == "interpolated" for word in interrupted.words):
            return "times_not_known"
        if kind == EARLY and len(interrupted.words) < 2:
            return "too_short"
        return None

    def _cut_short(self, unit: Unit) -> tuple[int, Unit]:
        """Return a unit without one or more of its last words, and its end."""
        most = len(unit.words) - 1
        kept = unit.words[: self._random.randint((most + 1) // 2, most)]
        cut = Unit(unit.text[: kept[-1].char_end], kept)
        return cut.end, cut

    def _has_room(self, side: int, n: int, shift: int, cut: Unit) -> bool:
        """Return whether all following units stay at a distance behind the earlier units of their speakers."""
        following = {side: n, 1 - side: len(self._units[1 - side])}
        for speaker, first in following.items():
            last = cut if speaker != side else next(iter(self._units[side][-1:]), None)
            ended = last.end if last is not None else -self._gap
            if first < len(self._sides[speaker]) and self._sides[speaker][first].start + shift < ended + self._gap:
                return False
        return True


def _moved(unit: Unit, shift: int) -> Unit:
    if not shift:
        return unit
    return Unit(unit.text, tuple(replace(w, start=w.start + shift, end=w.end + shift) for w in unit.words))
