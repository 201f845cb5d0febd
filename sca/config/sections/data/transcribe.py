"""Settings of `sca transcribe`: what is found in a recording besides the words."""

from typing import Annotated

from pydantic import Field

from sca.config.sections.base import Flag, Section

__all__ = ["TranscribeConfig"]


class TranscribeConfig(Section):
    """What `sca transcribe` finds besides the words."""

    reactions: Annotated[str, Flag("--reactions", "auto|none|energy|MODEL")] = Field(
        "auto",
        min_length=1,
        description="Detector of audience reactions: auto (yamnet if it is on this machine, otherwise none), none, "
        "energy (loud crowd noise), or an audio tagging model.",
    )
    captions: Annotated[str, Flag("--captions", "auto|none|DIR")] = Field(
        "auto",
        min_length=1,
        description="Downloaded captions (.vtt, .srt) that the result is compared with: auto (beside the recordings), "
        "none, or a folder to search too.",
    )
