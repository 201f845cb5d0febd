"""Settings of the grid, and of reading audio files."""

from fractions import Fraction
from typing import Annotated, Self

from pydantic import Field, model_validator

from sca.audio.coded.reading import Reading
from sca.config.sections.base import Env, Flag, Section
from sca.units import Grid

__all__ = ["AudioConfig"]


class AudioConfig(Section):
    """Frame rate, chunk length, and reading of files. Rates that do not divide evenly raise `GridError`."""

    frame_hz: Annotated[float, Env("SCA_FRAME_HZ")] = Field(
        12.5, ge=0.01, le=1000, description="Encoder frames (audio tokens) per second, in Hz."
    )
    frames_per_chunk: Annotated[int, Env("SCA_FRAMES_PER_CHUNK")] = Field(
        4, ge=1, le=1000, description="Input audio tokens per chunk; 4 at 12.5 Hz make a chunk of 0.32 s."
    )
    accept_damage_s: Annotated[float, Flag("--accept-damage", "SECONDS")] = Field(
        1.0,
        ge=0,
        le=3600,
        description="Seconds per hour of a recording that may be undecodable and become silence; 0 accepts none.",
    )
    track: Annotated[int | None, Flag("--track", "N")] = Field(
        None,
        ge=1,
        le=1000,
        description="Audio track to read of recordings, from 1. Not set: the one that is flagged as default, or the first.",
    )
    language: Annotated[str | None, Flag("--audio-language", "CODE")] = Field(
        None,
        pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]+)*$",
        description="Language of the audio track to read in recordings with several tracks, such as de or deu.",
    )

    @model_validator(mode="after")
    def _check_grid(self) -> Self:
        _ = self.grid
        if self.track is not None and self.language is not None:
            raise ValueError("track and language both choose an audio track; give one of them")
        return self

    @property
    def reading(self) -> Reading:
        """How recordings are read."""
        return Reading(self.accept_damage_s, self.track, self.language)

    @property
    def grid(self) -> Grid:
        """The grid these settings describe, in exact numbers."""
        return Grid(Fraction(repr(self.frame_hz)), self.frames_per_chunk)
