"""A conversation with other pauses, overlaps and interruptions, drawn from those of a corpus. Pure: units in, moved units out.

Time is cut at turn changes. From a change on, both speakers move by the same amount, so all that is not changed stays as it was,
nods over a turn too. Nothing comes before what its own speaker said before it, nor closer to it than two units are.
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

_STEP = HEARD_HZ // 100  # 10 ms, a whole number of samples at 24 kHz too
_FURTHEST = 5 * HEARD_HZ  # an offset beyond this is no answer to what the other said
_DRAWS = 8
_LEAST_LEFT = HEARD_HZ // 2  # what is left of an interrupted turn, and what is heard of it before the other begins


@dataclass(frozen=True, slots=True)
class Shares:
    """How many of the changes of each kind are made anew, 0 to 1."""

    early: float
    gap: float
    overlap: float


@dataclass(frozen=True, slots=True)
class Edit:
    """A turn change that was made anew: unit `unit` of speaker `side` begins `now` after the other's end, not `was` (samples)."""

    kind: str
    side: int
    unit: int
    was: int
    now: int


@dataclass(frozen=True, slots=True)
class Retimed:
    """units: by speaker, with their new times, some of them cut short.   moves: for each unit how far it went.   samples: in all.

    undone: changes that were drawn and left as they were, by reason.
    """

    units: tuple[tuple[Unit, ...], ...]
    moves: tuple[tuple[int, ...], ...]
    samples: int
    edits: tuple[Edit, ...]
    undone: Mapping[str, int]


def offset_pool(sides: Sequence[Sequence[Unit]]) -> list[tuple[str, int]]:
    """The floor-transfer offsets of a conversation of two as (kind, samples), those that answer what the other said."""
    spans = [[(unit.start, unit.end) for unit in side] for side in sides]
    found = []
    for at, other in ((0, 1), (1, 0)):
        for span, unit in zip(spans[at], sides[at], strict=True):
            made = label(span, len(unit.words), spans[other])
            if made.kind in (TURN, INTERRUPTION) and made.offset is not None and abs(made.offset) <= _FURTHEST:
                found.append((made.kind, made.offset))
    return found


def retime(
    sides: Sequence[Sequence[Unit]],
    samples: int,
    pool: Sequence[tuple[str, int]],
    shares: Shares,
    gap: int,
    random: Random,
) -> Retimed:
    """Draw other offsets for turn changes of a conversation of two.   gap: samples that units of one speaker are apart at least."""
    return _Retiming(sides, pool, gap, random).run(samples, shares)


class _Retiming:
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
        before: tuple[int, int] | None = None
        for _, side, n in order:
            made = label(self._spans[side][n], len(self._sides[side][n].words), self._spans[1 - side])
            # A change of turns: the one before was the other, and what he said is what the offset counts from.
            if (
                made.offset is not None
                and made.kind in (TURN, INTERRUPTION)
                and before is not None
                and before[0] != side
            ):
                kind = self._kind(made.offset, shares)
                if kind is not None:
                    self._change(kind, side, n, made.offset)
            self._units[side].append(_moved(self._sides[side][n], self._shift))
            self._moves[side].append(self._shift)
            before = side, n
        length = max([samples + self._shift, *(unit.end for units in self._units for unit in units)])
        length += length % 2  # a whole number of samples at 24 kHz
        return Retimed(
            (tuple(self._units[0]), tuple(self._units[1])),
            (tuple(self._moves[0]), tuple(self._moves[1])),
            length,
            tuple(self._edits),
            dict(sorted(self._undone.items())),
        )

    def _kind(self, offset: int, shares: Shares) -> str | None:
        # Both are always drawn, so that one share does not change what another one draws.
        early, again = self._random.random() < shares.early, self._random.random()
        if offset >= 0:
            return EARLY if early else GAP if again < shares.gap else None
        return OVERLAP if again < shares.overlap else None

    def _change(self, kind: str, side: int, n: int, was: int) -> None:
        """Move unit `n` and all after it, where a draw leaves room."""
        pool = self._pools[kind]
        if not pool or abs(was) > _FURTHEST:
            self._undone["no_such_offset" if not pool else "no_answer"] += 1
            return
        heard = self._units[1 - side][-1]
        follows = self._sides[1 - side][len(self._units[1 - side]) :]
        if follows and follows[0].start == self._sides[side][n].start:
            self._undone["both_at_once"] += 1
            return
        if kind == EARLY and not all(word.source != "interpolated" for word in heard.words):
            # Nobody knows where such a word ends, so it cannot be cut there.
            self._undone["times_not_known"] += 1
            return
        if kind == EARLY and len(heard.words) < 2:
            self._undone["too_short"] += 1
            return
        for _ in range(_DRAWS):
            ends, cut = (heard.end, heard) if kind != EARLY else self._cut_short(heard)
            drawn = self._random.choice(pool)
            start = self._sides[side][n].start
            shift = (ends + drawn - start) // _STEP * _STEP
            begins = start + shift
            late_enough = begins > cut.start + (_LEAST_LEFT if drawn < 0 else 0)
            outlasts = kind != EARLY or self._sides[side][n].end + shift > ends
            if late_enough and outlasts and self._room(side, n, shift, cut):
                self._units[1 - side][-1] = cut
                self._shift = shift
                self._edits.append(Edit(kind, side, n, was, begins - ends))
                return
        self._undone["no_room"] += 1

    def _cut_short(self, unit: Unit) -> tuple[int, Unit]:
        """A unit without its last words, at least one of them, and where it ends then."""
        most = len(unit.words) - 1
        kept = unit.words[: self._random.randint((most + 1) // 2, most)]
        cut = Unit(unit.text[: kept[-1].char_end], kept)
        return cut.end, cut

    def _room(self, side: int, n: int, shift: int, cut: Unit) -> bool:
        """Whether all that follows stays behind what its speaker said, at a distance."""
        following = {side: n, 1 - side: len(self._units[1 - side])}
        for speaker, first in following.items():
            ended = cut.end if speaker != side else self._units[side][-1].end if self._units[side] else -self._gap
            if first < len(self._sides[speaker]) and self._sides[speaker][first].start + shift < ended + self._gap:
                return False
        return True


def _moved(unit: Unit, shift: int) -> Unit:
    if not shift:
        return unit
    return Unit(unit.text, tuple(replace(w, start=w.start + shift, end=w.end + shift) for w in unit.words))
