"""What a transcription writes and later steps read: one JSON line a show, with its timeline of events and its words.

Written strictly, read generously: a line needs `video_id` and `timeline`, the rest may be missing (older files) and fields
of other versions are passed over. A line that cannot be read is reported by number and reason; the others are still read.
Times are seconds from the start of the show.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sca.errors import InputError

__all__ = [
    "AudienceEvent",
    "BrokenLine",
    "ComedianEvent",
    "EnvironmentEvent",
    "Event",
    "ReactionType",
    "Show",
    "SpokenWord",
    "read_shows",
]

ReactionType = Literal["laughter", "applause", "cheer", "heckle", "crowd_answer", "booing", "groan", "gasp", "other"]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Span(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    start: Seconds
    end: Seconds

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"end {self.end:g} is before start {self.start:g}")
        return self


class SpokenWord(_Span):
    """One word as the recogniser heard it, without the space before it."""

    word: str
    probability: Annotated[float, Field(ge=0, le=1)] | None = None


class ComedianEvent(_Span):
    """What the person on stage says or does."""

    role: Literal["comedian"] = "comedian"
    content: str
    event_type: str = "speech"
    delivery_tag: str | None = None


class AudienceEvent(_Span):
    """How the audience reacts."""

    role: Literal["audience"] = "audience"
    content: str
    reaction_type: ReactionType = "other"


class EnvironmentEvent(_Span):
    """Any other sound: music, a noise, a door."""

    role: Literal["environment"] = "environment"
    content: str
    sound_category: str | None = None


Event = Annotated[ComedianEvent | AudienceEvent | EnvironmentEvent, Field(discriminator="role")]


class Show(BaseModel):
    """One line of the file. `timeline` is sorted by start however it was given; None is "an older file did not say"."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    video_id: str = Field(min_length=1)
    timeline: tuple[Event, ...]
    words: tuple[SpokenWord, ...] = ()
    language: str | None = None
    duration_s: Seconds | None = None
    model: str | None = None
    source: str | None = Field(None, description="file name of the audio")
    sha256: str | None = Field(None, description="of the audio file's bytes")
    reactions: str | None = Field(None, description="which detector heard the audience")
    guards: dict[str, int] = Field(default_factory=dict, description="how often each guard acted")

    @model_validator(mode="before")
    @classmethod
    def _sorted(cls, plain: Any) -> Any:
        timeline = plain.get("timeline") if isinstance(plain, dict) else None
        if not isinstance(timeline, list | tuple):
            return plain
        try:
            ordered = sorted(timeline, key=_start)
        except TypeError:  # a start that is no number: the field's own check says which
            return plain
        return {**plain, "timeline": ordered}


@dataclass(frozen=True, slots=True)
class BrokenLine:
    """A line that could not be read: its number, counted from 1, and why."""

    number: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.reason}"


def read_shows(path: Path) -> Iterator[tuple[int, Show | BrokenLine]]:
    """Each line that is not empty, with its number from 1. Raises `InputError` when the file itself cannot be read."""
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield number, _read(number, line)
    except OSError as error:
        raise InputError(
            f"cannot read {path} ({error.strerror})", hint="give a file that sca transcribe wrote"
        ) from error


def _read(number: int, line: bytes) -> Show | BrokenLine:
    try:
        plain = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        return BrokenLine(number, f"not JSON ({error})")
    if not isinstance(plain, dict):
        return BrokenLine(number, f"a {type(plain).__name__}, not an object with `video_id` and `timeline`")
    try:
        return Show.model_validate(_older(plain))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(piece) for piece in first["loc"])
        return BrokenLine(number, f"{where or 'line'}: {first['msg'][:1].lower()}{first['msg'][1:]}")


_KINDS: dict[str, type[BaseModel]] = {
    "comedian": ComedianEvent,
    "audience": AudienceEvent,
    "environment": EnvironmentEvent,
}


def _older(plain: dict[str, Any]) -> dict[str, Any]:
    """A line with only the fields of this version; null stands for a field that is missing."""
    known = _known(plain, Show)
    if isinstance(known.get("timeline"), list):
        known["timeline"] = [_older_event(event) for event in known["timeline"]]
    if isinstance(known.get("words"), list):
        known["words"] = [_known(word, SpokenWord) if isinstance(word, dict) else word for word in known["words"]]
    return known


def _older_event(event: Any) -> Any:
    kind = _KINDS.get(str(event.get("role"))) if isinstance(event, dict) else None
    if kind is None:
        return event
    known = _known(event, kind)
    if kind is AudienceEvent and known.get("reaction_type", "other") not in get_args(ReactionType):
        known["reaction_type"] = "other"
    return known


def _known(plain: dict[str, Any], kind: type[BaseModel]) -> dict[str, Any]:
    return {name: value for name, value in plain.items() if name in kind.model_fields and value is not None}


def _start(event: Any) -> Any:
    return event["start"] if isinstance(event, dict) and "start" in event else getattr(event, "start", 0.0)
