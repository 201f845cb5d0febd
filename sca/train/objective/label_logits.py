"""Logits only where a label is predicted: the vocabulary has 152064 tokens, and three of four places have no label."""

from typing import TYPE_CHECKING, Any

from sca.train.objective.kinds import IGNORED

if TYPE_CHECKING:
    import torch
    from torch.nn import Module

__all__ = ["LABELLED", "LogitsAtLabels", "labelled_places", "logits_at_labels"]

LABELLED = "predicts_label"
"""The argument of the model that holds the places: bool `(B, L)`."""


def labelled_places(labels: "torch.Tensor") -> "torch.Tensor":
    """Return the places at which a label is predicted: those before the labels.

    Args:
        labels: int64 `(B, L, 2)`: the token or -100, and its kind.

    Returns:
        bool `(B, L)`.
    """
    import torch

    return torch.nn.functional.pad(labels[:, 1:, 0] != IGNORED, (0, 1))


def logits_at_labels(thinker: "Module") -> "LogitsAtLabels":
    """Make a thinker compute logits only at labelled places, if its arguments contain `LABELLED`.

    Its logits are then float `(N, vocabulary)` for the N places in order. Calls without that argument, such as those of
    an evaluation, return all logits.

    The thinker of transformers has no `logits_to_keep`, so its last hidden states are reduced where its inner model
    returns them. Hooks of the thinker itself would not run: peft calls its `forward` directly. As nothing of the head is
    touched, adapters of the head may be added before or after.

    Args:
        thinker: A `Qwen3OmniMoeThinkerForConditionalGeneration`, with or without adapters.

    Returns:
        The hooks, to remove them.
    """
    inner = thinker.get_submodule("model")
    hooks = LogitsAtLabels()
    hooks.handles = [
        inner.register_forward_pre_hook(hooks.take_places, with_kwargs=True),
        inner.register_forward_hook(hooks.reduce),
    ]
    return hooks


class LogitsAtLabels:
    """The hooks of `logits_at_labels`.

    Attributes:
        handles: What removes the hooks.
    """

    def __init__(self) -> None:
        self.handles: list[Any] = []
        self._places: torch.Tensor | None = None

    def take_places(
        self, module: "Module", args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Take the places out of the arguments of the inner model, which does not know them."""
        self._places = kwargs.pop(LABELLED, None)
        return args, kwargs

    def reduce(self, module: "Module", args: tuple[Any, ...], output: Any) -> Any:
        """Keep the last hidden states of the places, `(N, hidden)`."""
        places, self._places = self._places, None
        if places is None:
            return output
        output["last_hidden_state"] = output[0][places]
        return output

    def remove(self) -> None:
        """Remove the hooks."""
        for handle in self.handles:
            handle.remove()
