"""Where each text token goes on the grid. Pure: integers in, integers out.

A token belongs to the word it is part of and wants the chunk `lead` before the one its word starts in, so that with a lead
of one chunk the model says it before it could have heard it. At most `capacity` tokens fit a chunk, and order is kept, so a
quick word pushes its neighbours: first backwards, where the pull is bounded (a token must not run ahead of its sound),
then forwards, first in first out. No token is dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sca.data.duplex.model.units import Unit

__all__ = ["Cursor", "Placed", "place_unit", "token_words", "wanted_slots"]


@dataclass(frozen=True, slots=True)
class Cursor:
    """The first free place: chunk `slot`, of which `used` places are taken."""

    slot: int
    used: int = 0


@dataclass(frozen=True, slots=True)
class Placed:
    """Slots of a unit's tokens, in order, and the cursor after the last."""

    slots: tuple[int, ...]
    after: Cursor


def token_words(unit: Unit, offsets: Sequence[tuple[int, int]], shift: int) -> list[int]:
    """The index of the word each token belongs to.

    `offsets` are character ranges in the text that was tokenized, which has `shift` characters (a leading space) before the
    unit's own. A token belongs to the word its first character that is not a space is in; one that is only a space to the
    word after it. The pieces of a character that takes several tokens all report that character.
    """
    owners: list[int] = []
    word = 0
    words = unit.words
    for start, end in offsets:
        at = max(0, start - shift)
        stop = end - shift
        while at < stop and unit.text[at].isspace():
            at += 1
        # Words cover every character but the spaces, so the first word that ends past `at` is the owner, also for a lone space.
        while word < len(words) - 1 and words[word].until <= at:
            word += 1
        owners.append(word)
    return owners


def wanted_slots(unit: Unit, owners: Sequence[int], chunk_samples: int, lead: int) -> list[int]:
    """`floor(word start / chunk) - lead` for every token, counted from the start of the session; can be negative."""
    slots = [word.start // chunk_samples - lead for word in unit.words]
    for i in range(1, len(slots)):  # given times may repeat an onset but must not run back
        slots[i] = max(slots[i], slots[i - 1])
    return [slots[owner] for owner in owners]


def place_unit(wanted: Sequence[int], free: Cursor, *, capacity: int, pull: int) -> Placed:
    """Place a unit's tokens, none before `free`.

    wanted: non-decreasing slots.   capacity: tokens a chunk holds.   pull: how many chunks before its wanted slot a token may
    be moved to make room for those after it.
    """
    targets = _pull_back(wanted, capacity, pull)
    slots: list[int] = []
    slot, used = free.slot, free.used
    for target in targets:
        if target > slot:
            slot, used = target, 0
        elif used == capacity:
            slot, used = slot + 1, 0
        slots.append(slot)
        used += 1
    return Placed(tuple(slots), Cursor(slot, used))


def _pull_back(wanted: Sequence[int], capacity: int, pull: int) -> list[int]:
    """From the last token to the first: the latest free slot not after the wanted one, at most `pull` before it."""
    targets = [0] * len(wanted)
    slot, used = None, 0
    for i in range(len(wanted) - 1, -1, -1):
        latest = wanted[i]
        if slot is not None and latest >= slot:
            latest = slot if used < capacity else slot - 1
        # Beyond the pull a token stays; the slot may now be too full, and the forward pass will spread it.
        target = max(latest, wanted[i] - pull)
        if target != slot:
            slot, used = target, 0
        used += 1
        targets[i] = target
    return targets
