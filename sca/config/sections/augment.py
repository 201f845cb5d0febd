"""The settings of augmentation: conversations again, with other pauses, overlaps and interruptions."""

from pydantic import Field

from sca.config.sections.base import Section

__all__ = ["AugmentConfig"]


class AugmentConfig(Section):
    """What `sca build-duplex` adds to a data set's training rows. Off unless `copies` is above 0."""

    copies: int = Field(0, ge=0, le=99, description="How many times each training conversation comes again, retimed.")
    seed: int = Field(
        0, ge=0, lt=2**63, description="What the changes are drawn with: the same seed, the same data set."
    )
    early_interruption: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share of the turn changes in which the next speaker breaks in and the one before stops short.",
    )
    gap_jitter: float = Field(
        0.5, ge=0, le=1, description="Share of the pauses between two speakers that get another length of the corpus."
    )
    overlap_jitter: float = Field(
        0.5, ge=0, le=1, description="Share of the overlapped turn changes that get another overlap of the corpus."
    )
