"""Settings of the grid."""

from fractions import Fraction
from typing import Annotated, Self

from pydantic import Field, model_validator

from sca.config.sections.base import Env, Section
from sca.units import Grid

__all__ = ["AudioConfig"]


class AudioConfig(Section):
    """Frame rate and chunk length. Values that do not divide evenly raise `GridError`."""

    frame_hz: Annotated[float, Env("SCA_FRAME_HZ")] = Field(
        12.5, ge=0.01, le=1000, description="Encoder frames (audio tokens) per second, in Hz."
    )
    frames_per_chunk: Annotated[int, Env("SCA_FRAMES_PER_CHUNK")] = Field(
        4, ge=1, le=1000, description="Input audio tokens per chunk; 4 at 12.5 Hz make a chunk of 0.32 s."
    )

    @model_validator(mode="after")
    def _check_grid(self) -> Self:
        _ = self.grid
        return self

    @property
    def grid(self) -> Grid:
        """The grid these settings describe, in exact numbers."""
        return Grid(Fraction(repr(self.frame_hz)), self.frames_per_chunk)
