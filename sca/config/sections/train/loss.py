"""Settings of the loss and of the batches of a training run."""

from typing import Annotated, Literal

from pydantic import Field

from sca.config.sections.base import MAX_COUNT, Flag, Section

__all__ = ["LossFields"]


class LossFields(Section):
    """Weights of the labels by their kind, and how rows become batches."""

    silence_weight: float = Field(0.4, ge=0, le=1000, description="Weight of a silence token in the loss.")
    turn_start_weight: float = Field(
        3.0,
        ge=0,
        le=1000,
        description="Weight of the token that starts a turn: its start token, or its first text token.",
    )
    turn_end_weight: float = Field(
        3.0, ge=0, le=1000, description="Weight of the token that ends a turn: its stop token, or the silence after it."
    )
    text_weight: float = Field(1.0, ge=0, le=1000, description="Weight of any other text token in the loss.")
    control_weight: float = Field(1.0, ge=0, le=1000, description="Weight of any other control token in the loss.")
    turn_boundaries: Literal["segments", "silences"] = Field(
        "segments",
        description="Where turns start and end: at segments, or at all silences, also those between words of a turn.",
    )
    packing: Annotated[bool, Flag("--packing")] = Field(
        False, description="Whether rows are joined to sequences of at most batch_tokens, in place of padded batches."
    )
    batch_tokens: Annotated[int, Flag("--batch-tokens", "N")] = Field(
        8192, ge=16, le=2**24, description="Largest number of tokens of a sequence of joined rows (packing)."
    )
    length_groups: bool = Field(
        True, description="Whether the rows of a padded batch have similar lengths, so that little is padded."
    )
    shuffle_sessions: int | None = Field(
        None,
        ge=0,
        le=MAX_COUNT,
        description="Number of consecutive sessions whose rows are mixed, 0 for all; not set is 4 at a URL, else all.",
    )
    workers: int = Field(2, ge=0, le=256, description="Processes of a device that read rows ahead; 0 reads in between.")
    talker: bool = Field(
        False,
        description="Whether the talker is trained too. Refused today: no data set can have the codes of its codec.",
    )
