"""From a timeline to targets: the stretches of speech that a model is to learn to say.

A pure function of events and numbers; every event that does not end in a target is counted with a reason. Times are samples at
16 kHz, so that thresholds mean what they say.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sca.timeline import AudienceEvent, ComedianEvent, Show
from sca.units import HEARD_HZ, seconds_to_samples

__all__ = ["Rules", "Target", "join_text", "targets_of"]

_NO_SPACE_BEFORE = frozenset(",.!?;:…)]}%»”。、，！？；：）】」』")
_NO_SPACE_AFTER = frozenset("([{«“（【「『")


@dataclass(frozen=True, slots=True)
class Rules:
    """What becomes a target, in samples at 16 kHz. cut_end counts from the recording's end."""

    merge_threshold: int
    min_duration: int
    max_duration: int
    cut_start: int
    cut_end: int
    min_speech: int
    keep_audience: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """Speech in one piece, `[start, end)`. pieces: (start, text) of the events it is made of."""

    start: int
    end: int
    pieces: tuple[tuple[int, str], ...]

    @property
    def text(self) -> str:
        """The pieces in the order they begin, with the spaces that belong between them."""
        return join_text(text for _, text in self.pieces)


def targets_of(show: Show, total: int, rules: Rules) -> tuple[list[Target], Counter[str]]:
    """Targets of a show, sorted and apart from each other, and what happened to the rest.

    total: length of the recording. Counts: extras, not_speech, empty, no_duration, past_end, cut, overlaps, duplicates, merged.
    """
    counts: Counter[str] = Counter()
    spoken = _speech(show, total, rules, counts)
    merged = _merged(_apart(spoken, counts), rules, counts)
    if rules.keep_audience:
        merged = _with_reactions(merged, show, rules)
    return merged, counts


def _speech(show: Show, total: int, rules: Rules, counts: Counter[str]) -> list[Target]:
    found = []
    for event in show.timeline:
        if not isinstance(event, ComedianEvent):
            kept = rules.keep_audience and isinstance(event, AudienceEvent)
            counts["extras"] += not kept
            continue
        start, end = seconds_to_samples(event.start, HEARD_HZ), seconds_to_samples(event.end, HEARD_HZ)
        text = " ".join(event.content.split())
        if event.event_type != "speech":
            counts["not_speech"] += 1
        elif not text:
            counts["empty"] += 1
        elif end <= start:
            counts["no_duration"] += 1
        elif start >= total:
            counts["past_end"] += 1
        elif start < rules.cut_start or min(end, total) > total - rules.cut_end:
            counts["cut"] += 1
        else:
            found.append(Target(start, min(end, total), ((start, text),)))
    return sorted(found, key=lambda target: (target.start, target.end))


def _apart(spoken: Sequence[Target], counts: Counter[str]) -> list[Target]:
    """The same events without overlaps: the earlier one ends where the next begins; one inside another becomes part of it."""
    apart: list[Target] = []
    for event in spoken:
        last = apart[-1] if apart else None
        if last is None or event.start >= last.end:
            apart.append(event)
            continue
        if _plain(event.text) == _plain(last.pieces[-1][1]):
            counts["duplicates"] += 1
            apart[-1] = replace(last, end=max(last.end, event.end))
            continue
        counts["overlaps"] += 1
        if event.end <= last.end or event.start == last.start:
            apart[-1] = Target(last.start, max(last.end, event.end), last.pieces + event.pieces)
        else:
            apart[-1] = replace(last, end=event.start)
            apart.append(event)
    return apart


def _merged(apart: Sequence[Target], rules: Rules, counts: Counter[str]) -> list[Target]:
    """Events closer than the threshold as one, as long as it is not longer than a row may be."""
    merged: list[Target] = []
    for event in apart:
        last = merged[-1] if merged else None
        close = last is not None and event.start - last.end <= rules.merge_threshold
        if last is not None and close and event.end - last.start <= rules.max_duration:
            merged[-1] = Target(last.start, event.end, last.pieces + event.pieces)
            counts["merged"] += 1
        else:
            merged.append(event)
    return merged


def _with_reactions(targets: Sequence[Target], show: Show, rules: Rules) -> list[Target]:
    """Reactions as tags such as `[laughter]` in the text of the target they begin in, or directly after."""
    heard = [
        (seconds_to_samples(event.start, HEARD_HZ), f"[{event.reaction_type}]")
        for event in show.timeline
        if isinstance(event, AudienceEvent)
    ]
    with_tags = []
    for n, target in enumerate(targets):
        following = targets[n + 1].start if n + 1 < len(targets) else target.end + rules.merge_threshold + 1
        until = min(following, target.end + rules.merge_threshold + 1)
        tags = [(start, tag) for start, tag in heard if target.start <= start < until]
        with_tags.append(replace(target, pieces=tuple(sorted([*target.pieces, *tags], key=lambda piece: piece[0]))))
    return with_tags


def join_text(pieces: Iterable[str]) -> str:
    """Pieces of text as one: one space between them, none before closing punctuation or between scripts without spaces."""
    whole = ""
    for piece in pieces:
        piece = " ".join(piece.split())
        if not piece:
            continue
        whole += piece if not whole or _glued(whole[-1], piece[0]) else f" {piece}"
    return whole


def _glued(before: str, after: str) -> bool:
    return after in _NO_SPACE_BEFORE or before in _NO_SPACE_AFTER or (_spaceless(before) and _spaceless(after))


def _spaceless(letter: str) -> bool:
    """Chinese, Japanese, Thai, Lao, Khmer and Burmese put no spaces between words."""
    code = ord(letter)
    return (
        0x0E00 <= code <= 0x0EFF
        or 0x1000 <= code <= 0x109F
        or 0x1780 <= code <= 0x17FF
        or 0x3000 <= code <= 0x30FF
        or 0x3400 <= code <= 0x9FFF
        or 0xF900 <= code <= 0xFAFF
        or 0xFF00 <= code <= 0xFFEF
        or 0x20000 <= code <= 0x3FFFF
    )


def _plain(text: str) -> str:
    return "".join(letter for letter in text.casefold() if letter.isalnum()) or text
