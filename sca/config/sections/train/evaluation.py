"""Settings of the evaluation while a model is trained."""

from typing import Annotated, Literal

from pydantic import Field

from sca.config.sections.base import MAX_COUNT, Flag, Section

__all__ = ["EvaluationFields"]


class EvaluationFields(Section):
    """When and on what the model is evaluated."""

    eval_every: Annotated[int, Flag("--eval-every", "N")] = Field(
        500, ge=0, le=100_000_000, description="Optimiser steps between two evaluations on validation rows; 0 is never."
    )
    eval_rows: int = Field(32, ge=1, le=MAX_COUNT, description="Largest number of validation rows of an evaluation.")
    eval_split: Literal["validation", "train"] = Field(
        "validation",
        description="Split of the rows of the evaluation. train shows whether the model replays what it was trained on, "
        "not whether it has learned to converse.",
    )
    eval_minutes: float = Field(
        5.0,
        gt=0,
        le=1440,
        description="Largest duration of the free-running part of an evaluation, in minutes; rows that do not fit are left "
        "out.",
    )
    eval_tolerance_chunks: int = Field(
        2, ge=0, le=100, description="Largest distance of two matching onsets of speech, in chunks of 0.32 s."
    )
    eval_samples: int = Field(
        2, ge=0, le=1000, description="Conversations of an evaluation that are written as sound and page; 0 is none."
    )
    eval_samples_kept: int = Field(3, ge=1, le=MAX_COUNT, description="Evaluations whose conversations are kept.")
    stop_when_stuck: int = Field(
        0,
        ge=0,
        le=MAX_COUNT,
        description="Successive evaluations with the same alarm (stuck silent, stuck talking) that end the training; 0 "
        "never does.",
    )
    check: bool = Field(
        True,
        description="Before the first step, check that later audio changes no earlier logit, and that live logits are those "
        "of the training.",
    )
