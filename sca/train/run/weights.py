"""The weights of a run: read from the model, and made trainable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sca.data.runs.owner import TRAIN
from sca.train.run.inputs import RunInputs

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from sca.train.model.trained import TrainedModel

__all__ = ["load_trained"]


def load_trained(inputs: RunInputs, arguments: TrainingArguments, start: Path | None = None) -> TrainedModel:
    """Load the weights of a model, and make it trainable.

    Args:
        inputs: The settings, and the configuration of the model.
        arguments: The arguments of the Trainer, for the device.
        start: The checkpoint that the run continues from. The weights of an adapter are left to the Trainer.
    """
    import torch

    from sca.infer.engines.qwen_omni.loading.requirements import dtype_of
    from sca.train.model.load import load_thinker
    from sca.train.model.prepare import make_trainable

    train, qwen = inputs.settings.train, inputs.settings.qwen
    torch.manual_seed(train.seed)  # of the new weights of an adapter
    dtype = torch.float32 if train.method == "full" else dtype_of(inputs.config, qwen.torch_dtype)
    # Several processes may divide the weights, so the Trainer places them.
    device = arguments.device if arguments.world_size == 1 else None
    source = qwen if start is None or train.method == "lora" else qwen.model_copy(update={"model_id": str(start)})
    thinker = load_thinker(source, inputs.config, dtype, device)
    thinker.config.use_cache = False
    cache = Path(arguments.output_dir) / TRAIN.marker.parent
    return make_trainable(
        thinker,
        inputs.tokenizer,
        inputs.config,
        inputs.settings,
        cache,
        autocast=torch.bfloat16 if arguments.bf16 else None,
    )
