"""What every transcript parser returns: segments of speech, and the problems of entries that cannot be used."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

__all__ = ["Dialogue", "Parsed", "Problem", "Segment", "Word", "checked", "seconds_of"]

_CLOCK = re.compile(r"(?:([0-9]{1,4}):)?([0-9]{1,4}):([0-9]{1,2}(?:[.,][0-9]{1,9})?)")
_NUMBER = re.compile(r"[0-9]{1,12}(?:[.,][0-9]{0,18})?|[.,][0-9]{1,18}")


class Word(NamedTuple):
    """A word with its times in seconds, and whether the file has them."""

    text: str
    start_s: float
    end_s: float
    given: bool = True


class Segment(NamedTuple):
    """A stretch of speech of one speaker.

    Attributes:
        start_s: Its start, in seconds from the start of the recording.
        end_s: Its end.
        text: The text; empty if the file has only words, which a pause then separates into utterances.
        speaker: The speaker as the file names it; None if it has no names.
        channel: The channel, from 0, if the file has channels.
        words: The words that have times.
        line: The line in the file, from 1; None if the file has no lines of its own.
        label: What the entry is called ("segment 3"), if not by its line.
    """

    start_s: float
    end_s: float
    text: str
    speaker: str | None = None
    channel: int | None = None
    words: tuple[Word, ...] = ()
    line: int | None = None
    label: str = ""


class Problem(NamedTuple):
    """An entry that was left out, or a note about one that is used: its line, from 1, and the reason."""

    line: int | None
    reason: str
    level: Literal["note", "skipped"] = "skipped"


Parsed: TypeAlias = Iterator[Segment | Problem]


class Dialogue(NamedTuple):
    """A recording, or one of each channel, and its segments.

    Attributes:
        name: The name of the conversation.
        audio: The recordings.
        origin: The file that has the texts.
        found: The segments and problems.
        speakers: The names of the speakers of two recordings, for segments that name none.
    """

    name: str
    audio: tuple[Path, ...]
    origin: Path
    found: Iterable[Segment | Problem]
    speakers: tuple[str, str] | None = None


def seconds_of(text: str) -> float:
    """Return a time, as seconds (`1.5`, `1,5`) or as a clock (`00:00:01.500`), in seconds.

    Raises:
        ValueError: It is neither.
    """
    plain = text.strip()
    if match := _CLOCK.fullmatch(plain):
        hours, minutes, seconds = match.groups()
        return int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds.replace(",", "."))
    if not _NUMBER.fullmatch(plain):
        raise ValueError(f"{plain[:40]!r} is not a time")
    return float(plain.replace(",", "."))


def checked(segment: Segment) -> Segment | Problem:
    """Return the segment, or the problem if it does not end after its start."""
    if segment.end_s > segment.start_s >= 0:
        return segment
    what = f"{segment.label}: " if segment.label else ""
    reason = f"{what}starts at {segment.start_s:g}, which is not before its end at {segment.end_s:g}"
    return Problem(segment.line, reason)
