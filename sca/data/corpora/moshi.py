"""Reader of moshi-finetune data: a JSONL of stereo recordings, and the words of each beside it.

    data.jsonl       {"path": "stereo/a.wav", "duration": 24.5}     one recording per line, paths relative to the file
    stereo/a.json    {"alignments": [["hello", [0.5, 0.8], "SPEAKER_MAIN"], ...]}

SPEAKER_MAIN is the left channel, the other speaker the right one. A channel without words, such as the right one in the
output of moshi-finetune's annotate.py, is input audio only: its words are unknown, and a model must not learn silence
from it. A word without times is placed between the words before and after it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, ValidationError
from typing_extensions import override

from sca.audio.coded.reading import Reading
from sca.data.corpora.base import BuiltinReader, Conversation, Issue, unexpected_fails_item
from sca.data.corpora.dialogue import by_channel, in_seconds, kept, pair_of, recordings_of, side_of
from sca.data.corpora.segments.recogniser_json import read_json
from sca.data.corpora.timed_text import file_safe_name
from sca.data.runs.json_lines import first_objects, lines_in, validation_message
from sca.errors import InputError

__all__ = ["MoshiReader"]

_ADVICE = "transcribe the recording, with annotate.py of moshi-finetune or another recogniser, or take the line out"
_SHAPE = 'expected lines of {"path": ..., "duration": ...}'
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Line(BaseModel):
    path: str = Field(min_length=1)
    duration: _Seconds | None = None


class MoshiReader(BuiltinReader):
    """The `CorpusReader` of this layout."""

    @override
    def matches(self, source: Path) -> bool:
        return any("path" in line for line in first_objects(source))

    @override
    def read(self, source: Path) -> Iterator[Conversation | Issue]:
        for number, line in lines_in(source, _SHAPE):
            try:
                with unexpected_fails_item():
                    conversation, issues = _conversation(source, number, line, self.reading)
            except (ValueError, InputError) as error:
                yield Issue("skipped", source, number, str(error))
                continue
            yield from issues
            yield conversation


def _conversation(source: Path, number: int, line: bytes, reading: Reading) -> tuple[Conversation, list[Issue]]:
    try:
        listed = _Line.model_validate_json(line)
    except ValidationError as error:
        raise ValueError(f"{validation_message(error)}; {_SHAPE}") from error
    audio = source.parent / listed.path
    channels = recordings_of([audio], reading)
    sidecar = audio.with_suffix(".json")
    if not sidecar.exists():
        failed = audio.with_suffix(".json.err")
        why = f", and {failed.name} shows that annotate.py failed" if failed.exists() else ""
        raise ValueError(f"{sidecar}, which should have its words, does not exist{why}; {_ADVICE}")
    issues: list[Issue] = []
    entries = in_seconds(kept(sidecar, read_json(sidecar), issues), channels, issues)
    if not entries:
        why = f": {issues[0].reason}" if issues else ""
        raise ValueError(f"{sidecar} has no words{why}")
    name = file_safe_name(str(Path(listed.path).with_suffix("")))
    # The format does not identify speakers across recordings, so their names include that of the recording.
    sides = zip(by_channel(entries, channels), ("main", "other"), strict=True)
    named = [side_of(name, side, None)._replace(speaker=f"{name}.{role}") for side, role in sides]
    conversation, late = pair_of(name, channels, sidecar, named, number)
    return conversation, issues + late
