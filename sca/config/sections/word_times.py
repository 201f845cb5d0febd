"""Settings of word times: how those of a model are corrected, and how that is measured."""

from typing import Annotated

from pydantic import Field

from sca.config.sections.base import Flag, Section

__all__ = ["CalibrateConfig", "WordTimesConfig"]


class WordTimesConfig(Section):
    """How the word times of models are corrected."""

    profile: Annotated[str, Flag("--profile", "auto|none|FILE")] = Field(
        "auto",
        min_length=1,
        description="Correction of the word times of Whisper and CTC models: auto (the profile of the model, if "
        "sca calibrate measured one or it ships with sca), none, or a file of sca calibrate.",
    )


class CalibrateConfig(Section):
    """What `sca calibrate` measures with."""

    minutes: Annotated[float, Flag("--minutes", "N")] = Field(
        10.0, ge=0.1, le=600, description="Minutes of conversation, at least."
    )
    voices: Annotated[str, Flag("--voices", "auto|LIST")] = Field(
        "auto",
        min_length=1,
        description="Voices, as ENGINE:VOICE, separated by commas; auto is four of those on this machine.",
    )
    seed: Annotated[int, Flag("--seed", "N")] = Field(
        0, ge=0, lt=2**63, description="Random seed: the same seed gives the same conversations."
    )
    snr_db: Annotated[float, Flag("--snr", "DB")] = Field(
        15.0, ge=-20, le=100, description="Speech level over pink noise in the noisy third of the conversations, in dB."
    )
