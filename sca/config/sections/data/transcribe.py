"""Settings of `sca transcribe`: what is found in a recording besides the words, and which recordings are left out."""

from typing import Annotated, Literal

from pydantic import Field

from sca.config.sections.base import Flag, Section

__all__ = ["QualityConfig", "TranscribeConfig"]


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


class QualityConfig(Section):
    """Which recordings are left out because of their quality. A value that is unknown never leaves one out."""

    min_snr_db: Annotated[float | None, Flag("--min-snr", "DB")] = Field(
        None,
        ge=-20,
        le=100,
        description="Lowest level of the speech against the noise between it, in dB. Not set: any.",
    )
    max_clipping: Annotated[float | None, Flag("--max-clipping", "SHARE")] = Field(
        None, ge=0, le=1, description="Largest share of clipped samples, such as 0.001. Not set: any."
    )
    min_bandwidth_hz: Annotated[int | None, Flag("--min-bandwidth", "HZ")] = Field(
        None,
        ge=0,
        le=192_000,
        description="Lowest frequency at which the spectrum may end, such as 7000, which excludes telephone audio. "
        "Not set: any.",
    )
    max_music: Annotated[float | None, Flag("--max-music", "SHARE")] = Field(
        None, ge=0, le=1, description="Largest share of the time with music, found by a tagger. Not set: any."
    )
    language_is: Annotated[str | None, Flag("--language-is", "CODES")] = Field(
        None,
        pattern=r"^[a-z]{2,3}(,[a-z]{2,3})*$",
        description="Languages of the recordings to keep, as found by the transcription, such as en,de. Not set: any.",
    )
    min_language_probability: Annotated[float | None, Flag("--min-language-probability", "P")] = Field(
        None, ge=0, le=1, description="Lowest probability of the language, as found by the transcription. Not set: any."
    )
    min_mos: Annotated[float | None, Flag("--min-mos", "SCORE")] = Field(
        None,
        ge=1,
        le=5,
        description="Lowest overall quality from 1 to 5, as listeners would rate it (DNSMOS P.835, the model dnsmos). "
        "The scores are in the ledger; 1 leaves out none. Not set: recordings are not scored.",
    )
    copies: Annotated[Literal["keep", "drop"], Flag("--copies")] = Field(
        "keep",
        description="Recordings with the sound of another one of the run: keep notes them, drop leaves them out.",
    )
