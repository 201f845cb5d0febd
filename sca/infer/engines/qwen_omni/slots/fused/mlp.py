"""The multilayer perceptrons of the library, alone or as a mixture of experts, in few operations without a host wait.

A mixture uses the implementation that the library's `set_experts_implementation` selected: `grouped_mm` sorts the rows by
expert and reads each expert once, `batched_mm` reads the experts of each row. Others are left to the library.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sca.infer.engines.qwen_omni.slots.fused.weights import Joined, add_product, is_plain, join

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["GATHERED_BYTES", "AddMlp", "add_mlp_of", "rows_at_a_time"]

AddMlp = Callable[["Tensor", "Tensor"], None]
"""Adds the output for rows `(..., dim)`, the second argument, to the first one of the same shape."""

GATHERED_BYTES = 1_250_000_000
"""Most bytes of weights that `batched_mm` copies at a time: for 16 rows of the released thinker in bfloat16. A prompt of 128
rows would copy 9.7 GB."""


def rows_at_a_time(row_bytes: int) -> int:
    """Return how many rows `batched_mm` processes together.

    Args:
        row_bytes: Size of the weights of the experts of one row.
    """
    return max(1, GATHERED_BYTES // row_bytes)


def add_mlp_of(mlp: Module) -> AddMlp:
    """Return the fused form of an MLP of the library.

    Args:
        mlp: The module: gate, up and down projection, or a mixture of experts with or without a shared expert.
    """
    if not hasattr(mlp, "experts"):
        return GatedMlp(mlp)
    shared = getattr(mlp, "shared_expert", None)
    linear = [mlp.gate]
    if shared is not None:
        linear += [mlp.shared_expert_gate, shared.gate_proj, shared.up_proj, shared.down_proj]
    if not (all(is_plain(one) for one in linear) and _has_plain_experts(mlp.experts)):
        return _of_the_library(mlp)
    return Mixture(mlp)


def _of_the_library(mlp: Module) -> AddMlp:
    def add(hidden: Tensor, x: Tensor) -> None:
        hidden.add_(mlp(x[None])[0])

    return add


def _has_plain_experts(experts: Module) -> bool:
    weights = experts.gate_up_proj, experts.down_proj
    return experts.has_gate and not experts.has_bias and all(one.dtype.itemsize > 1 for one in weights)


class GatedMlp:
    """An MLP with a gate: `down(act(gate(x)) * up(x))`."""

    def __init__(self, mlp: Module) -> None:
        self._mlp = mlp
        self._gate_up = Joined([mlp.gate_proj, mlp.up_proj])

    def __call__(self, hidden: Tensor, x: Tensor) -> None:
        gate, up = self._gate_up(x).chunk(2, -1)
        add_product(hidden, self._mlp.down_proj, self._mlp.act_fn(gate).mul_(up))


class Mixture:
    """A mixture of experts. The router and the first part of the shared expert are one product."""

    def __init__(self, mlp: Module) -> None:
        """Join the weights.

        Args:
            mlp: The mixture of the library.
        """
        import torch

        self._mlp, self._experts, self._router = mlp, mlp.experts, mlp.gate
        self._shared = getattr(mlp, "shared_expert", None)
        self._many = int(self._router.num_experts)
        expert = sum(one[0].numel() * one.dtype.itemsize for one in (mlp.experts.gate_up_proj, mlp.experts.down_proj))
        self._rows = rows_at_a_time(self._router.top_k * expert)
        joined = [self._router]
        if self._shared is not None:
            joined = [self._shared.gate_proj, self._shared.up_proj, self._router]
        self._weight = join(joined)
        self._inner = 0 if self._shared is None else int(self._shared.gate_proj.out_features)
        self._ids = torch.arange(self._many, device=self._weight.device)

    def __call__(self, hidden: Tensor, x: Tensor) -> None:
        import torch

        selected = self._experts.config._experts_implementation
        grouped = selected == "grouped_mm" and hasattr(torch.nn.functional, "grouped_mm")
        if not grouped and selected != "batched_mm":
            hidden.add_(self._mlp(x[None])[0])
            return
        out = torch.nn.functional.linear(x, self._weight)
        inner = self._inner
        ids, weights = self._route(out[:, 2 * inner :])
        if grouped:
            self._add_grouped(hidden, x, ids, weights)
        else:
            for first in range(0, len(x), self._rows):
                part = slice(first, first + self._rows)
                self._add_batched(hidden[part], x[part], ids[part], weights[part])
        if self._shared is not None:
            gated: Tensor = self._shared.act_fn(out[:, :inner]).mul_(out[:, inner : 2 * inner])
            add_product(hidden, self._shared.down_proj, gated.mul_(self._mlp.shared_expert_gate(x).sigmoid_()))

    def _route(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return the experts of each row and their weights, both `(rows, k)`.

        The softmax over the selected ones equals the normalised part of the softmax over all. It is in float32 inside,
        for any dtype. In float64 it is that of the library, so that slots equal a session without slots.
        """
        import torch

        top = self._router.top_k
        if self._router.norm_topk_prob and logits.dtype is not torch.float64:
            best = logits.topk(top)
            return best.indices, best.values.softmax(-1)
        best = logits.softmax(-1, dtype=torch.float32).topk(top)
        weights = best.values
        if self._router.norm_topk_prob:
            weights = weights / weights.sum(-1, keepdim=True)
        return best.indices, weights.to(logits.dtype)

    def _add_grouped(self, hidden: Tensor, x: Tensor, ids: Tensor, weights: Tensor) -> None:
        import torch

        functional, top = torch.nn.functional, ids.shape[1]
        order = ids.flatten().sort()
        ends = torch.searchsorted(order.values, self._ids, right=True, out_int32=True)
        rows = x.index_select(0, order.indices // top)
        inner = self._gate(functional.grouped_mm(rows, self._experts.gate_up_proj.transpose(1, 2), offs=ends))
        sorted_out = functional.grouped_mm(inner, self._experts.down_proj.transpose(1, 2), offs=ends)
        out = torch.empty_like(sorted_out).index_copy_(0, order.indices, sorted_out)
        hidden[:, None].baddbmm_(weights[:, None], out.unflatten(0, (-1, top)))

    def _add_batched(self, hidden: Tensor, x: Tensor, ids: Tensor, weights: Tensor) -> None:
        import torch

        top, flat = ids.shape[1], ids.flatten()
        gate_up = self._experts.gate_up_proj.index_select(0, flat)
        wide = torch.bmm(gate_up.view(len(x), -1, x.shape[1]), x[..., None]).view(len(flat), -1)
        out = torch.bmm(self._experts.down_proj.index_select(0, flat), self._gate(wide)[..., None])
        hidden[:, None].baddbmm_(weights[:, None], out.view(len(x), top, -1))

    def _gate(self, gate_up: Tensor) -> Tensor:
        gate, up = gate_up.chunk(2, -1)
        gated: Tensor = self._experts.act_fn(gate).mul_(up)
        return gated
