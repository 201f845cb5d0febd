"""Settings of the loss and of the batches of a training run."""

from pydantic import Field

from sca.config.sections.base import Section

__all__ = ["LossFields"]


class LossFields(Section):
    """Weights of the labels by their kind."""

    silence_weight: float = Field(0.4, ge=0, le=1000, description="Weight of a silence token in the loss.")
