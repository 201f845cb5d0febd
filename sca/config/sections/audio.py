"""The settings of the grid."""

from fractions import Fraction
from typing import Annotated, Self

from pydantic import Field, model_validator

from sca.config.sections.base import Env, Section
from sca.units import Grid

__all__ = ["AudioConfig"]


class AudioConfig(Section):
    """The grid. One that exists divides: making a wrong one raises `GridError`."""

    frame_hz: Annotated[float, Env("SCA_FRAME_HZ")] = Field(
        12.5, gt=0, description="Encoder frames (audio tokens) per second, in Hz."
    )
    frames_per_chunk: Annotated[int, Env("SCA_FRAMES_PER_CHUNK")] = Field(
        4, ge=1, description="Audio tokens heard per chunk; 4 at 12.5 Hz are a chunk of 0.32 s."
    )

    @model_validator(mode="after")
    def _divides(self) -> Self:
        _ = self.grid
        return self

    @property
    def grid(self) -> Grid:
        """The same numbers, exact."""
        return Grid(Fraction(repr(self.frame_hz)), self.frames_per_chunk)
