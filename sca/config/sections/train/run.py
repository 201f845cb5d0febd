"""Settings of a training run: what is trained, with which optimiser, and what is stored."""

from typing import Annotated, Literal

from pydantic import Field

from sca.config.sections.base import MAX_COUNT, Flag, Section

__all__ = ["RunFields"]


class RunFields(Section):
    """What is trained, and how."""

    method: Annotated[Literal["lora", "full"], Flag("--method")] = Field(
        "lora", description="What is trained: lora (an adapter of the thinker) or full (the thinker's own weights)."
    )
    targets: Annotated[str, Flag("--targets", "PARTS")] = Field(
        "auto",
        pattern=r"^(auto|{part}(,{part})*)$".format(
            part="(attention|experts|router|norms|lm_head|embeddings|audio_tower)"
        ),
        description="Parts of the thinker that are trained, with commas between them: attention, experts, router, norms, lm_head, "
        "embeddings, audio_tower. auto: attention with lora; attention,experts,norms,lm_head with full.",
    )
    token_rows: bool = Field(
        False,
        description="With lora, train the rows of silence and the control tokens in the embeddings and in lm_head too.",
    )
    rank: Annotated[int, Flag("--rank", "N")] = Field(64, ge=1, le=4096, description="Rank of the LoRA adapter.")
    alpha: float = Field(
        128.0, gt=0, le=65536, description="Scale of the LoRA adapter; the update is scaled by alpha / rank."
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout of the LoRA adapter.")
    max_steps: Annotated[int, Flag("--max-steps", "N")] = Field(
        0, ge=0, le=100_000_000, description="Optimiser steps; 0 is set by epochs."
    )
    epochs: Annotated[float, Flag("--epochs", "N")] = Field(
        1.0, gt=0, le=100_000, description="Passes over the training rows."
    )
    learning_rate: Annotated[float, Flag("--learning-rate", "RATE")] = Field(
        1e-4, gt=0, le=10, description="Largest learning rate."
    )
    batch_size: Annotated[int, Flag("--batch-size", "N")] = Field(
        1, ge=1, le=MAX_COUNT, description="Rows in a batch of one device."
    )
    accumulation: int = Field(1, ge=1, le=MAX_COUNT, description="Batches of a device that make one optimiser step.")
    seed: int = Field(0, ge=0, lt=2**32, description="Random seed of the order of rows, dropout and new weights.")
