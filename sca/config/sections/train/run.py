"""Settings of a training run: what is trained, with which optimiser, and what is stored."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from sca.config.sections.base import MAX_COUNT, Flag, Section, as_path

__all__ = ["RunFields"]


class RunFields(Section):
    """What is trained, and how."""

    method: Annotated[Literal["lora", "full"], Flag("--method")] = Field(
        "lora", description="What is trained: lora (an adapter of the thinker) or full (the thinker's own weights)."
    )
    targets: Annotated[str, Flag("--targets", "PARTS")] = Field(
        "auto",
        pattern=r"^[a-z_]+(,[a-z_]+)*$",
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
    adapter: str | None = Field(
        None,
        min_length=1,
        description="Folder of a LoRA adapter that the training starts from, with its rank and targets.",
    )
    max_steps: Annotated[int, Flag("--max-steps", "N")] = Field(
        0, ge=0, le=100_000_000, description="Optimiser steps; 0 is set by epochs."
    )
    epochs: Annotated[float, Flag("--epochs", "N")] = Field(
        1.0, gt=0, le=100_000, description="Passes over the training rows."
    )
    learning_rate: Annotated[float, Flag("--learning-rate", "RATE")] = Field(
        1e-4, gt=0, le=10, description="Largest learning rate."
    )
    warmup: float = Field(
        0.03,
        ge=0,
        le=100_000_000,
        description="Steps in which the learning rate rises from 0: their share of all steps below 1, else their number.",
    )
    scheduler: str = Field(
        "cosine",
        pattern=r"^[a-z_]+$",
        description="How the learning rate falls, by the names of transformers: cosine, linear, constant_with_warmup and others.",
    )
    optimizer: str = Field(
        "adamw_torch",
        pattern=r"^[a-z0-9_]+$",
        description="The optimiser, by the names of transformers: adamw_torch, adafactor, adamw_bnb_8bit and others.",
    )
    weight_decay: float = Field(0.0, ge=0, le=10, description="Weight decay of the optimiser.")
    max_grad_norm: float = Field(
        1.0, ge=0, le=1e9, description="Norm to which larger gradients are scaled down; 0 never scales them."
    )
    batch_size: Annotated[int, Flag("--batch-size", "N")] = Field(
        1, ge=1, le=MAX_COUNT, description="Rows in a batch of one device."
    )
    accumulation: int = Field(1, ge=1, le=MAX_COUNT, description="Batches of a device that make one optimiser step.")
    gradient_checkpointing: bool = Field(
        True,
        description="Compute activations again in the backward pass, for a third more work and a fraction of the memory.",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Random seed of the order of rows, dropout and new weights.")
    save_every: Annotated[int, Flag("--save-every", "N")] = Field(
        500, ge=0, le=100_000_000, description="Optimiser steps between two checkpoints; 0 saves only at the end."
    )
    keep: int = Field(
        3,
        ge=1,
        le=MAX_COUNT,
        description="Newest checkpoints that are kept. The best one is kept beside them, in best.",
    )
    log_every: int = Field(10, ge=1, le=100_000_000, description="Optimiser steps between two lines of the log.")
    trackers: str = Field(
        "none",
        pattern=r"^(none|{one}(,{one})*)$".format(one="(tensorboard|wandb|mlflow)"),
        description="Where the log is sent too, with commas between them: tensorboard, wandb, mlflow; or none.",
    )
    deepspeed: Annotated[Path | None, BeforeValidator(as_path)] = Field(
        None,
        description="Configuration of DeepSpeed, a JSON file of your own, for several GPUs. Needs the package deepspeed.",
    )
