"""SRT and WebVTT: cues with the voice of a WebVTT cue as its speaker, read as browsers do."""

import re
from html import unescape
from pathlib import Path

from sca.data.corpora.segments.model import Parsed, Problem, Segment, checked, seconds_of
from sca.data.corpora.text.encoding import lines_of

__all__ = ["read_cues"]

_TIME = r"((?:[0-9]{1,4}:)?[0-9]{1,2}:[0-9]{2}[.,][0-9]{1,3})"
_CUE = re.compile(rf"{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")
_MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|<[0-9:.]+>|\{\\[^{}]*\}")
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?\s+([^<>]+)>")
# pyannote and whisperX write the speaker of an SRT cue as a prefix.
_PREFIX = re.compile(r"\[?(SPEAKER_[0-9]+)\]?:\s*")


def read_cues(path: Path) -> Parsed:
    """Read the cues of an SRT or WebVTT file.

    Raises:
        ValueError: The file cannot be read.
    """
    lines: list[str] = []
    times: tuple[str, str, int] | None = None
    is_escaped = path.suffix.lower() == ".vtt"
    # The empty line after the last one ends the last cue.
    for number, line in [*((number, line.strip()) for number, line in lines_of(path)), (0, "")]:
        match = _CUE.fullmatch(line)
        if match is None and line:
            if "-->" in line:
                yield Problem(number, f"not the times of a cue: {line[:40]!r}")
            elif times is not None:
                lines.append(line)
            continue
        if times is not None:
            # Some writers omit the empty line that ends a cue; the number of the next cue then ends the text.
            text = " ".join(lines[:-1] if match and lines and lines[-1].isdigit() else lines)
            yield from _voices(times, text, is_escaped=is_escaped)
        lines, times = [], None
        if match is not None:
            times = (match[1], match[2], number)


def _voices(times: tuple[str, str, int], marked: str, *, is_escaped: bool) -> Parsed:
    """Return a segment for each voice of a cue; a cue without voices is one segment. WebVTT writes `&` as `&amp;`."""
    start, end, line = seconds_of(times[0]), seconds_of(times[1]), times[2]
    before, *voices = _VOICE.split(marked)
    spoken = [(None, before), *zip(voices[::2], voices[1::2], strict=True)]
    for name, text in spoken:
        plain = _MARKUP.sub("", text)
        plain = " ".join((unescape(plain) if is_escaped else plain).split())
        speaker = unescape(name) if name and is_escaped else name
        if prefix := _PREFIX.match(plain):
            speaker, plain = prefix[1], plain[prefix.end() :]
        if plain:
            yield checked(Segment(start, end, plain, speaker.strip() if speaker else None, line=line))
