"""Settings of the recognizer of a live stream: the engine, its steps, and the server of the engine `openai`."""

from typing import Annotated

from pydantic import Field, SecretStr

from sca.config.sections.base import MAX_MS, Flag, Section
from sca.units import MAX_SECONDS

__all__ = ["RecognitionConfig"]


class RecognitionConfig(Section):
    """How the speech of a live stream is recognized."""

    engine: Annotated[str, Flag("--recognizer", "NAME")] = Field(
        "whisper", min_length=1, description="Recognizer of live speech, by name: whisper or openai."
    )
    model: str = Field(
        "whisper-base",
        min_length=1,
        description="Model of the recognizer whisper: a model of sca models, a size, a hub id or a folder.",
    )
    language: str | None = Field(
        None,
        min_length=2,
        max_length=8,
        description="Language code, such as en. Not set: detected at the first speech.",
    )
    device: str = Field(
        "auto", pattern="^(auto|cpu|cuda)$", description="Device of the recognizer whisper: auto, cpu or cuda."
    )
    cpu_threads: int = Field(
        1, ge=0, le=1024, description="Threads of the recognizer whisper on a CPU; 0: one for each core."
    )
    compute_type: str = Field(
        "auto",
        min_length=1,
        description="Arithmetic of the recognizer whisper, by CTranslate2's name. auto: int8 on a CPU, the type of the "
        "weights on a GPU.",
    )
    nice: int = Field(
        10,
        ge=0,
        le=19,
        description="Priority of the recognizer on Linux: 0 is normal, 19 the lowest. Playing speech comes first.",
    )
    step_ms: int = Field(
        1280, ge=32, le=20_000, description="Speech between two results of the recognizer whisper, in ms."
    )
    margin_ms: int = Field(
        400,
        ge=0,
        le=10_000,
        description="A word is committed when it ends at least this long before the end of the audio, in ms.",
    )
    end_silence_ms: int = Field(
        400, ge=32, le=MAX_MS, description="All words are committed after this much silence, in ms."
    )
    pause_ms: int = Field(
        192,
        ge=0,
        le=MAX_MS,
        description="The speech is recognized up to a pause of this length, in ms, so that an answer can be prepared "
        "(live.early_answers); 0: not before recognition.end_silence_ms.",
    )
    base_url: str | None = Field(
        None,
        min_length=1,
        description="Address of the server of the recognizer openai, such as http://127.0.0.1:8000/v1.",
    )
    api_key: SecretStr | None = Field(None, description="Key sent to that server as `Authorization: Bearer …`.")
    api_model: str = Field("whisper-1", min_length=1, description="Name of the model on that server.")
    answer_timeout_s: float = Field(
        30.0, gt=0, le=MAX_SECONDS, description="Time limit of an answer of that server, in seconds."
    )
