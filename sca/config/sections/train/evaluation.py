"""Settings of the evaluation while a model is trained."""

from typing import Annotated

from pydantic import Field

from sca.config.sections.base import MAX_COUNT, Flag, Section

__all__ = ["EvaluationFields"]


class EvaluationFields(Section):
    """When and on what the model is evaluated."""

    eval_every: Annotated[int, Flag("--eval-every", "N")] = Field(
        500, ge=0, le=100_000_000, description="Optimiser steps between two evaluations on validation rows; 0 is never."
    )
    eval_rows: int = Field(32, ge=1, le=MAX_COUNT, description="Largest number of validation rows of an evaluation.")
