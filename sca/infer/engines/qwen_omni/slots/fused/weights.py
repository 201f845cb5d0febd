"""Linear modules with the same input as one product, and products that add to their result.

Modules with other kinds of weights (quantised ones) or with hooks are called one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["Joined", "add_product", "is_plain", "join"]


def is_plain(module: Module) -> bool:
    """Return whether a module only multiplies by its weight (and adds its bias): its weight may be read directly."""
    import torch
    from torch.utils._python_dispatch import is_traceable_wrapper_subclass

    weight = getattr(module, "weight", None)
    return (
        isinstance(weight, torch.nn.Parameter)
        and not is_traceable_wrapper_subclass(weight)  # such as the quantised weights of torchao
        and weight.dtype.is_floating_point
        and weight.dtype.itemsize > 1
        and (type(module) is torch.nn.Linear or type(module).__name__.endswith("TopKRouter"))
        and not hasattr(module, "_hf_hook")
    )


def join(modules: Sequence[Module]) -> Tensor:
    """Return the weights `(outputs, inputs)` of modules one below the other.

    The weights of the modules become views of the result, which replaces their memory. Modules that were joined before
    are not copied again.

    Args:
        modules: Plain modules with the same input; see `is_plain`.
    """
    import torch

    weights = [module.weight for module in modules]
    first, width = weights[0], weights[0].shape[1]
    rows = sum(len(weight) for weight in weights)
    if not _are_adjacent(weights):
        with torch.inference_mode(False), torch.no_grad():
            joined = torch.cat(weights)
            for module, part in zip(modules, joined.split([len(weight) for weight in weights]), strict=True):
                module.weight = torch.nn.Parameter(part, requires_grad=module.weight.requires_grad)
        first = modules[0].weight
    return first.detach().as_strided((rows, width), (width, 1))


def _are_adjacent(weights: Sequence[Tensor]) -> bool:
    """Return whether each weight begins where the one before it ends."""
    storage, at = weights[0].untyped_storage()._cdata, weights[0].storage_offset()
    for weight in weights:
        if not weight.is_contiguous() or weight.untyped_storage()._cdata != storage or weight.storage_offset() != at:
            return False
        at += weight.numel()
    return True


class Joined:
    """Several linear modules with the same input, as one product where their weights permit it."""

    def __init__(self, modules: Sequence[Module]) -> None:
        """Join the weights of the modules; see `join`.

        Args:
            modules: The modules.
        """
        import torch

        self._modules = modules
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None
        if all(is_plain(module) for module in modules):
            self.weight = join(modules)
            if any(module.bias is not None for module in modules):
                self.bias = torch.cat([_bias(module) for module in modules]).detach()

    def __call__(self, x: Tensor) -> Tensor:
        """Return the outputs of all modules, one after the other: `(..., outputs)`."""
        import torch

        if self.weight is None:
            return torch.cat([module(x) for module in self._modules], -1)
        return torch.nn.functional.linear(x, self.weight, self.bias)

    def into(self, out: Tensor, x: Tensor) -> Tensor:
        """Write the outputs for rows `(rows, inputs)` into `out`, `(rows, outputs)`, and return it."""
        import torch

        if self.weight is None or self.bias is not None:
            return out.copy_(self(x))
        return torch.mm(x, self.weight.t(), out=out)


def _bias(module: Module) -> Tensor:
    bias: Tensor | None = module.bias
    return module.weight.new_zeros(len(module.weight)) if bias is None else bias


def add_product(hidden: Tensor, module: Module, x: Tensor) -> None:
    """Add the output of a linear module to `hidden`, in one operation if it has no bias.

    Args:
        hidden: `(..., outputs)`, contiguous; it is changed.
        module: The module.
        x: Its input, `(..., inputs)`.
    """
    if is_plain(module) and module.bias is None:
        hidden.view(-1, hidden.shape[-1]).addmm_(x.reshape(-1, x.shape[-1]), module.weight.t())
    else:
        hidden.add_(module(x))
