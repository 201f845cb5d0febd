"""SRT and WebVTT: cues with the voice of a WebVTT cue as its speaker, read as browsers do.

`read_cues` returns the spoken text, `cues_of` the cues with their lines and markup, for captions with times inside.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path

from sca.data.corpora.segments.model import Parsed, Problem, Segment, checked, seconds_of
from sca.data.corpora.text.encoding import raw_lines_of

__all__ = ["Cue", "cues_of", "plain_text", "read_cues"]

_TIME = r"((?:[0-9]{1,4}:)?[0-9]{1,2}:[0-9]{2}[.,][0-9]{1,3})"
_CUE = re.compile(rf"{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")
_MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|<[0-9:.]+>|\{\\[^{}]*\}")
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?\s+([^<>]+)>")
# pyannote and whisperX write the speaker of an SRT cue as a prefix.
_PREFIX = re.compile(r"\[?(SPEAKER_[0-9]+)\]?:\s*")


@dataclass(frozen=True, slots=True)
class Cue:
    """A cue of an SRT or WebVTT file.

    Attributes:
        start_s: The start in seconds.
        end_s: The end in seconds.
        lines: Its lines with their markup.
        number: The number of the line with the times, counted from 1.
    """

    start_s: float
    end_s: float
    lines: tuple[str, ...]
    number: int


def read_cues(path: Path) -> Parsed:
    """Read the text of an SRT or WebVTT file.

    Raises:
        ValueError: The file cannot be read.
    """
    is_escaped = path.suffix.lower() == ".vtt"
    for cue in cues_of(path):
        if isinstance(cue, Problem):
            yield cue
        else:
            yield from _voices(cue, is_escaped=is_escaped)


def cues_of(path: Path) -> Iterator[Cue | Problem]:
    """Read the cues of an SRT or WebVTT file, and its lines with unreadable times.

    Raises:
        ValueError: The file cannot be read.
    """
    lines: list[str] = []
    times: tuple[str, str, int] | None = None
    is_strict = path.suffix.lower() == ".vtt"
    # The empty line after the last one ends the last cue.
    for number, raw in [*raw_lines_of(path), (0, "")]:
        line = raw.strip()
        match = _CUE.fullmatch(line)
        if is_strict and raw and not line:
            continue  # only an empty line ends a cue of WebVTT; YouTube writes lines of one space
        if match is None and line:
            if "-->" in line:
                yield Problem(number, f"not the times of a cue: {line[:40]!r}")
            elif times is not None:
                lines.append(line)
            continue
        if times is not None:
            # Some writers omit the empty line that ends a cue; the number of the next cue then ends the text.
            own = lines[:-1] if match and lines and lines[-1].isdigit() else lines
            yield Cue(seconds_of(times[0]), seconds_of(times[1]), tuple(own), times[2])
        lines, times = [], None
        if match is not None:
            times = (match[1], match[2], number)


def plain_text(marked: str, *, is_escaped: bool) -> str:
    """Return a text of a cue without its markup. WebVTT writes `&` as `&amp;`, SRT does not."""
    plain = _MARKUP.sub("", marked)
    return " ".join((unescape(plain) if is_escaped else plain).split())


def _voices(cue: Cue, *, is_escaped: bool) -> Parsed:
    """Return a segment for each voice of a cue; a cue without voices is one segment."""
    before, *voices = _VOICE.split(" ".join(cue.lines))
    spoken = [(None, before), *zip(voices[::2], voices[1::2], strict=True)]
    for name, text in spoken:
        plain = plain_text(text, is_escaped=is_escaped)
        speaker = unescape(name) if name and is_escaped else name
        if prefix := _PREFIX.match(plain):
            speaker, plain = prefix[1], plain[prefix.end() :]
        if plain:
            yield checked(Segment(cue.start_s, cue.end_s, plain, speaker.strip() if speaker else None, line=cue.number))
