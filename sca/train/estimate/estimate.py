"""Parameters, memory and operations of a training run on one device or sharded over several, without any weight."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sca.infer.engines.qwen_omni.loading.demand import CONTEXT_BYTES
from sca.train.estimate.step import BatchShape, step_work

if TYPE_CHECKING:
    from torch.nn import Module

__all__ = ["Estimate", "estimate", "optimizer_bytes"]

_MEL = (64, 16), (32, 8), (16, 4)
"""Height and width of the maps that the three convolutions of the audio tower make of a chunk of 128 bins and 32 frames."""
_AUDIO_TOKENS = 4
_KERNEL = 9
_LAYER_PREFIX = "model.language_model.layers."


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a training run needs on one device.

    Attributes:
        parameters: Parameters of the thinker with its adapter.
        trainable: Those that are trained.
        shape: The batch.
        weight_bytes: The weights.
        optimizer_bytes: The state of the optimiser.
        gradient_bytes: The gradients.
        activation_bytes: Most that the activations and logits of a batch need beside the gradients.
        context_bytes: The context and the kernels of CUDA; 0 on a CPU.
        flops: Operations of a batch, forward and backward.
        layer_bytes: The weights of the largest layer.
        root_bytes: The weights outside the layers.
    """

    parameters: int
    trainable: int
    shape: BatchShape
    weight_bytes: int
    optimizer_bytes: int
    gradient_bytes: int
    activation_bytes: int
    context_bytes: int
    flops: int
    layer_bytes: int
    root_bytes: int

    @property
    def total_bytes(self) -> int:
        """Memory of a device that holds all weights."""
        kept = self.weight_bytes + self.optimizer_bytes + self.gradient_bytes
        return kept + self.activation_bytes + self.context_bytes

    @property
    def flops_per_token(self) -> float:
        """Operations for each token of a batch, with its padding."""
        return self.flops / self.shape.places

    def sharded_bytes(self, devices: int) -> int:
        """Return the memory of each of several devices with FSDP.

        Weights, gradients and the state of the optimiser are divided; the layer that computes, the next one, and what
        is outside the layers are whole.

        Args:
            devices: Number of devices.
        """
        if devices == 1:
            return self.total_bytes
        divided = (self.weight_bytes + self.optimizer_bytes + self.gradient_bytes) / devices
        return int(divided) + 2 * self.layer_bytes + self.root_bytes + self.activation_bytes + self.context_bytes


def estimate(
    learner: "Module",
    shape: BatchShape,
    *,
    optimizer: str,
    checkpointing: bool,
    autocast: bool = False,
    flash: bool = False,
    cuda: bool = True,
) -> Estimate:
    """Estimate what a training run needs.

    Not counted are an audio tower that is trained, temporary tensors inside an operation, and memory that the allocator
    cannot use; a few percent together while the tower is frozen.

    Args:
        learner: The model to train on the meta device, with the dtypes of training; of no use afterwards.
        shape: The batch of a device.
        optimizer: The optimiser, by its name in transformers.
        checkpointing: Whether gradients are checkpointed.
        autocast: Whether float32 weights compute in bfloat16.
        flash: Whether attention is flash attention.
        cuda: Whether the devices are GPUs.
    """
    base: Any = learner.get_base_model() if hasattr(learner, "get_base_model") else learner
    audio = base.config.audio_config
    tower = _tower_flops(base.model.audio_tower, audio.downsample_hidden_size, shape)
    sizes = {name: (weight.numel(), weight.itemsize, weight.requires_grad) for name, weight in base.named_parameters()}
    layers: dict[str, int] = {}
    for name, (count, size, _) in sizes.items():
        if name.startswith(_LAYER_PREFIX):
            number = name.removeprefix(_LAYER_PREFIX).partition(".")[0]
            layers[number] = layers.get(number, 0) + count * size
    trained = [(count, size) for count, size, trainable in sizes.values() if trainable]
    weight_bytes = sum(count * size for count, size, _ in sizes.values())
    work = step_work(learner, shape, checkpointing=checkpointing, autocast=autocast, flash=flash)
    return Estimate(
        parameters=sum(count for count, _, _ in sizes.values()),
        trainable=sum(count for count, _ in trained),
        shape=shape,
        weight_bytes=weight_bytes,
        optimizer_bytes=optimizer_bytes(optimizer, trained),
        gradient_bytes=work.gradient_bytes,
        activation_bytes=work.peak_bytes - work.gradient_bytes,
        context_bytes=CONTEXT_BYTES if cuda else 0,
        flops=work.flops + tower,
        layer_bytes=max(layers.values()),
        root_bytes=weight_bytes - sum(layers.values()),
    )


def optimizer_bytes(optimizer: str, trained: list[tuple[int, int]]) -> int:
    """Return the size of the state of an optimiser.

    Args:
        optimizer: Its name in transformers.
        trained: Number of weights, and the bytes of one, of each parameter that is trained.
    """
    if "8bit" in optimizer:
        return 2 * sum(count for count, _ in trained)
    if optimizer in ("sgd", "adafactor"):  # adafactor keeps rows and columns of the second moment
        return 0
    return 2 * sum(count * size for count, size in trained)  # both moments of Adam


def _tower_flops(tower: "Module", channels: int, shape: BatchShape) -> int:
    """Return the operations of the audio tower, which is run forward only. A chunk has at least five tokens."""
    linear = sum(weight.numel() for name, weight in tower.named_parameters() if "conv2d" not in name)
    maps = [height * width for height, width in _MEL]
    convolutions = _KERNEL * channels * (maps[0] + channels * (maps[1] + maps[2]))
    per_chunk = 2 * (_AUDIO_TOKENS * linear + convolutions)
    return int(per_chunk * (shape.places // (_AUDIO_TOKENS + 1)))
