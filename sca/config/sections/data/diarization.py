"""Settings of speaker diarization: the model, how many speakers a recording may have, and overlapping speech."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from sca.config.sections.base import Flag, Section

__all__ = ["DiarizationConfig"]

_MOST = 100


class DiarizationConfig(Section):
    """How `sca transcribe --diarize` finds the speakers of a recording, and what `sca build-duplex` does with them."""

    model: Annotated[str, Flag("--diarize-model", "MODEL")] = Field(
        "dvector",
        min_length=1,
        description="Speaker embedding model: dvector (sca models get dvector), ecapa, ecapa:FOLDER-OR-HUB-ID, or an .onnx file.",
    )
    min_speakers: Annotated[int, Flag("--min-speakers", "N")] = Field(
        1, ge=1, le=_MOST, description="Smallest number of speakers of a recording."
    )
    max_speakers: Annotated[int | None, Flag("--max-speakers", "N")] = Field(
        None, ge=1, le=_MOST, description="Largest number of speakers of a recording. Not set: any number."
    )
    threshold: Annotated[float | None, Flag("--diarize-threshold", "COSINE")] = Field(
        None,
        ge=-1,
        le=1,
        description="Voices whose mean embeddings have a higher cosine are one speaker. Not set: 0.77 for dvector, else 0.5.",
    )

    separate: Annotated[str, Flag("--separate", "MODEL")] = Field(
        "none",
        min_length=1,
        description="Separation of overlapping speech of diarized lines: none, or an .onnx file or folder that maps "
        "(1, n) to (1, 2, n) at 16 kHz.",
    )

    @property
    def separation(self) -> Path | None:
        """The separation model; None without one."""
        return None if self.separate == "none" else Path(self.separate).expanduser()

    @field_validator("max_speakers")
    @classmethod
    def _check_not_below_least(cls, most: int | None, info: ValidationInfo) -> int | None:
        least = info.data.get("min_speakers", 1)
        if most is not None and most < least:
            raise ValueError(f"should not be below diarization.min_speakers, which is {least}, got {most}")
        return most
