"""The file of timelines that `sca transcribe` writes: one JSON line per show, with its events and its words.

Writing is strict. Reading accepts files of other versions: a line needs `video_id` and `timeline`, other fields may be
missing, and unknown fields are ignored. A line that cannot be parsed is returned as a `BrokenLine`; the other lines are
still read. Times are seconds from the start of the show.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from typing_extensions import override

from sca.display.blocks import block, summary_line, table
from sca.errors import InputError
from sca.files.bounded import MAX_LINE_BYTES, bounded_lines
from sca.textutil import counted

__all__ = [
    "AudienceEvent",
    "BrokenLine",
    "ComedianEvent",
    "EnvironmentEvent",
    "Event",
    "OtherSpeakerEvent",
    "ReactionType",
    "Show",
    "SpeakerTurn",
    "SpeechEvent",
    "SpokenWord",
    "is_unsure",
    "read_shows",
]

ReactionType = Literal["laughter", "applause", "cheer", "heckle", "crowd_answer", "booing", "groan", "gasp", "other"]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Probability = Annotated[float, Field(ge=0, le=1)]


class _Span(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    start: Seconds
    end: Seconds

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"end {self.end:g} is before start {self.start:g}")
        return self


class _OfSpeaker(_Span):
    """Speech of a speaker. Lines without diarization do not have the field `speaker`."""

    speaker: str | None = Field(None, description="the speaker, such as SPEAKER_00, who speaks most")

    @model_serializer(mode="wrap")
    def _without_unknown_speaker(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        fields: dict[str, object] = handler(self)
        if fields.get("speaker", "") is None:
            del fields["speaker"]
        return fields


class SpokenWord(_OfSpeaker):
    """One recognized word, without the space before it."""

    word: str
    probability: Probability | None = None


class SpeakerTurn(_Span):
    """A stretch in which a speaker talks. Turns of several speakers overlap where they talk at the same time."""

    speaker: str


class SpeechEvent(_OfSpeaker):
    """Speech or another action of a person.

    An event of the type `unsure` is speech whose text may be wrong or, if `content` is empty, is not known. It is no
    target, and its sound belongs to no other speaker.
    """

    content: str
    event_type: str = "speech"
    delivery_tag: str | None = None
    doubt: str | None = Field(None, description="why an unsure event may be wrong")
    probability: Probability | None = Field(None, description="mean probability of the words")
    avg_logprob: float | None = Field(None, description="mean log probability of the tokens, of the worst segment")
    no_speech_prob: Probability | None = Field(None, description="probability of no speech, of the worst segment")
    compression_ratio: float | None = Field(None, description="compression ratio of the text, of the worst segment")


class ComedianEvent(SpeechEvent):
    """Speech of the person on stage: with diarization, of the speaker who speaks most."""

    role: Literal["comedian"] = "comedian"


class OtherSpeakerEvent(SpeechEvent):
    """Speech of another speaker, found by diarization. It is never a target of the comedian."""

    role: Literal["other_speaker"] = "other_speaker"


class AudienceEvent(_Span):
    """A reaction of the audience."""

    role: Literal["audience"] = "audience"
    content: str
    reaction_type: ReactionType = "other"


class EnvironmentEvent(_Span):
    """Any other sound, such as music or a slamming door."""

    role: Literal["environment"] = "environment"
    content: str
    sound_category: str | None = None


def is_unsure(event: BaseModel) -> bool:
    """Return whether an event is speech whose text is not certain."""
    return isinstance(event, SpeechEvent) and event.event_type == "unsure"


Event = Annotated[ComedianEvent | OtherSpeakerEvent | AudienceEvent | EnvironmentEvent, Field(discriminator="role")]


class Show(BaseModel):
    """One line of the file. `timeline` is always sorted by start; a field that older files do not have is empty or None."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    video_id: str = Field(min_length=1)
    timeline: tuple[Event, ...]
    words: tuple[SpokenWord, ...] = ()
    language: str | None = None
    duration_s: Seconds | None = None
    model: str | None = None
    source: str | None = Field(None, description="path of the audio within the input; in older files its name")
    sha256: str | None = Field(None, description="SHA-256 of the audio file")
    reactions: str | None = Field(None, description="name of the reaction detector")
    guards: dict[str, int] = Field(default_factory=dict, description="how often each hallucination guard acted")
    language_probability: Probability | None = None
    speech: tuple[tuple[Seconds, Seconds], ...] | None = Field(
        None, description="where the VAD finds speech, without the margins that are decoded with it"
    )
    turns: tuple[SpeakerTurn, ...] | None = Field(None, description="who speaks when; only with diarization")

    @override
    def __repr__(self) -> str:
        length = "unknown length" if self.duration_s is None else f"{self.duration_s:.1f} s"
        events, words = counted(len(self.timeline), "event"), counted(len(self.words), "word")
        return summary_line("Show", self.video_id, length, events, words)

    def _repr_html_(self) -> str:
        """Return a block for notebooks: the events. The line does not have the recording, so there is no sound."""
        lines = [(f"{one.start:.2f}", f"{one.end:.2f}", one.role, one.content) for one in self.timeline]
        facts = {"language": self.language, "model": self.model, "words": len(self.words), "events": len(lines)}
        return block(self.video_id, facts, table(("start (s)", "end (s)", "role", "content"), lines, len(lines)))

    @model_serializer(mode="wrap")
    def _without_unknown_turns(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        fields: dict[str, object] = handler(self)
        if fields.get("turns", "") is None:
            del fields["turns"]
        return fields

    @model_validator(mode="before")
    @classmethod
    def _sort_timeline(cls, fields: object) -> object:
        timeline = fields.get("timeline") if isinstance(fields, dict) else None
        if not isinstance(fields, dict) or not isinstance(timeline, list | tuple):
            return fields
        try:
            ordered = sorted(timeline, key=_start)
        except TypeError:  # a start is not a number; the validation of the field reports it
            return fields
        return {**fields, "timeline": ordered}


@dataclass(frozen=True, slots=True)
class BrokenLine:
    """A line that could not be parsed.

    Attributes:
        number: The line number, counted from 1.
        reason: Why the line could not be parsed.
    """

    number: int
    reason: str

    def __str__(self) -> str:
        """Format the line for a message."""
        return f"line {self.number}: {self.reason}"


def read_shows(path: Path) -> Iterator[tuple[int, Show | BrokenLine]]:
    """Read a file of timelines.

    Yields:
        The number of each line that is not empty, counted from 1, and its content.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        with path.open("rb") as lines:
            for number, line in bounded_lines(lines):
                if line is None:
                    yield number, BrokenLine(number, f"longer than {MAX_LINE_BYTES >> 20} MiB")
                elif line.strip():
                    yield number, _parse_line(number, line)
    except OSError as error:
        raise InputError(
            f"cannot read {path} ({error.strerror})", hint="give a file that sca transcribe wrote"
        ) from error


def _parse_line(number: int, line: bytes) -> Show | BrokenLine:
    try:
        document = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        return BrokenLine(number, f"not JSON ({error})")
    if not isinstance(document, dict):
        return BrokenLine(number, f"a {type(document).__name__}, not an object with `video_id` and `timeline`")
    try:
        return Show.model_validate(_known_fields_of_show(document))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        location = ".".join(str(part) for part in first["loc"])
        return BrokenLine(number, f"{location or 'line'}: {first['msg'][:1].lower()}{first['msg'][1:]}")


_EVENT_TYPES: dict[str, type[BaseModel]] = {
    "comedian": ComedianEvent,
    "other_speaker": OtherSpeakerEvent,
    "audience": AudienceEvent,
    "environment": EnvironmentEvent,
}


def _known_fields_of_show(document: Mapping[str, object]) -> dict[str, object]:
    """Keep the fields of this version, in events and words too; a null counts as a missing field."""
    fields = _known_fields(document, Show)
    timeline, words = fields.get("timeline"), fields.get("words")
    if isinstance(timeline, list):
        fields["timeline"] = [_known_fields_of_event(event) for event in timeline]
    if isinstance(words, list):
        fields["words"] = [_known_fields(word, SpokenWord) if isinstance(word, dict) else word for word in words]
    return fields


def _known_fields_of_event(event: object) -> object:
    if not isinstance(event, dict):
        return event
    event_type = _EVENT_TYPES.get(str(event.get("role")))
    if event_type is None:
        return event
    fields = _known_fields(event, event_type)
    if event_type is AudienceEvent and fields.get("reaction_type", "other") not in get_args(ReactionType):
        fields["reaction_type"] = "other"
    return fields


def _known_fields(document: Mapping[str, object], model: type[BaseModel]) -> dict[str, object]:
    return {name: value for name, value in document.items() if name in model.model_fields and value is not None}


def _start(event: object) -> float:
    """Return the start of an event, given as a model or as its fields. It may not be a number before validation."""
    start: float = event["start"] if isinstance(event, dict) and "start" in event else getattr(event, "start", 0.0)
    return start
