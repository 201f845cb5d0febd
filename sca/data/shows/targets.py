"""From a timeline to targets, the stretches of speech that a model learns to produce.

Every event that does not end in a target is counted by reason. Times are samples at 16 kHz, so thresholds are exact.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sca.config import ConvertConfig
from sca.timeline import AudienceEvent, ComedianEvent, Event, OtherSpeakerEvent, Show, is_unsure
from sca.units import HEARD_HZ, seconds_to_samples

__all__ = ["Target", "TargetRules", "find_targets", "join_text", "rules_of"]

_NO_SPACE_BEFORE = frozenset(",.!?;:…)]}%»”。、，！？；：）】」』")
_NO_SPACE_AFTER = frozenset("([{«“（【「『")


@dataclass(frozen=True, slots=True)
class TargetRules:
    """The thresholds of targets and rows, in samples at 16 kHz.

    Attributes:
        merge_threshold: Speech with no longer pause in between becomes one target.
        min_duration: Shortest row.
        max_duration: Longest row and longest target.
        cut_start: No row begins earlier.
        cut_end: No target reaches into this much of the end of the recording.
        min_speech: Shortest target that gets a row.
        keep_audience: Whether reactions become tags in the text, such as `[laughter]`.
    """

    merge_threshold: int
    min_duration: int
    max_duration: int
    cut_start: int
    cut_end: int
    min_speech: int
    keep_audience: bool = False


def rules_of(config: ConvertConfig) -> TargetRules:
    """Convert the settings to samples."""

    def samples(seconds: float) -> int:
        return seconds_to_samples(seconds, HEARD_HZ)

    return TargetRules(
        merge_threshold=samples(config.merge_threshold_s),
        min_duration=samples(config.min_duration_s),
        max_duration=samples(config.max_duration_s),
        cut_start=samples(config.cut_start_s),
        cut_end=samples(config.cut_end_s),
        min_speech=samples(config.min_speech_s),
        keep_audience=config.keep_audience,
    )


@dataclass(frozen=True, slots=True)
class Target:
    """Continuous speech in the samples `[start, end)`.

    Attributes:
        start: First sample.
        end: End, exclusive.
        pieces: Start and text of the events that it consists of.
    """

    start: int
    end: int
    pieces: tuple[tuple[int, str], ...]

    @property
    def text(self) -> str:
        """The texts of the pieces in order, separated by spaces where the language uses them."""
        return join_text(text for _, text in self.pieces)


def find_targets(show: Show, total: int, rules: TargetRules) -> tuple[list[Target], Counter[str]]:
    """Find the targets of a show.

    Args:
        show: The show.
        total: Length of the recording in samples.
        rules: The thresholds.

    Returns:
        The targets, sorted and disjoint; and the counts of other events: extras, other_speaker, unsure, not_speech, empty,
        no_duration, past_end, cut, over_unsure, over_others, overlaps, duplicates, merged. No target overlaps an unsure
        event or another speaker.
    """
    counts: Counter[str] = Counter()
    unsure = _spans(filter(is_unsure, show.timeline))
    blocked = _spans(event for event in show.timeline if is_unsure(event) or isinstance(event, OtherSpeakerEvent))
    speech = []
    for target in _speech_events(show, total, rules, counts):
        if not _overlaps(blocked, target.start, target.end):
            speech.append(target)
        else:
            counts["over_unsure" if _overlaps(unsure, target.start, target.end) else "over_others"] += 1
    merged = _merge_close(_resolve_overlaps(speech, counts), blocked, rules, counts)
    if rules.keep_audience:
        merged = _add_reaction_tags(merged, show, rules)
    return merged, counts


def _spans(events: Iterable[Event]) -> list[tuple[int, int]]:
    """Return events, which are sorted, in samples, sorted and disjoint."""
    spans: list[tuple[int, int]] = []
    for event in events:
        start, end = seconds_to_samples(event.start, HEARD_HZ), seconds_to_samples(event.end, HEARD_HZ)
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((start, end))
    return spans


def _overlaps(spans: Sequence[tuple[int, int]], start: int, end: int) -> bool:
    """Return whether one of the sorted, disjoint spans has a sample in `[start, end)`."""
    at = bisect_left(spans, (end, 0)) - 1
    return at >= 0 and spans[at][1] > start


def _speech_events(show: Show, total: int, rules: TargetRules, counts: Counter[str]) -> list[Target]:
    targets = []
    for event in show.timeline:
        if isinstance(event, OtherSpeakerEvent):
            counts["other_speaker"] += 1
            continue
        if not isinstance(event, ComedianEvent):
            kept = rules.keep_audience and isinstance(event, AudienceEvent)
            counts["extras"] += not kept
            continue
        start, end = seconds_to_samples(event.start, HEARD_HZ), seconds_to_samples(event.end, HEARD_HZ)
        text = " ".join(event.content.split())
        if is_unsure(event):
            counts["unsure"] += 1
        elif event.event_type != "speech":
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
            targets.append(Target(start, min(end, total), ((start, text),)))
    return sorted(targets, key=lambda target: (target.start, target.end))


def _resolve_overlaps(speech: Sequence[Target], counts: Counter[str]) -> list[Target]:
    """Make events disjoint: the earlier one ends where the next begins; one inside another becomes part of it."""
    disjoint: list[Target] = []
    for event in speech:
        last = disjoint[-1] if disjoint else None
        if last is None or event.start >= last.end:
            disjoint.append(event)
            continue
        if _letters(event.text) == _letters(last.pieces[-1][1]):
            counts["duplicates"] += 1
            disjoint[-1] = replace(last, end=max(last.end, event.end))
            continue
        counts["overlaps"] += 1
        if event.end <= last.end or event.start == last.start:
            disjoint[-1] = Target(last.start, max(last.end, event.end), last.pieces + event.pieces)
        else:
            disjoint[-1] = replace(last, end=event.start)
            disjoint.append(event)
    return disjoint


def _merge_close(
    disjoint: Sequence[Target], blocked: Sequence[tuple[int, int]], rules: TargetRules, counts: Counter[str]
) -> list[Target]:
    """Merge events with at most `merge_threshold` and no unsure or other speech between them, up to the longest row."""
    merged: list[Target] = []
    for event in disjoint:
        last = merged[-1] if merged else None
        is_close = (
            last is not None
            and event.start - last.end <= rules.merge_threshold
            and not _overlaps(blocked, last.end, event.start)
        )
        if last is not None and is_close and event.end - last.start <= rules.max_duration:
            merged[-1] = Target(last.start, event.end, last.pieces + event.pieces)
            counts["merged"] += 1
        else:
            merged.append(event)
    return merged


def _add_reaction_tags(targets: Sequence[Target], show: Show, rules: TargetRules) -> list[Target]:
    """Add each reaction as a tag, such as `[laughter]`, to the target in which or shortly after which it begins."""
    reactions = [
        (seconds_to_samples(event.start, HEARD_HZ), f"[{event.reaction_type}]")
        for event in show.timeline
        if isinstance(event, AudienceEvent)
    ]
    tagged = []
    for n, target in enumerate(targets):
        next_start = targets[n + 1].start if n + 1 < len(targets) else target.end + rules.merge_threshold + 1
        until = min(next_start, target.end + rules.merge_threshold + 1)
        tags = [(start, tag) for start, tag in reactions if target.start <= start < until]
        tagged.append(replace(target, pieces=tuple(sorted([*target.pieces, *tags], key=lambda piece: piece[0]))))
    return tagged


def join_text(pieces: Iterable[str]) -> str:
    """Join texts with a space; without one before closing punctuation and between scripts that use no spaces."""
    joined = ""
    for piece in pieces:
        text = " ".join(piece.split())
        if not text:
            continue
        joined += text if not joined or _needs_no_space(joined[-1], text[0]) else f" {text}"
    return joined


def _needs_no_space(before: str, after: str) -> bool:
    return after in _NO_SPACE_BEFORE or before in _NO_SPACE_AFTER or (_is_spaceless(before) and _is_spaceless(after))


def _is_spaceless(letter: str) -> bool:
    """Return whether a letter is Chinese, Japanese, Thai, Lao, Khmer or Burmese, which put no spaces between words."""
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


def _letters(text: str) -> str:
    """Return the letters and digits of a text in lower case, for comparison; the text itself if it has none."""
    return "".join(letter for letter in text.casefold() if letter.isalnum()) or text
