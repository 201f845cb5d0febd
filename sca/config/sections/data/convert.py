"""Settings of `sca convert`: which parts of a show become rows, and how the audio is processed."""

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from sca.config.sections.base import MIN_SECONDS, Flag, Section
from sca.units import MAX_SECONDS

__all__ = ["ConvertConfig"]

DEFAULT_SYSTEM_PROMPT = "You are a stand-up comedian on stage. You hear the room, and your own show so far."
DEFAULT_INSTRUCTION = "Go on with the show: say what comes next."


class ConvertConfig(Section):
    """How timelines and recordings become a data set."""

    merge_threshold_s: Annotated[float, Flag("--merge-threshold", "SECONDS")] = Field(
        0.5,
        ge=0,
        le=MAX_SECONDS,
        description="Speech of the comedian separated by at most this long, in seconds, is one target.",
    )
    max_duration_s: Annotated[float, Flag("--max-duration", "SECONDS")] = Field(
        60.0,
        ge=MIN_SECONDS,
        le=MAX_SECONDS,
        description="Longest row, in seconds: the target and the audio before it.",
    )
    min_duration_s: Annotated[float, Flag("--min-duration", "SECONDS")] = Field(
        0.0, ge=0, le=MAX_SECONDS, validate_default=True, description="Shortest row, in seconds."
    )
    cut_start_s: Annotated[float, Flag("--cut-start", "SECONDS")] = Field(
        3.0,
        ge=0,
        le=MAX_SECONDS,
        description="Length of the start of a show that no row includes, in seconds (not in events).",
    )
    cut_end_s: Annotated[float, Flag("--cut-end", "SECONDS")] = Field(
        1.0, ge=0, le=MAX_SECONDS, description="Length of the end of a show that no target includes, in seconds."
    )
    min_speech_s: Annotated[float, Flag("--min-speech-duration", "SECONDS")] = Field(
        5.0, ge=0, le=MAX_SECONDS, validate_default=True, description="Shortest target, in seconds."
    )
    keep_audience: Annotated[bool, Flag("--keep-audience")] = Field(
        False, description="Keep audience reactions in the text, as tags such as [laughter]."
    )
    enhance: Annotated[str, Flag("--enhance", "none|deepfilter|dtln")] = Field(
        "none",
        min_length=1,
        description="Speech enhancement of the target audio: none, deepfilter, or dtln (sca models get dtln; up to 8 kHz).",
    )
    speaker_model: Annotated[str, Flag("--speaker", "MODEL")] = Field(
        "none",
        min_length=1,
        description="Speaker embedding model: none, ecapa, ecapa:FOLDER-OR-HUB-ID, or an .onnx file (WeSpeaker, CAM++).",
    )
    system_prompt: str = Field(
        DEFAULT_SYSTEM_PROMPT, description="Text at the start of every message list; may be empty."
    )
    instruction: str = Field(DEFAULT_INSTRUCTION, description="Text of the user's turn, after the audio.")

    @field_validator("min_duration_s", "min_speech_s")
    @classmethod
    def _check_not_above_longest(cls, shortest: float, info: ValidationInfo) -> float:
        longest = info.data.get("max_duration_s", shortest)
        if shortest > longest:
            raise ValueError(f"should not be above convert.max_duration_s, which is {longest:g}, got {shortest:g}")
        return shortest
