"""The section `train` of the settings."""

from sca.config.sections.train.evaluation import EvaluationFields
from sca.config.sections.train.loss import LossFields
from sca.config.sections.train.run import RunFields

__all__ = ["TrainConfig"]


class TrainConfig(EvaluationFields, LossFields, RunFields):
    """How a thinker is trained on rows of `sca build-duplex`."""
