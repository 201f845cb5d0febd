"""Words and utterances with times in seconds, as files give them, and the tracks that are made of them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

from sca.data.corpora.base import WHOLE, Issue, Part, TimedWord, Track, Utterance
from sca.data.corpora.exact_times import excerpt
from sca.data.corpora.overlaps import resolve_overlaps
from sca.data.corpora.text.scripts import join_words
from sca.textutil import counted
from sca.units import HEARD_HZ, seconds_to_samples

__all__ = ["TimedText", "file_safe_name", "group_words", "make_track", "split_at_end"]

_NEW_UTTERANCE_S = 0.8  # a pause of this length begins a new utterance
_SHORTEST_S = 0.01
_PAST_END_S = 0.5  # how far the end of a word may lie after the end of its recording
_MAX_NAMED = 3
_MAX_NAME_BYTES = 100


@dataclass(frozen=True, slots=True)
class TimedText:
    """A word or an utterance of a file.

    Attributes:
        text: The text.
        start_s: Its start, in seconds from the start of the session.
        end_s: Its end.
        path: The file that has it.
        line: The line in the file, from 1; None if the file has no lines of its own.
        label: What the entry is called in its file ("entry 3"), if not by its line.
        given: Whether the file has the times.
    """

    text: str
    start_s: float
    end_s: float
    path: Path
    line: int | None = None
    label: str = ""
    given: bool = True


def group_words(words: Sequence[TimedText]) -> list[TimedText]:
    """Join timed words, sorted by start, to utterances. No utterance begins before the previous one has ended."""
    groups: list[list[TimedText]] = [[word] for word in words[:1]]
    for _, word in pairwise(words):
        if word.start_s - _end(groups[-1]) >= _NEW_UTTERANCE_S:
            groups.append([word])
        else:
            groups[-1].append(word)
    return [
        TimedText(
            join_words(word.text for word in group),
            group[0].start_s,
            _end(group),
            group[0].path,
            group[0].line,
            group[0].label,
        )
        for group in groups
    ]


def split_at_end(texts: Iterable[TimedText], seconds: float) -> tuple[list[TimedText], list[Issue]]:
    """Separate what lies in a recording from what lies after its end.

    Args:
        texts: Words or utterances.
        seconds: The length of the recording.

    Returns:
        What lies in the recording, sorted by start, and issues about the rest, the first few by name.
    """
    kept: list[TimedText] = []
    late: list[TimedText] = []
    for text in texts:
        (kept if text.start_s < seconds and text.end_s <= seconds + _PAST_END_S else late).append(text)
    issues = [
        Issue(
            "skipped",
            text.path,
            text.line,
            f"{text.label + ', ' if text.label else ''}{text.text[:40]!r} ends at {text.end_s:.3f} s, "
            f"the recording at {seconds:.3f} s",
        )
        for text in late[:_MAX_NAMED]
    ]
    if len(late) > _MAX_NAMED:
        reason = f"{len(late) - _MAX_NAMED} more lie past the recording's end at {seconds:.3f} s"
        issues.append(Issue("skipped", late[0].path, None, reason))
    return sorted(kept, key=lambda text: (text.start_s, text.end_s)), issues


def make_track(
    speaker_id: str,
    audio: Path,
    utterances: Sequence[TimedText],
    words: Sequence[TimedText] = (),
    part: Part = WHOLE,
    origin: Path | None = None,
) -> tuple[Track | None, list[Issue]]:
    """Make the track of one speaker.

    Args:
        speaker_id: The speaker.
        audio: The recording.
        utterances: The speech; empty if it was not transcribed.
        words: The words of the speech with their times, if known; sorted by start.
        part: The part of the recording that belongs to the speaker.
        origin: The file to name as the source of the transcript, if it is not that of the utterances.

    Returns:
        The track, or None if there are utterances and none of them can be used, because the speaker is not silent; and
        the issues.
    """
    if not utterances:
        return Track(speaker_id, audio, None, (), None, part), []
    path = utterances[0].path
    usable: list[Utterance] = []
    issues: list[Issue] = []
    for text in utterances:
        try:
            usable.append(_utterance(text))
        except ValueError as error:
            issues.append(Issue("skipped", path, text.line, f"{text.label + ': ' if text.label else ''}{error}"))
    if not usable:
        reason = f"none of the {counted(len(utterances), 'utterance')} of {speaker_id} can be used"
        return None, [*issues, Issue("skipped", path, None, f"{reason}; the track is left out")]
    in_order, overlaps = resolve_overlaps(usable, path)
    timed = tuple(
        TimedWord(
            word.text.strip(),
            seconds_to_samples(word.start_s, HEARD_HZ),
            seconds_to_samples(word.end_s, HEARD_HZ),
            "given" if word.given else "interpolated",
        )
        for word in words
    )
    track = Track(speaker_id, audio, path, in_order, timed or None, part, None if origin == path else origin)
    return track, issues + overlaps


def file_safe_name(text: str) -> str:
    """Return a session's or speaker's name that a file can have: letters, digits and `_.+-`, shortened if long."""
    plain = re.sub(r"[^\w.+-]+", "-", text).strip("-.") or "unnamed"
    if len(plain.encode()) <= _MAX_NAME_BYTES:
        return plain
    digest = blake2b(text.encode(), digest_size=6).hexdigest()
    return f"{plain.encode()[: _MAX_NAME_BYTES - 13].decode(errors='ignore')}-{digest}"


def _end(words: Sequence[TimedText]) -> float:
    return max(words[0].start_s + _SHORTEST_S, *(word.end_s for word in words))


def _utterance(text: TimedText) -> Utterance:
    """Return an utterance in samples. Its times are rounded to microseconds first, as all earlier versions did."""
    if "\0" in text.text:
        raise ValueError(f"holds NUL bytes: {excerpt(text.text)}")
    first, last = f"{text.start_s:.6f}", f"{text.end_s:.6f}"
    start, end = seconds_to_samples(first, HEARD_HZ), seconds_to_samples(last, HEARD_HZ)
    if start >= end:
        raise ValueError(f"starts at {first}, which is not before its end at {last}")
    return Utterance(start, end, " ".join(text.text.split()), text.line, text.label)
