"""The memory and the operations of a training step, found by running it on tensors without memory.

The layers of the thinker, the head and the loss run forward and backward as in training, with adapters and gradient
checkpointing, on fake tensors: torch computes shapes and allocates nothing. So what is counted is what torch keeps, not
a formula for it. Not run are the audio tower, which keeps nothing while it is frozen, and the optimiser.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sca.textutil import counted

if TYPE_CHECKING:
    import torch
    from torch.nn import Module

__all__ = ["BatchShape", "StepWork", "step_work"]

_ATTENTION = "sca_counted"
"""The name under which the attention of the count is registered in transformers."""


@dataclass(frozen=True, slots=True)
class BatchShape:
    """The shape of a batch of one device.

    Attributes:
        sequences: Number of sequences.
        tokens: Tokens of a sequence, with padding.
        labels: Labels of all sequences.
        masked: Whether attention has a mask: of padding, or between packed rows.
    """

    sequences: int
    tokens: int
    labels: int
    masked: bool

    @property
    def places(self) -> int:
        """Tokens of all sequences."""
        return self.sequences * self.tokens

    def __str__(self) -> str:
        return f"{counted(self.sequences, 'sequence')} of {self.tokens} tokens"


@dataclass(frozen=True, slots=True)
class StepWork:
    """What a batch costs, forward and backward.

    Attributes:
        peak_bytes: Most memory beside the weights: kept activations, logits, and gradients.
        gradient_bytes: What is left of that afterwards: the gradients.
        flops: Operations, a multiplication and an addition are two.
    """

    peak_bytes: int
    gradient_bytes: int
    flops: int


def step_work(
    learner: "Module", shape: BatchShape, *, checkpointing: bool, autocast: bool = False, flash: bool = False
) -> StepWork:
    """Run a step without memory.

    Args:
        learner: The model to train, on the meta device: a thinker, or the peft model around one. Its weights are
            replaced, so it is of no other use afterwards.
        shape: The batch.
        checkpointing: Whether gradients are checkpointed.
        autocast: Whether float32 weights compute in bfloat16.
        flash: Whether attention is flash attention, which needs no mask for packed rows.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.nn.functional import cross_entropy

    from sca.train.estimate.counter import WorkCounter

    thinker: Any = _thinker_of(learner)
    learner.train()
    if checkpointing:
        thinker.gradient_checkpointing_enable({"use_reentrant": False})
    bfloat16 = torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext()
    with FakeTensorMode() as fakes, _attention(thinker, masked=shape.masked and not flash):
        _make_fake(learner, fakes)
        ids = torch.zeros(shape.sequences, shape.tokens, dtype=torch.int64)
        targets = torch.zeros(shape.labels, dtype=torch.int64)
        with WorkCounter([*learner.parameters(), *learner.buffers()]) as counter, bfloat16:
            states = thinker.model.language_model(
                inputs_embeds=thinker.get_input_embeddings()(ids),
                position_ids=torch.zeros(3, *ids.shape, dtype=torch.int64),
                use_cache=False,
            ).last_hidden_state
            # As in `DuplexLoss`, which selects the labels from values.
            logits = thinker.lm_head(states.reshape(shape.places, -1)[: shape.labels])
            loss = cross_entropy(logits.float(), targets, reduction="none").sum()
            del states, logits
            loss.backward()
            del loss
    return StepWork(counter.peak_bytes, _gradients(learner), counter.flops)


def _thinker_of(learner: Any) -> Any:
    return learner.get_base_model() if hasattr(learner, "get_base_model") else learner


def _gradients(learner: "Module") -> int:
    grads = [weight.grad for weight in learner.parameters()]
    return sum(grad.numel() * grad.itemsize for grad in grads if grad is not None)


def _make_fake(learner: "Module", fakes: Any) -> None:
    """Replace the weights on the meta device by fake ones of the CPU: not all operations accept the former."""
    import torch

    made: dict[int, torch.Tensor] = {}
    for module in learner.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                like = torch.empty(weight.shape, dtype=weight.dtype, device="cpu")
                made.setdefault(id(weight), torch.nn.Parameter(like, weight.requires_grad))
                module._parameters[name] = made[id(weight)]
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device="cpu")


@contextmanager
def _attention(thinker: Any, *, masked: bool) -> Iterator[None]:
    """Let a thinker use the kernels of a GPU for attention, which do not keep the scores of all pairs of tokens."""
    from transformers import AttentionInterface

    before = thinker.config.text_config._attn_implementation
    AttentionInterface.register(_ATTENTION, _masked_attention if masked else _flash_attention)
    thinker.set_attn_implementation({"text_config": _ATTENTION})
    try:
        yield
    finally:
        thinker.set_attn_implementation({"text_config": before})


def _flash_attention(
    module: "Module", query: "torch.Tensor", key: "torch.Tensor", value: "torch.Tensor", *_: Any, **more: Any
) -> "tuple[torch.Tensor, None]":
    import torch

    kernel: Any = torch.ops.aten._scaled_dot_product_flash_attention
    return kernel(query, key, value, 0.0, True, scale=more["scaling"])[0].transpose(1, 2).contiguous(), None


def _masked_attention(
    module: Any, query: "torch.Tensor", key: "torch.Tensor", value: "torch.Tensor", *_: Any, **more: Any
) -> "tuple[torch.Tensor, None]":
    """The kernel that torch uses for a mask on a GPU: the mask becomes a bias, and keys are repeated for all heads."""
    import torch

    groups, tokens = module.num_key_value_groups, query.shape[2]
    key, value = (torch.repeat_interleave(states, groups, dim=1) for states in (key, value))
    bias = query.new_zeros(query.shape[0], 1, tokens, tokens).expand(-1, query.shape[1], -1, -1)
    kernel: Any = torch.ops.aten._scaled_dot_product_efficient_attention
    return kernel(query, key, value, bias, True, scale=more["scaling"])[0].transpose(1, 2).contiguous(), None
