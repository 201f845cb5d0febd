"""Reader of moshi-finetune data: a JSONL of stereo recordings, and the words of each beside it.

    data.jsonl       {"path": "stereo/a.wav", "duration": 24.5}     one recording per line, paths relative to the file
    stereo/a.json    {"alignments": [["hello", [0.5, 0.8], "SPEAKER_MAIN"], ...]}

SPEAKER_MAIN is the left channel, the other speaker the right one. A channel without words, such as the right one in the
output of moshi-finetune's annotate.py, is input audio only: its words are unknown, and a model must not learn silence
from it. A word without times is placed between the words before and after it.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError
from typing_extensions import override

from sca.data.corpora.base import Conversation, CorpusReader, Issue
from sca.data.corpora.segments.by_sound import Channel, Loudness
from sca.data.corpora.stereo_pair import Recording, Side, pair_of, recordings_of
from sca.data.corpora.timed_text import UntimedText, file_safe_name, with_times
from sca.data.runs.json_lines import first_objects, lines_in, validation_message
from sca.errors import InputError

__all__ = ["MAIN", "MoshiReader", "sides_of"]

MAIN = "SPEAKER_MAIN"
_SHAPE = 'expected lines of {"path": ..., "duration": ...}'
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Line(BaseModel):
    path: str = Field(min_length=1)
    duration: _Seconds | None = None


class _Sidecar(BaseModel):
    alignments: list[tuple[str, tuple[_Seconds | None, _Seconds | None], str]]


class MoshiReader(CorpusReader):
    """The `CorpusReader` of this layout."""

    @override
    def matches(self, source: Path) -> bool:
        return any("path" in line for line in first_objects(source))

    @override
    def read(self, source: Path) -> Iterator[Conversation | Issue]:
        for number, line in lines_in(source, _SHAPE):
            try:
                conversation, issues = _conversation(source, number, line)
            except (ValueError, InputError) as error:
                yield Issue("skipped", source, number, str(error))
                continue
            yield from issues
            yield conversation


def _conversation(source: Path, number: int, line: bytes) -> tuple[Conversation, list[Issue]]:
    try:
        listed = _Line.model_validate_json(line)
    except ValidationError as error:
        raise ValueError(f"{validation_message(error)}; {_SHAPE}") from error
    audio = source.parent / listed.path
    channels = recordings_of([audio])
    sidecar = audio.with_suffix(".json")
    name = file_safe_name(str(Path(listed.path).with_suffix("")))
    # The format does not identify speakers across recordings, so their names include that of the recording.
    sides = zip(sides_of(sidecar, channels), ("main", "other"), strict=True)
    named = [side._replace(speaker=f"{name}.{role}") for side, role in sides]
    return pair_of(name, channels, sidecar, named, number)


def sides_of(path: Path, channels: Sequence[Recording]) -> tuple[Side, Side]:
    """Read the words of the left and the right channel from the JSON beside a recording.

    Args:
        path: The JSON.
        channels: The channels; where neither of two speakers is `MAIN`, their sound decides.

    Raises:
        ValueError: The file cannot be used; the message is the first reason.
    """
    try:
        sidecar = _Sidecar.model_validate(json.loads(path.read_bytes()))
    except FileNotFoundError as error:
        raise ValueError(f"{path}, which should have its words, does not exist") from error
    except ValidationError as error:
        raise ValueError(f"{path}: {validation_message(error)}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON ({error})") from error
    side_of = _sides_of_speakers(path, sidecar, channels)
    sides: tuple[list[UntimedText], list[UntimedText]] = ([], [])
    for number, (text, (start, end), speaker) in enumerate(sidecar.alignments, 1):
        if start is not None and end is not None and end < start:
            raise ValueError(f"{path}: entry {number} ends at {end:g}, before it starts at {start:g}")
        # A text of several words would be timed as one.
        if word := "".join(text.split()):
            sides[side_of[speaker]].append(UntimedText(word, start, end, path, label=f"entry {number}"))
    return Side(with_times(sides[0])), Side(with_times(sides[1]))


def _sides_of_speakers(path: Path, sidecar: _Sidecar, channels: Sequence[Recording]) -> dict[str, int]:
    """Return the channel of each speaker."""
    names = {speaker for _, _, speaker in sidecar.alignments}
    if MAIN in names and len(names) <= 2:
        return {name: int(name != MAIN) for name in names}
    found = ", ".join(sorted(names)) or "no speaker"
    reason = f"{path} has words of {found}; words of {MAIN} are needed, and of at most one other speaker"
    if len(names) != 2:
        raise ValueError(reason)
    spans: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _, (start, end), speaker in sidecar.alignments:
        if start is not None and end is not None:
            spans[speaker].append((start, end))
    try:
        return Loudness([Channel(recording.audio, recording.part.channel) for recording in channels]).channels_of(spans)
    except ValueError as error:
        raise ValueError(f"{reason}: {error}") from error
