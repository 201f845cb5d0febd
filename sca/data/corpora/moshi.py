"""The layout of moshi-finetune: a JSONL of stereo recordings, and beside each recording its words.

    data.jsonl       {"path": "stereo/a.wav", "duration": 24.5}     one recording a line, paths relative to the file
    stereo/a.json    {"alignments": [["hello", [0.5, 0.8], "SPEAKER_MAIN"], ...]}

SPEAKER_MAIN is the left channel, the other speaker the right one. A channel without words, as moshi-finetune's own annotate.py
leaves the right one, is heard only: what it says is not known, and silence must not be learned from it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError

from sca.data.corpora.base import Skipped
from sca.data.corpora.json_lines import complaint, lines_in
from sca.data.corpora.staging import ForeignSession, Said, plain_name
from sca.data.corpora.stereo_pair import Side, pair_of, two_channels
from sca.errors import InputError

__all__ = ["MAIN", "read", "sides_of"]

MAIN = "SPEAKER_MAIN"
_SHAPE = 'expected lines of {"path": ..., "duration": ...}'
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Line(BaseModel):
    path: str = Field(min_length=1)
    duration: _Seconds | None = None


class _Sidecar(BaseModel):
    alignments: list[tuple[str, tuple[_Seconds, _Seconds], str]]


def read(source: Path) -> Iterator[ForeignSession | Skipped]:
    """The recordings of a list with their words; no sound is read. Raises `InputError` when the list cannot be."""
    for number, line in lines_in(source, _SHAPE):
        try:
            try:
                listed = _Line.model_validate_json(line)
            except ValidationError as error:
                raise ValueError(f"{complaint(error)}; {_SHAPE}") from error
            audio = source.parent / listed.path
            seconds = two_channels(audio)
            sidecar = audio.with_suffix(".json")
            name = plain_name(str(Path(listed.path).with_suffix("")))
            # Who speaks is not known beyond the recording, so nobody is taken for somebody of another one.
            sides = zip(sides_of(sidecar), ("main", "other"), strict=True)
            named = [side._replace(speaker=f"{name}.{who}") for side, who in sides]
            session, reports = pair_of(name, audio, seconds, sidecar, named, number)
        except (ValueError, InputError) as error:
            yield Skipped(source, number, str(error))
            continue
        yield from reports
        yield session


def sides_of(path: Path) -> tuple[Side, Side]:
    """The words of the left and the right channel in a sidecar. Raises `ValueError` with the first thing that is wrong with it."""
    try:
        sidecar = _Sidecar.model_validate(json.loads(path.read_bytes()))
    except FileNotFoundError as error:
        raise ValueError(f"there is no {path}, which has its words") from error
    except ValidationError as error:
        raise ValueError(f"{path}: {complaint(error)}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error})") from error
    names = {speaker for _, _, speaker in sidecar.alignments}
    if MAIN not in names or len(names) > 2:
        who = ", ".join(sorted(names)) or "nobody"
        raise ValueError(f"{path} has words of {who}; words of {MAIN} are needed, and of at most one other speaker")
    sides: tuple[list[Said], list[Said]] = ([], [])
    for number, (text, (start, end), speaker) in enumerate(sidecar.alignments, 1):
        if end < start:
            raise ValueError(f"{path}: entry {number} ends at {end:g}, before it starts at {start:g}")
        # A text of several words would be timed as one.
        if word := "".join(text.split()):
            sides[speaker != MAIN].append(Said(word, start, end, f"entry {number}, "))
    return Side(sides[0]), Side(sides[1])
