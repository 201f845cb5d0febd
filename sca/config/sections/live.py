"""The settings of a live session: its engine, its buffers, and when `parrot` takes a turn to be over."""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from sca.config.sections.base import Section

__all__ = ["LiveConfig"]


class LiveConfig(Section):
    """How a live session listens, thinks and speaks."""

    engine: str = Field("parrot", min_length=1, description="Which engine answers, by name.")
    listen_buffer_ms: int = Field(
        1600,
        ge=1,
        description="Sound heard and not yet stepped that is kept, in ms, rounded to whole chunks. When it is full a microphone's "
        "oldest chunk is dropped; files and networks wait.",
    )
    speak_buffer_ms: int = Field(
        960,
        ge=1,
        description="Sound to be said that may wait to be played, in ms; when there is more the engine waits.",
    )
    playout_delay_ms: int = Field(
        40, ge=0, description="Pause before an answer is played, in ms: absorbs the jitter of steps."
    )
    playout_delay_max_ms: int = Field(
        200, ge=0, description="The most that pause grows to when there were gaps, in ms."
    )
    lag_policy: Literal["skip", "wait"] = Field(
        "skip",
        description="What a session does that is behind: skip drops all waiting chunks but the newest, wait works through them.",
    )
    lag_chunks: int = Field(2, ge=1, description="A session with more chunks waiting than this is behind.")
    deadline_ms: int | None = Field(
        None, ge=1, description="A step that takes longer than this, in ms, is reported as late. Not set: one chunk."
    )
    batch_wait_ms: float = Field(
        10.0,
        ge=0,
        le=1000,
        description="How long a chunk that is due waits for those of other sessions, in ms, where the engine steps many at once.",
    )
    hang_s: float = Field(10.0, gt=0, description="A step that takes longer than this, in seconds, ends its session.")
    step_cost_ms: float = Field(
        20.0, ge=0, description="How long a step takes in simulated time, in ms (sca live --file without --realtime)."
    )
    record_text: bool = Field(False, description="Whether --record also writes down what is said, not only when.")
    vad_onset: float = Field(
        0.5, gt=0, le=1, description="Speech begins at a frame with this probability or a higher one."
    )
    vad_offset: float = Field(
        0.35,
        ge=0,
        le=1,
        validate_default=True,
        description="Speech ends at a frame with a lower probability than this.",
    )
    min_speech_ms: int = Field(
        160, ge=1, description="Speech in one piece shorter than this, in ms, is no turn (parrot)."
    )
    end_of_turn_ms: int = Field(640, ge=1, description="A turn is over after this much silence, in ms (parrot).")
    barge_in_ms: int = Field(
        96, ge=1, description="Speech in one piece of this length, in ms, interrupts an answer (parrot)."
    )
    turn_model: str | None = Field(
        None,
        min_length=1,
        description="What judges whether a turn is over (parrot): auto (the model of turn.model_id), an .onnx file, a folder or "
        "hub id, or the http(s) address of a turn server. Not set: silence alone.",
    )
    max_turn_s: float = Field(30.0, gt=0, description="What is kept of a turn to say back: its last seconds (parrot).")

    @field_validator("vad_offset")
    @classmethod
    def _below_onset(cls, vad_offset: float, others: ValidationInfo) -> float:
        onset = others.data.get("vad_onset", 1.0)
        if vad_offset > onset:
            raise ValueError(f"should not be above live.vad_onset, which is {onset:g}, got {vad_offset:g}")
        return vad_offset
