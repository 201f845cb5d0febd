"""Settings of a live session: the engine, the buffers, and the turn-taking of `parrot` and `cascade`."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from sca.config.sections.base import MAX_COUNT, MAX_MS, MIN_SECONDS, Flag, Section
from sca.units import MAX_SECONDS

__all__ = ["LiveConfig"]


class LiveConfig(Section):
    """How a live session listens, thinks and speaks."""

    engine: Annotated[str | None, Flag("--engine", "NAME")] = Field(
        None,
        min_length=1,
        description="Engine that answers, by name. Not set: the engine that other settings ask for; else the best one that "
        "this machine can run (sca live --mic, sca serve), or parrot (other commands).",
    )
    listen_buffer_ms: int = Field(
        1600,
        ge=1,
        le=MAX_MS,
        description="Input audio that may wait for a step, in ms, rounded to whole chunks. When it is full, a microphone's "
        "oldest chunk is dropped; files and networks wait.",
    )
    speak_buffer_ms: int = Field(
        960,
        ge=1,
        le=MAX_MS,
        description="Output audio that may wait to be played, in ms; when there is more, the engine waits.",
    )
    playout_delay_ms: int = Field(
        40, ge=0, le=MAX_MS, description="Delay before an answer is played, in ms; absorbs the jitter of steps."
    )
    playout_delay_max_ms: int = Field(
        200, ge=0, le=MAX_MS, description="Maximum of that delay after it has grown because of gaps, in ms."
    )
    lag_policy: Literal["skip", "wait"] = Field(
        "skip",
        description="Handling of lag: skip drops all waiting chunks but the newest, wait processes all of them.",
    )
    lag_chunks: int = Field(
        2, ge=1, le=MAX_COUNT, description="A session with more chunks waiting than this is lagging."
    )
    deadline_ms: int | None = Field(
        None,
        ge=1,
        le=MAX_MS,
        description="A step that takes longer than this, in ms, is reported as late. Not set: one chunk.",
    )
    batch_wait_ms: float = Field(
        10.0,
        ge=0,
        le=1000,
        description="Time that a due chunk waits for chunks of other sessions, in ms, with an engine that batches steps.",
    )
    hang_s: float = Field(
        10.0, gt=0, le=MAX_SECONDS, description="A step that takes longer than this, in seconds, ends its session."
    )
    step_cost_ms: float = Field(
        20.0,
        ge=0,
        le=MAX_MS,
        description="Duration of a step in simulated time, in ms (sca live --file without --realtime).",
    )
    record_text: bool = Field(False, description="Let --record store the text of a session, not only its times.")
    vad_onset: float = Field(
        0.5, gt=0, le=1, description="Speech begins at a frame with at least this speech probability."
    )
    vad_offset: float = Field(
        0.35,
        ge=0,
        le=1,
        validate_default=True,
        description="Speech ends at a frame with a speech probability below this.",
    )
    min_speech_ms: int = Field(
        160, ge=1, le=MAX_MS, description="Continuous speech shorter than this, in ms, is not a turn (parrot, cascade)."
    )
    end_of_turn_ms: int = Field(
        640, ge=1, le=MAX_MS, description="A turn ends after this much silence, in ms (parrot, cascade)."
    )
    barge_in_ms: int = Field(
        96,
        ge=1,
        le=MAX_MS,
        description="Continuous speech of this length, in ms, interrupts an answer (parrot, cascade).",
    )
    turn_model: Annotated[str | None, Flag("--turn-model", "auto|MODEL|URL")] = Field(
        None,
        min_length=1,
        description="End-of-turn model (parrot, cascade): auto (the model of turn.model_id), an .onnx file, a folder, a hub "
        "id, or the http(s) address of a turn server. Not set: a turn ends by silence alone.",
    )
    early_answers: int = Field(
        3,
        ge=0,
        le=100,
        description="Most answers that are prepared in the pauses of a turn, before it is decided that the turn is over. "
        "An answer is withdrawn when the user goes on; 0: no answer is prepared (cascade).",
    )
    max_turn_s: float = Field(
        30.0,
        ge=MIN_SECONDS,
        le=MAX_SECONDS,
        description="Length of the end of a turn that is repeated, in seconds (parrot).",
    )

    @field_validator("vad_offset")
    @classmethod
    def _check_not_above_onset(cls, vad_offset: float, info: ValidationInfo) -> float:
        onset = info.data.get("vad_onset", 1.0)
        if vad_offset > onset:
            raise ValueError(f"should not be above live.vad_onset, which is {onset:g}, got {vad_offset:g}")
        return vad_offset
