"""Transcripts of stereo recordings by channel: CTM (words) and STM (utterances).

    CTM   a 1 0.50 0.30 hello 0.98                       file, channel, start, duration, word[, confidence]
    STM   a 1 nora 0.50 4.42 <o,f0> hello there          file, channel, speaker, start, end[, <labels>], text

Channels are 1 or A (left) and 2 or B (right); in a file with a channel 0, as lhotse's `write_alignment_to_ctm` writes
it, 0 is left and 1 is right. The file column is not used, because a transcript lies beside its recording. Formats: NIST
sclite's manual, `infmts`.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from sca.data.corpora.segments.model import Parsed, Problem, Segment, Word, checked
from sca.data.corpora.text.encoding import lines_of

__all__ = ["read_ctm", "read_stm"]

_FROM_ONE: Mapping[str, int] = {"1": 0, "a": 0, "2": 1, "b": 1}
_FROM_ZERO: Mapping[str, int] = {"0": 0, "a": 0, "1": 1, "b": 1}
_NUMBER = re.compile(r"[0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9}")
_LABELS = re.compile(r"^<[^<>\s]*>\s*")


def read_ctm(path: Path) -> Parsed:
    """Read the words of a CTM file.

    Raises:
        ValueError: The file cannot be read.
    """
    lines = _lines(path)
    channels = _channels(line for _, line in lines)
    for number, line in lines:
        fields = line.split()
        try:
            if len(fields) < 5:
                raise ValueError(f"not 'file channel start duration word': {line[:40]!r}")
            start, duration = _seconds(fields[2]), _seconds(fields[3])
            # <eps>, <ALT_BEGIN> and the like are notes of the tool that wrote the file.
            if not (fields[4].startswith("<") and fields[4].endswith(">")):
                words = (Word(fields[4], start, start + duration),)
                yield Segment(start, start + duration, "", None, _channel(fields[1], channels), words, number)
        except ValueError as error:
            yield Problem(number, str(error))


def read_stm(path: Path) -> Parsed:
    """Read the utterances of an STM file.

    Raises:
        ValueError: The file cannot be read.
    """
    lines = _lines(path)
    channels = _channels(line for _, line in lines)
    for number, line in lines:
        fields = line.split(maxsplit=5)
        try:
            if len(fields) < 5:
                raise ValueError(f"not 'file channel speaker start end text': {line[:40]!r}")
            start, end, channel = _seconds(fields[3]), _seconds(fields[4]), _channel(fields[1], channels)
            text = _LABELS.sub("", fields[5]) if len(fields) > 5 else ""
            if text.lower() != "ignore_time_segment_in_scoring" and (text or end <= start):
                yield checked(Segment(start, end, text, fields[2], channel, line=number))
        except ValueError as error:
            yield Problem(number, str(error))


def _lines(path: Path) -> list[tuple[int, str]]:
    """Return the stripped lines without comments and empty ones."""
    lines = ((number, line.strip()) for number, line in lines_of(path))
    return [(number, line) for number, line in lines if line and not line.startswith(";;")]


def _channels(lines: Iterable[str]) -> Mapping[str, int]:
    """Return the channels by their names in a file: they count from 1, or from 0 if there is a channel 0.

    Raises:
        ValueError: There are channels 0 and 2, so the numbers do not identify the left channel.
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
