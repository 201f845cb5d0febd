"""Settings of `sca convert`: what of a show becomes a row, and what is done to its sound."""

from pydantic import Field, ValidationInfo, field_validator

from sca.config.sections.base import Section

__all__ = ["ConvertConfig"]

DEFAULT_SYSTEM_PROMPT = "You are a stand-up comedian on stage. You hear the room, and your own show so far."
DEFAULT_INSTRUCTION = "Go on with the show: say what comes next."


class ConvertConfig(Section):
    """How timelines and recordings become a data set."""

    merge_threshold_s: float = Field(
        0.5, ge=0, description="Speech of the comedian with no more than this between, in seconds, is one target."
    )
    max_duration_s: float = Field(
        60.0, gt=0, description="Longest row, in seconds: a target and what was heard before it."
    )
    min_duration_s: float = Field(
        0.0, ge=0, validate_default=True, description="Rows shorter than this, in seconds, are left out."
    )
    cut_start_s: float = Field(3.0, ge=0, description="Seconds at the start of a show that no row reaches into.")
    cut_end_s: float = Field(1.0, ge=0, description="Seconds at the end of a show that no target reaches into.")
    min_speech_s: float = Field(
        5.0, ge=0, validate_default=True, description="Targets shorter than this, in seconds, get no row."
    )
    keep_audience: bool = Field(False, description="Whether reactions stay in the text, as tags such as [laughter].")
    enhance: str = Field("none", min_length=1, description="What cleans the talker's audio: none or deepfilter.")
    speaker_model: str = Field(
        "none",
        min_length=1,
        description="What tells voices apart: none, ecapa, ecapa:FOLDER-OR-HUB-ID, or an .onnx file (WeSpeaker, CAM++).",
    )
    system_prompt: str = Field(DEFAULT_SYSTEM_PROMPT, description="Text every message list begins with; may be empty.")
    instruction: str = Field(DEFAULT_INSTRUCTION, description="What the user's turn asks for, after the sound.")

    @field_validator("min_duration_s", "min_speech_s")
    @classmethod
    def _room_for_a_target(cls, shortest: float, others: ValidationInfo) -> float:
        longest = others.data.get("max_duration_s", shortest)
        if shortest > longest:
            raise ValueError(f"should not be above convert.max_duration_s, which is {longest:g}, got {shortest:g}")
        return shortest
