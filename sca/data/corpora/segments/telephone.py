"""Transcripts of telephone corpora: Fisher, Switchboard (MS98) and CHAT, as LDC and TalkBank distribute them."""

import re
from pathlib import Path

from sca.data.corpora.segments.model import Parsed, Problem, Segment, Word, checked, seconds_of
from sca.data.corpora.text.encoding import lines_of

__all__ = ["is_fisher", "is_ms98", "read_chat", "read_fisher", "read_ms98"]

_FISHER = re.compile(r"([0-9.]+)\s+([0-9.]+)\s+([AB])[0-9]?:\s*(.*)")
_MS98 = re.compile(r"sw[0-9]+([AB])-ms98-a-[0-9]+\s+([0-9.]+)\s+([0-9.]+)\s+(.*)")
_TURN = re.compile(r"\*([^:\s]+):\s*(.*)", re.DOTALL)
_BULLET = re.compile("\x15([0-9]+)_([0-9]+)\x15")
_SILENCE = "[silence]"
# Annotations of CHAT that are not speech: [//], &=laughs, (0.5), +/., and the angle brackets of a scope.
_CODES = re.compile(r"\[[^\]]*\]|&=\S+|\([0-9.:]*\)|\+[/<^,!?\"]\S*|[<>‹›]")
_WORD_CODES = re.compile(r"@\S+|[()]|^&[-+~]")
# Unintelligible speech, speech given only in phonetic letters, and speech that is not transcribed. The CHAT manual,
# "Unidentifiable Material": https://talkbank.org/0info/manuals/CHAT.html
_UNKNOWN = re.compile(r"(?:xxx|yyy|www)[,;.?!]*")
_UNK = "<unk>"
_ENDS = {".": ".", "?": "?", "!": "!", "+...": "…"}


def is_fisher(path: Path) -> bool:
    """Return whether a text file has lines of a Fisher transcript."""
    return any(_FISHER.fullmatch(line) for _, line in lines_of(path)[:50])


def is_ms98(path: Path) -> bool:
    """Return whether a text file has lines of an MS98 transcript."""
    return any(_MS98.fullmatch(line) for _, line in lines_of(path)[:50])


def read_fisher(path: Path) -> Parsed:
    """Read a Fisher transcript: `0.50 4.42 A: text`. A is the left channel.

    Raises:
        ValueError: The file cannot be read.
    """
    for number, line in lines_of(path):
        if not line or line.startswith("#"):
            continue
        match = _FISHER.fullmatch(line)
        if match is None:
            yield Problem(number, f"not 'start end A: text': {line[:40]!r}")
        elif match[4].strip():
            yield _channel_segment(match[1], match[2], match[3], match[4], number)


def read_ms98(path: Path) -> Parsed:
    """Read an MS98 transcript: `sw2001A-ms98-a-0001 0.50 4.42 text`; `-word` files have words. A is the left channel.

    Raises:
        ValueError: The file cannot be read.
    """
    for number, line in lines_of(path):
        match = _MS98.fullmatch(line)
        if match is None:
            if line:
                yield Problem(number, f"not 'sw2001A-ms98-a-0001 start end text': {line[:40]!r}")
        elif match[4].strip() not in ("", _SILENCE):
            found = _channel_segment(match[2], match[3], match[1], match[4], number)
            if path.stem.endswith("-word") and isinstance(found, Segment):
                word = Word(found.text, found.start_s, found.end_s)
                found = found._replace(text="", words=(word,))
            yield found


def _channel_segment(start: str, end: str, side: str, text: str, line: int) -> Segment | Problem:
    try:
        return checked(Segment(seconds_of(start), seconds_of(end), text.strip(), side, "AB".index(side), line=line))
    except ValueError as error:
        return Problem(line, str(error))


def read_chat(path: Path) -> Parsed:
    """Read a CHAT transcript: turns with times in milliseconds, without the annotations of the words.

    Its marks of speech that is not known become `<unk>`.

    Raises:
        ValueError: The file cannot be read.
    """
    turns: list[tuple[int, str]] = []
    for number, line in lines_of(path):
        if line.startswith("\t") and turns:
            turns[-1] = turns[-1][0], f"{turns[-1][1]} {line.strip()}"
        else:
            turns.append((number, line))
    for number, turn in turns:
        match = _TURN.fullmatch(turn)
        if match is None:
            continue
        times = list(_BULLET.finditer(match[2]))
        text = _chat_text(_BULLET.sub(" ", match[2]))
        if not times:
            yield Problem(number, f"{match[1]} has no times")
        elif text:
            yield checked(Segment(int(times[0][1]) / 1000, int(times[-1][2]) / 1000, text, match[1], line=number))


def _chat_text(marked: str) -> str:
    words = _CODES.sub(" ", marked).split()
    last = _ENDS.get(words.pop(), "") if words and words[-1] in _ENDS else ""
    plain = [_WORD_CODES.sub("", word) for word in words if word not in ("0", "‡", "„")]
    known = [_UNK if _UNKNOWN.fullmatch(word) else word.replace("_", " ") for word in plain if word]
    text = " ".join(known)
    return text if set(known) <= {_UNK} or text[-1] in ".?!…" else text + last
