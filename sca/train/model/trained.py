"""The model of a training run: the thinker, what the Trainer steps, and how it is saved."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sca.tokenizer import TextTokenizer
from sca.train.model.whole import WholeModel

if TYPE_CHECKING:
    from torch import Tensor, dtype
    from torch.nn import Module
    from transformers import PretrainedConfig

__all__ = ["TrainedModel"]


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A thinker with the weights that are trained.

    Attributes:
        thinker: The thinker. With LoRA its adapted modules are those of peft, so a forward pass includes the adapter.
        learner: What the Trainer gets: the peft model around the thinker, or the thinker itself.
        tokenizer: The tokenizer of the checkpoint.
        config: The configuration of the whole checkpoint; `config.thinker_config` is that of the thinker.
        whole: Writes whole models, for a thinker that is trained in full; None with LoRA.
        autocast: Number format in which float32 weights compute (`torch.autocast`); None for their own.
    """

    thinker: Module
    learner: Module
    tokenizer: TextTokenizer
    config: PretrainedConfig
    whole: WholeModel | None
    autocast: dtype | None = None

    @property
    def trainable(self) -> list[str]:
        """The full names of the parameters that are trained, in the order of the model."""
        return [name for name, weight in self.learner.named_parameters() if weight.requires_grad]

    @property
    def trainable_count(self) -> int:
        """The number of weights that are trained."""
        return sum(weight.numel() for weight in self.learner.parameters() if weight.requires_grad)

    @staticmethod
    def part_of(name: str) -> str:
        """Return the part of the model that a parameter belongs to: its name without the number of the layer.

        Args:
            name: The name of a parameter of `learner`.
        """
        plain = name.removeprefix("base_model.model.")
        for pattern in (r"\.lora_\w+.*", r"\.token_adapter\..*", r"\.base_layer"):
            plain = re.sub(pattern, "", plain)
        return re.sub(r"^.*layers\.\d+\.", "", plain)

    def save(self, folder: Path, weights: dict[str, Tensor] | None = None) -> None:
        """Save what was trained: the adapter, or the weights of the thinker.

        Args:
            folder: The folder, which is made if it does not exist.
            weights: The weights of `learner`, gathered from all processes; None to take them from it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if self.whole is not None:
            self.whole.save(self.thinker, folder, weights)
            return
        learner: Any = self.learner
        # The frozen weights of lm_head and of the embeddings would be saved with their adapters: 1.2 GB.
        learner.save_pretrained(folder, state_dict=weights, save_embedding_layers=False)
