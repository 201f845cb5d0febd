"""Transcripts of stereo recordings: CTM (words), STM (utterances), SRT and WebVTT (utterances, a file a channel).

    CTM   a 1 0.50 0.30 hello 0.98                       file, channel, start, duration, word[, confidence]
    STM   a 1 nora 0.50 4.42 <o,f0> hello there          file, channel, speaker, start, end[, <labels>], text

Channels are 1 or A (left) and 2 or B (right). The file column is not looked at: a transcript lies beside its recording. Formats:
NIST sclite's manual, `infmts`; SRT and WebVTT cues as browsers read them.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sca.data.corpora.base import Skipped
from sca.data.corpora.staging import Said

__all__ = ["Spoken", "read_ctm", "read_cues", "read_stm"]

_CHANNELS = {"1": 0, "a": 0, "2": 1, "b": 1}
_NUMBER = re.compile(r"[0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9}")
_TIME = r"(?:([0-9]{1,4}):)?([0-9]{1,2}):([0-9]{2})[.,]([0-9]{1,3})"
_CUE = re.compile(rf"{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")
_MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|<[0-9:.]+>|\{\\[^{}]*\}")


class Spoken(NamedTuple):
    """A word or an utterance of a channel, 0 or 1. speaker: None where the format has no names."""

    channel: int
    said: Said
    speaker: str | None = None


def read_ctm(path: Path) -> Iterator[Spoken | Skipped]:
    """The words of a CTM file. Raises `ValueError` where it cannot be read."""
    for number, line in _lines(path):
        fields = line.split()
        try:
            if len(fields) < 5:
                raise ValueError(f"not 'file channel start duration word': {line[:40]!r}")
            start, duration = _seconds(fields[2]), _seconds(fields[3])
            # <eps>, <ALT_BEGIN> and the like are notes of the tool that wrote the file.
            if not (fields[4].startswith("<") and fields[4].endswith(">")):
                yield Spoken(_channel(fields[1]), Said(fields[4], start, start + duration, line=number))
        except ValueError as error:
            yield Skipped(path, number, str(error))


def read_stm(path: Path) -> Iterator[Spoken | Skipped]:
    """The utterances of an STM file. Raises `ValueError` where it cannot be read."""
    for number, line in _lines(path):
        fields = line.split(maxsplit=5)
        try:
            if len(fields) < 5:
                raise ValueError(f"not 'file channel speaker start end text': {line[:40]!r}")
            start, end = _seconds(fields[3]), _seconds(fields[4])
            text = re.sub(r"^<[^<>\s]*>\s*", "", fields[5]) if len(fields) > 5 else ""
            if end <= start:
                raise ValueError(f"starts at {start:g}, which is not before its end at {end:g}")
            if text and text.lower() != "ignore_time_segment_in_scoring":
                yield Spoken(_channel(fields[1]), Said(text, start, end, line=number), fields[2])
        except ValueError as error:
            yield Skipped(path, number, str(error))


def read_cues(path: Path, channel: int) -> Iterator[Spoken | Skipped]:
    """The cues of an SRT or WebVTT file, all of one channel. Raises `ValueError` where it cannot be read."""
    text: list[str] = []
    times: tuple[float, float, int] | None = None
    # A line more than there is, empty, ends the last cue.
    for number, line in [*_lines(path, all_of_them=True), (0, "")]:
        match = _CUE.fullmatch(line)
        if match is None and line:
            if "-->" in line:
                yield Skipped(path, number, f"not the times of a cue: {line[:40]!r}")
            elif times is not None:
                text.append(_MARKUP.sub("", line))
            continue
        # A cue ends with an empty line; some writers leave it out before the next one, whose number then ends the text.
        said = " ".join(" ".join(text[:-1] if match and text and text[-1].isdigit() else text).split())
        if times is not None and said:
            start, end, at = times
            if end <= start:
                yield Skipped(path, at, f"starts at {start:g}, which is not before its end at {end:g}")
            else:
                yield Spoken(channel, Said(said, start, end, line=at))
        text, times = [], None
        if match is not None:
            times = (_clock(match.groups()[:4]), _clock(match.groups()[4:]), number)


def _lines(path: Path, *, all_of_them: bool = False) -> list[tuple[int, str]]:
    """Lines without the spaces around them, with their numbers; comments and empty lines only where they are wanted."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error})") from error
    lines = ((number, line.strip()) for number, line in enumerate(text.split("\n"), 1))
    return [(number, line) for number, line in lines if all_of_them or (line and not line.startswith(";;"))]


def _channel(name: str) -> int:
    if name.lower() not in _CHANNELS:
        raise ValueError(f"channel {name!r} is none of 1, 2, A and B")
    return _CHANNELS[name.lower()]


def _seconds(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a number of seconds")
    return float(text)


def _clock(parts: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = parts
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0) + float(f"0.{fraction}")
