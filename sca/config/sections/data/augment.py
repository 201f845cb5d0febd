"""Settings of augmentation: retimed copies of the training conversations."""

from typing import Annotated

from pydantic import Field

from sca.config.sections.base import Flag, Section

__all__ = ["AugmentConfig"]


class AugmentConfig(Section):
    """What `sca build-duplex` adds to the training rows of a data set. Off unless `copies` is above 0."""

    copies: Annotated[int, Flag("--augment", "N")] = Field(
        0,
        ge=0,
        le=99,
        description="Number of retimed copies of each training conversation, with different pauses and overlaps.",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Random seed: the same seed gives the same data set.")
    early_interruption: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Share of the turn changes at which the next speaker interrupts and the previous one is cut off.",
    )
    gap_jitter: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of the pauses between two speakers that are replaced by another pause length of the corpus.",
    )
    overlap_jitter: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of the overlapping turn changes that are given another overlap length of the corpus.",
    )
