"""Scripts of conversations: turns of two speakers, as JSON lines, and the ones that ship with sca.

    {"speaker": "ann", "text": "So what happened then?"}
    {"speaker": "ben", "text": "mm hmm", "backchannel": true}

A line is one turn in the order in which turns begin. Two turns of one speaker in a row are a hold: the speaker pauses
and goes on.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sca.errors import InputError, UsageError, is_of_system, unknown_name
from sca.files.bounded import read_whole

__all__ = [
    "Kind",
    "Script",
    "ScriptTurn",
    "Style",
    "find_script",
    "parse_script",
    "read_script",
    "shipped_names",
    "shipped_script",
]

_MAX_BYTES = 8_000_000
_SHIPPED = files("sca.synth") / "scripts"
_FIELDS = "speaker, text, backchannel, interrupts, overlap, language, style"

Style = Literal["normal", "soft", "loud"]


class Kind(StrEnum):
    """What a turn does in the conversation."""

    turn = "turn"
    hold = "hold"
    backchannel = "backchannel"
    interruption = "interruption"


@dataclass(frozen=True, slots=True)
class ScriptTurn:
    """One turn of a script.

    Attributes:
        speaker: 0 or 1, the index in `Script.speakers`.
        text: The text that is spoken.
        kind: What the turn does: take the turn, hold it, answer during the turn of the other, or interrupt it.
        overlap_s: Seconds by which it begins before the turn before it ends; 0 draws them; None does not ask for one.
        language: The language, if it is not that of the voice.
        style: How loud it is.
        line: The line of the script, from 1; 0 for a turn that is not in the script.
    """

    speaker: int
    text: str
    kind: Kind = Kind.turn
    overlap_s: float | None = None
    language: str | None = None
    style: Style = "normal"
    line: int = 0


@dataclass(frozen=True, slots=True)
class Script:
    """A conversation before it is spoken.

    Attributes:
        name: The name, which can be part of the name of a file.
        speakers: The names of the two speakers, in the order of their first turns.
        turns: The turns, in the order in which they begin.
        sha256: The SHA-256 of the text of the script.
    """

    name: str
    speakers: tuple[str, str]
    turns: tuple[ScriptTurn, ...]
    sha256: str


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    speaker: str = Field(min_length=1, max_length=100)
    text: str = Field(max_length=5000)
    backchannel: bool = False
    interrupts: bool = False
    overlap: bool | float = Field(False, ge=0, le=10)
    language: str | None = Field(None, min_length=1, max_length=40)
    style: Style = "normal"


def shipped_names() -> list[str]:
    """Return the names of the scripts that ship with sca, sorted."""
    return sorted(file.name.removesuffix(".jsonl") for file in _SHIPPED.iterdir() if file.name.endswith(".jsonl"))


def shipped_script(name: str) -> Script:
    """Return a script that ships with sca.

    Raises:
        UsageError: No script has that name.
    """
    if name not in shipped_names():
        raise unknown_name(f"no script named {name} ships with sca", name, shipped_names())
    return parse_script((_SHIPPED / f"{name}.jsonl").read_text(encoding="utf-8"), name, Path(f"{name}.jsonl"))


def find_script(name: str | PathLike[str]) -> Script:
    """Return a script that ships with sca, by its name, or read the file of that name.

    Raises:
        UsageError: There is neither.
        InputError: The file is not a script of two speakers.
    """
    if str(name) in shipped_names() and not Path(name).exists():
        return shipped_script(str(name))
    if not Path(name).exists():
        raise UsageError(f"script {name} does not exist", hint=f"a file, or one of {', '.join(shipped_names())}")
    return read_script(Path(name))


def read_script(path: Path) -> Script:
    """Read a script.

    Raises:
        InputError: The file cannot be read or is not a script of two speakers; the message has the line.
        OSError: The system cannot read the file now, see `is_of_system`.
    """
    try:
        raw = read_whole(path, _MAX_BYTES)
    except OSError as error:
        if is_of_system(error):
            raise  # other scripts without this one would be another corpus
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        return parse_script(raw.decode("utf-8-sig"), path.stem, path)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start})") from error


def parse_script(text: str, name: str, path: Path) -> Script:
    """Read a script from its text.

    Args:
        text: JSON lines; empty lines are ignored.
        name: The name of the script.
        path: The file that messages name.

    Raises:
        InputError: It is not a script of two speakers; the message has the line.
    """
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    turns = [(number, _parsed(line, f"{path}:{number}")) for number, line in lines]
    speakers = list(dict.fromkeys(turn.speaker for _, turn in turns))
    if len(speakers) != 2:
        where = next((number for number, turn in turns if turn.speaker in speakers[2:]), 0)
        found = f"line {where} has a third speaker, {speakers[2]}" if where else f"it has {len(speakers)}"
        raise InputError(f"{path}: a script has two speakers; {found}")
    if turns[0][1].backchannel or turns[0][1].interrupts:
        raise InputError(f"{path}:{turns[0][0]}: the first turn has nothing to interrupt or to answer")
    return Script(
        "".join(letter if letter.isalnum() or letter in "-." else "-" for letter in name),
        (speakers[0], speakers[1]),
        tuple(_turns(turns, speakers, path)),
        sha256(text.encode()).hexdigest(),
    )


def _parsed(line: str, where: str) -> _Line:
    try:
        turn = _Line.model_validate(json.loads(line))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][:1])
        raise InputError(f"{where}: {name or 'the line'}: {first['msg']}", hint=f"a turn has {_FIELDS}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON ({error})", hint='expected {"speaker": "ann", "text": "hello"}') from error
    if not any(letter.isalnum() for letter in turn.text):
        found = f"only {turn.text.strip()[:20]}" if turn.text.strip() else "empty"
        raise InputError(f"{where}: the text has no word to speak: it is {found}", hint="take the line out")
    if turn.backchannel and (turn.interrupts or turn.overlap):
        raise InputError(f"{where}: a backchannel does not take the turn, so it cannot have interrupts or overlap")
    return turn


def _turns(lines: Iterable[tuple[int, _Line]], speakers: list[str], path: Path) -> Iterable[ScriptTurn]:
    """Yield the turns with their kinds; `floor` is the speaker whose turn it is."""
    floor: int | None = None
    for number, line in lines:
        speaker = speakers.index(line.speaker)
        kind = Kind.backchannel if line.backchannel else Kind.interruption if line.interrupts else Kind.turn
        if speaker == floor:
            if kind is not Kind.turn or line.overlap:
                raise InputError(f"{path}:{number}: {line.speaker} has the turn already, and cannot overlap it")
            kind = Kind.hold
        if kind is not Kind.backchannel:
            floor = speaker
        overlap = line.overlap if line.overlap is not True else 0.0
        overlap_s = None if overlap is False else float(overlap)
        yield ScriptTurn(speaker, " ".join(line.text.split()), kind, overlap_s, line.language, line.style, number)
