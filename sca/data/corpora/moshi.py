"""The layout of moshi-finetune: a JSONL of stereo recordings, and beside each recording its words.

    data.jsonl       {"path": "stereo/a.wav", "duration": 24.5}     one recording a line, paths relative to the file
    stereo/a.json    {"alignments": [["hello", [0.5, 0.8], "SPEAKER_MAIN"], ...]}

SPEAKER_MAIN is the left channel, the other speaker the right one. Both have to have words: what a channel without words says is not
known, and silence must not be learned from it.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import BaseModel, Field, ValidationError

from sca.audio.decode import probe
from sca.data.corpora.conversation import Skipped
from sca.data.corpora.stage import SecondsWord, StereoSession
from sca.errors import InputError

__all__ = ["MAIN", "Found", "scan"]

MAIN = "SPEAKER_MAIN"
_SHAPE = 'expected lines of {"path": ..., "duration": ...}'
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Line(BaseModel):
    path: str = Field(min_length=1)
    duration: _Seconds | None = None


class _Sidecar(BaseModel):
    alignments: list[tuple[str, tuple[_Seconds, _Seconds], str]]


class Found(NamedTuple):
    """The recordings of a corpus that can be used, sorted, and what cannot."""

    sessions: tuple[StereoSession, ...]
    skipped: tuple[Skipped, ...]


def scan(source: Path) -> Found:
    """Read the list and the words of every recording, no sound. Raises `InputError` when the list cannot be read."""
    sessions: dict[str, StereoSession] = {}
    skipped: list[Skipped] = []
    for number, line in _list(source):
        try:
            session = _session(source, line)
            if session.session_id in sessions:
                raise ValueError(f"{session.audio.name} is in the list already, or named like one that is")
            sessions[session.session_id] = session
        except (ValueError, InputError) as error:
            skipped.append(Skipped(source, number, str(error)))
    return Found(tuple(sessions[name] for name in sorted(sessions)), tuple(skipped))


def _list(source: Path) -> Iterator[tuple[int, str]]:
    try:
        text = source.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{source} cannot be read ({error})", hint=_SHAPE) from error
    return ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())


def _session(source: Path, line: str) -> StereoSession:
    """One recording of the list. Raises `ValueError` or `InputError` with what is wrong with it."""
    try:
        listed = _Line.model_validate_json(line)
    except ValidationError as error:
        raise ValueError(f"{_first(error)}; {_SHAPE}") from error
    audio = source.parent / listed.path
    info = probe(audio)
    if info.channels != 2:
        raise ValueError(f"{audio} has {info.channels} channel(s); two are needed, a speaker each")
    words = _words(audio.with_suffix(".json"))
    name = re.sub(r"[^\w.+-]+", "-", str(Path(listed.path).with_suffix(""))).strip("-.")
    # Who speaks is not known beyond the recording, so nobody is taken for somebody of another one.
    speakers = (f"{name}.main", f"{name}.other")
    return StereoSession(name, audio, speakers, words)


def _words(path: Path) -> tuple[tuple[SecondsWord, ...], tuple[SecondsWord, ...]]:
    """The words of the left and the right channel, sorted by start."""
    try:
        sidecar = _Sidecar.model_validate(json.loads(path.read_bytes()))
    except FileNotFoundError as error:
        raise ValueError(f"there is no {path}, which has its words") from error
    except ValidationError as error:
        raise ValueError(f"{path}: {_first(error)}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error})") from error
    names = {speaker for _, _, speaker in sidecar.alignments}
    if MAIN not in names or len(names) != 2:
        who = ", ".join(sorted(names)) or "nobody"
        raise ValueError(f"{path} has words of {who}; words of {MAIN} and of one other speaker are needed")
    sides: tuple[list[SecondsWord], list[SecondsWord]] = ([], [])
    for number, (text, (start, end), speaker) in enumerate(sidecar.alignments, 1):
        if end < start:
            raise ValueError(f"{path}: entry {number} ends at {end:g}, before it starts at {start:g}")
        # A text of several words would be timed as one.
        if word := "".join(text.split()):
            sides[speaker != MAIN].append(SecondsWord(word, start, end))
    left, right = (tuple(sorted(side, key=lambda word: (word.start, word.end))) for side in sides)
    return left, right


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = ".".join(str(piece) for piece in first["loc"])
    return f"{where + ': ' if where else ''}{first['msg'][:1].lower()}{first['msg'][1:]}"
