"""The words of `WS /ws/pcm16`: what clients may send as text, and the documents they get. Knows no socket and no session."""

import json
from dataclasses import asdict
from fractions import Fraction
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sca.errors import GridError
from sca.infer.frames import AudioOutput, ErrorFrame, Interrupt, Lag, TurnEnd
from sca.units import SPOKEN_HZ, Grid

__all__ = [
    "Ack",
    "BadMessageError",
    "Options",
    "audio_head",
    "control_document",
    "lost_sound",
    "read_text",
    "reply",
    "validated",
]

M = TypeVar("M", bound=BaseModel)


class BadMessageError(Exception):
    """A message that cannot be read, in words for its sender."""


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Options(_Message):
    """What a client may choose before the first sound. Others keep what the server was started with."""

    prompt: str | None = Field(None, max_length=8000)
    frames_per_chunk: int | None = Field(None, ge=1, le=100)
    frame_hz: float | None = Field(None, gt=0, le=100)
    resume: bool = False

    def grid(self, default: Grid) -> Grid:
        """The chosen grid. Raises `BadMessageError` for one that does not divide."""
        try:
            return Grid(
                Fraction(repr(self.frame_hz)) if self.frame_hz is not None else default.frame_hz,
                self.frames_per_chunk or default.frames_per_chunk,
            )
        except GridError as error:
            raise BadMessageError(error.message) from error


class Ack(_Message):
    """The client has received so many messages of this session."""

    received: int = Field(ge=0)


def read_text(text: str) -> tuple[str, dict[str, Any]]:
    """The type of a text message, `start` when it has none, and the rest of it. Raises `BadMessageError`."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadMessageError("a text message should be JSON; sound goes into binary messages") from error
    if not isinstance(document, dict):
        raise BadMessageError("a text message should be a JSON object")
    kind = document.pop("type", "start")
    return kind if isinstance(kind, str) else "", document


def validated(model: type[M], values: dict[str, Any]) -> M:
    """Raises `BadMessageError` that names the field."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise BadMessageError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def audio_head(frame: AudioOutput) -> dict[str, Any]:
    """Announces the binary message that comes next."""
    return {
        "type": "audio",
        "sample_rate": frame.sample_rate,
        "format": "pcm16",
        "samples": frame.num_samples,
        "chunk_index": frame.chunk_index,
        "turn_id": frame.turn_id,
    }


def reply(text: str, grid: Grid, chunk_index: int) -> dict[str, Any]:
    """Answers a chunk."""
    return {"text": text, **_grid_values(grid), "chunk_index": chunk_index}


@lru_cache
def _grid_values(grid: Grid) -> dict[str, Any]:
    return {
        "chunk_ms": float(grid.chunk_s * 1000),
        "frames_per_chunk": grid.frames_per_chunk,
        "frame_hz": float(grid.frame_hz),
    }


def lost_sound(ms: float) -> dict[str, Any]:
    """Stands where sound would have been."""
    return {"type": "dropped", "samples": round(ms * SPOKEN_HZ / 1000), "reason": "slow_reader"}


def control_document(frame: TurnEnd | Interrupt | Lag | ErrorFrame) -> dict[str, Any]:
    """A control frame in the words of this protocol."""
    values = asdict(frame)
    values.pop("sample")
    match frame:
        case ErrorFrame():
            return {"type": "error", "code": "failed" if frame.fatal else "engine", "message": frame.message}
        case Lag():
            return {"type": "lag", **values}
        case TurnEnd():
            return {"type": "turn_end", **values}
        case _:
            return {"type": "interrupt", **values}
