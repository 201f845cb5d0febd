"""The JSON messages of `WS /ws/pcm16`: those that clients may send, and the documents they get."""

from dataclasses import asdict
from fractions import Fraction
from functools import lru_cache
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sca.errors import ConfigError, GridError
from sca.infer.frames import AnswerTiming, AudioOutput, ControlFrame, ErrorFrame, Lag, TurnEnd
from sca.infer.generation import GenerationOptions, read_generation
from sca.infer.server.core.json_input import read_json
from sca.infer.server.core.limits import MAX_PROMPT_CHARACTERS, shortened
from sca.units import SPOKEN_HZ, Grid, seconds_to_samples

__all__ = [
    "Acknowledgement",
    "BadMessageError",
    "SessionOptions",
    "audio_announcement",
    "chunk_reply",
    "control_document",
    "dropped_audio",
    "read_text",
    "validate",
]

M = TypeVar("M", bound=BaseModel)


class BadMessageError(Exception):
    """A message that cannot be read. The text is for the client that sent it."""


class _ClientMessage(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class SessionOptions(_ClientMessage):
    """What a client may choose before the first audio. None: the server's setting.

    Attributes:
        prompt: The system prompt.
        frames_per_chunk: Encoder frames per chunk.
        frame_hz: Encoder frames per second.
        resume: Whether the client wants to be able to resume the session.
        voice: The voice; one that `GET /api/engine` lists.
        audio: Whether the client gets spoken audio. If not, it gets no binary messages.
        generation: Options for turn-taking, text and voice; see `GenerationOptions`.
    """

    prompt: str | None = Field(None, max_length=MAX_PROMPT_CHARACTERS)
    frames_per_chunk: int | None = Field(None, ge=1, le=100)
    frame_hz: float | None = Field(None, gt=0, le=100)
    resume: bool = False
    voice: str | None = Field(None, max_length=200)
    audio: bool = True
    generation: dict[str, object] = Field(default_factory=dict)

    @property
    def options(self) -> GenerationOptions:
        """The options of `generation`.

        Raises:
            BadMessageError: An option does not exist, or its value is not valid.
        """
        try:
            return read_generation(self.generation)
        except ConfigError as error:
            raise BadMessageError(shortened(error.message)) from error

    def grid(self, default: Grid) -> Grid:
        """Return the chosen grid.

        Raises:
            BadMessageError: A chunk of the grid is not a whole number of samples.
        """
        try:
            return Grid(
                Fraction(repr(self.frame_hz)) if self.frame_hz is not None else default.frame_hz,
                self.frames_per_chunk or default.frames_per_chunk,
            )
        except GridError as error:
            raise BadMessageError(error.message) from error


class Acknowledgement(_ClientMessage):
    """How many messages of the session the client has received."""

    received: int = Field(ge=0)


def read_text(text: str) -> tuple[str, dict[str, object]]:
    """Parse a text message.

    Returns:
        The type, `start` if the message has none, and the other fields.

    Raises:
        BadMessageError: The message is not a JSON object.
    """
    try:
        document = read_json(text)
    except ValueError as error:
        raise BadMessageError("a text message must be JSON; send audio as binary messages") from error
    if not isinstance(document, dict):
        raise BadMessageError("a text message must be a JSON object")
    kind = document.pop("type", "start")
    return kind if isinstance(kind, str) else "", document


def validate(model: type[M], values: dict[str, object]) -> M:
    """Return the fields of a message as a model.

    Raises:
        BadMessageError: A field is not valid; the text names it.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise BadMessageError(shortened(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")) from error


def audio_announcement(frame: AudioOutput) -> dict[str, object]:
    """Return the document that precedes the binary message of a frame."""
    return {
        "type": "audio",
        "sample_rate": frame.sample_rate,
        "format": "pcm16",
        "samples": frame.num_samples,
        "chunk_index": frame.chunk_index,
        "turn_id": frame.turn_id,
    }


def chunk_reply(text: str, grid: Grid, chunk_index: int) -> dict[str, object]:
    """Return the document that a client gets for each chunk."""
    return {"text": text, **_grid_fields(grid), "chunk_index": chunk_index}


@lru_cache
def _grid_fields(grid: Grid) -> dict[str, object]:
    return {
        "chunk_ms": float(grid.chunk_s * 1000),
        "frames_per_chunk": grid.frames_per_chunk,
        "frame_hz": float(grid.frame_hz),
    }


def dropped_audio(ms: float) -> dict[str, object]:
    """Return the document that replaces audio which was dropped."""
    return {"type": "dropped", "samples": seconds_to_samples(ms / 1000, SPOKEN_HZ), "reason": "slow_reader"}


def control_document(frame: ControlFrame) -> dict[str, object]:
    """Return the document of a control frame."""
    fields: dict[str, object] = asdict(frame)
    del fields["sample"]
    match frame:
        case ErrorFrame():
            return {"type": "error", "code": "failed" if frame.fatal else "engine", "message": frame.message}
        case Lag():
            return {"type": "lag", **fields}
        case AnswerTiming(stages_ms=stages):
            times = {name: round(ms, 1) for name, ms in stages}
            return {
                "type": "timing",
                "turn_id": frame.turn_id,
                "stages_ms": times,
                "total_ms": round(sum(times.values()), 1),
            }
        case TurnEnd():
            return {"type": "turn_end", **fields}
        case _:
            return {"type": "interrupt", **fields}
