"""Transcripts of stereo recordings by channel: CTM (words) and STM (utterances).

    CTM   a 1 0.50 0.30 hello 0.98                       file, channel, start, duration, word[, confidence]
    STM   a 1 nora 0.50 4.42 <o,f0> hello there          file, channel, speaker, start, end[, <labels>], text

Channels are 1 or A (left) and 2 or B (right); in a file with a channel 0, as lhotse's `write_alignment_to_ctm` writes
it, 0 is left and 1 is right. The file column is not used, because a transcript lies beside its recording. Formats: NIST
sclite's manual, `infmts`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from sca.data.corpora.base import Issue, encoding_note
from sca.data.corpora.text.encoding import read_text
from sca.data.corpora.timed_text import TimedText

__all__ = ["ChannelText", "read_ctm", "read_stm"]

_FROM_ONE: Mapping[str, int] = {"1": 0, "a": 0, "2": 1, "b": 1}
_FROM_ZERO: Mapping[str, int] = {"0": 0, "a": 0, "1": 1, "b": 1}
_NUMBER = re.compile(r"[0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9}")


class ChannelText(NamedTuple):
    """A word or an utterance of a channel, 0 or 1, and its speaker if the format has names."""

    channel: int
    text: TimedText
    speaker: str | None = None


def read_ctm(path: Path) -> Iterator[ChannelText | Issue]:
    """Read the words of a CTM file.

    Raises:
        ValueError: The file cannot be read.
    """
    lines, notes = _lines(path)
    yield from notes
    channels = _channels(line for _, line in lines)
    for number, line in lines:
        fields = line.split()
        try:
            if len(fields) < 5:
                raise ValueError(f"not 'file channel start duration word': {line[:40]!r}")
            start, duration = _seconds(fields[2]), _seconds(fields[3])
            # <eps>, <ALT_BEGIN> and the like are notes of the tool that wrote the file.
            if not (fields[4].startswith("<") and fields[4].endswith(">")):
                text = TimedText(fields[4], start, start + duration, path, number)
                yield ChannelText(_channel(fields[1], channels), text)
        except ValueError as error:
            yield Issue("skipped", path, number, str(error))


def read_stm(path: Path) -> Iterator[ChannelText | Issue]:
    """Read the utterances of an STM file.

    Raises:
        ValueError: The file cannot be read.
    """
    lines, notes = _lines(path)
    yield from notes
    channels = _channels(line for _, line in lines)
    for number, line in lines:
        fields = line.split(maxsplit=5)
        try:
            if len(fields) < 5:
                raise ValueError(f"not 'file channel speaker start end text': {line[:40]!r}")
            start, end = _seconds(fields[3]), _seconds(fields[4])
            text = re.sub(r"^<[^<>\s]*>\s*", "", fields[5]) if len(fields) > 5 else ""
            if end <= start:
                raise ValueError(f"starts at {start:g}, which is not before its end at {end:g}")
            if text and text.lower() != "ignore_time_segment_in_scoring":
                yield ChannelText(_channel(fields[1], channels), TimedText(text, start, end, path, number), fields[2])
        except ValueError as error:
            yield Issue("skipped", path, number, str(error))


def _lines(path: Path) -> tuple[list[tuple[int, str]], list[Issue]]:
    """Return the stripped lines without comments and empty ones, and a note if the encoding is not UTF-8."""
    text, encoding = read_text(path)
    lines = ((number, line.strip()) for number, line in enumerate(text.split("\n"), 1))
    kept = [(number, line) for number, line in lines if line and not line.startswith(";;")]
    return kept, [encoding_note(path, encoding)] if encoding else []


def _channels(lines: Iterable[str]) -> Mapping[str, int]:
    """Return the channels by their names in a file: they count from 1, or from 0 if there is a channel 0.

    Raises:
        ValueError: There are channels 0 and 2, so that the numbers do not say which one is the left channel.
    """
    names = {fields[1] for line in lines if len(fields := line.split(maxsplit=2)) > 1}
    if {"0", "2"} <= names:
        raise ValueError("has channels 0 and 2; channels are 0 and 1, or 1 and 2")
    return _FROM_ZERO if "0" in names else _FROM_ONE


def _channel(name: str, channels: Mapping[str, int]) -> int:
    if name.lower() not in channels:
        raise ValueError(f"channel {name!r} is not one of 1, 2, A and B")
    return channels[name.lower()]


def _seconds(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a number of seconds")
    return float(text)
