"""The parts of an attention layer in few operations: norms, rotated heads, masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sca.infer.engines.qwen_omni.slots.fused.weights import Joined

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.nn import Module

__all__ = ["Heads", "Norm", "normalise", "row_mask", "turn", "turns"]


def normalise(x: Tensor, eps: float) -> Tensor:
    """Divide by the root mean square of the last dimension.

    In float64 the division is in float32, as in the library, so that slots equal a session without slots.
    """
    import torch

    wide = x.dtype is torch.float64
    normed = torch.nn.functional.rms_norm(x.float() if wide else x, x.shape[-1:], None, eps)
    return normed.to(x.dtype) if wide else normed


class Norm:
    """An RMS norm of the library."""

    def __init__(self, module: Module) -> None:
        self._module, self._eps = module, float(module.variance_epsilon)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the normed rows `(..., dim)`. In float64 the module itself is called; see `normalise`."""
        import torch

        if x.dtype is torch.float64:
            normed: Tensor = self._module(x)
            return normed
        return torch.nn.functional.rms_norm(x, x.shape[-1:], self._module.weight, self._eps)


def turns(rotary: Module, positions: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the rotations of positions as matrices of two by two, `(b, n, 1, 2, 2, dim / 2)`; see `turn`.

    Args:
        rotary: The rotary embedding of the library.
        positions: `(b, n)`. Three-row positions with equal rows need only one of them.
        dtype: The wanted dtype.
    """
    import torch

    angle = positions[..., None].float() * rotary.inv_freq.float()
    cos, sin = angle.cos() * rotary.attention_scaling, angle.sin() * rotary.attention_scaling
    matrix = torch.stack([cos, -sin, sin, cos], -2).to(dtype)
    return matrix.view(*positions.shape, 1, 2, 2, angle.shape[-1])


def turn(x: Tensor, matrix: Tensor, out: Tensor | None = None) -> Tensor:
    """Apply the rotary embedding to heads `(b, n, heads, dim)`: each half of a head is a sum over both halves."""
    import torch

    halves = x.unflatten(-1, (1, 2, -1)) * matrix
    if out is None:
        return halves.sum(-2).flatten(-2)
    torch.sum(halves, -2, out=out.unflatten(-1, (2, -1)))
    return out


class Heads:
    """The projections of an attention module with normed queries and keys.

    Attributes:
        queries: Number of query heads.
        keys: Number of key heads.
        scale: Factor of the scores.
        project: The projection to queries, keys and values.
        weights: The weights of the norms, `(queries + keys, dim)`.
        eps: The constant of the norms.
    """

    def __init__(self, part: Module) -> None:
        import torch

        self._dim = int(part.head_dim)
        self.project = Joined([part.q_proj, part.k_proj, part.v_proj])
        self.queries, self.keys = (int(one.out_features) // self._dim for one in (part.q_proj, part.k_proj))
        self.scale, self.eps = float(part.scaling), float(part.q_norm.variance_epsilon)
        norms = [part.q_norm.weight.expand(self.queries, -1), part.k_norm.weight.expand(self.keys, -1)]
        self.weights = torch.cat(norms).detach()

    def split(self, projected: Tensor) -> Tensor:
        """Return the output of `project` by heads, `(b, n, queries + 2 keys, dim)`."""
        return projected.unflatten(-1, (-1, self._dim))

    def __call__(self, hidden: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project hidden states `(b, n, dim)`.

        Args:
            hidden: The hidden states, after the norm of the layer.
            matrix: The rotations of the rows; see `turns`.

        Returns:
            Rotated queries, rotated keys and values, `(b, heads, n, dim)`.
        """
        heads = self.split(self.project(hidden))
        both = self.queries + self.keys
        # The norm covers the values too: it needs contiguous rows, so a part of them would be copied first.
        normed = normalise(heads, self.eps)[:, :, :both] * self.weights
        rotated = turn(normed, matrix).transpose(1, 2)
        return rotated[:, : self.queries], rotated[:, self.queries :], heads[:, :, both:].transpose(1, 2)


def row_mask(places: Tensor, span: int, group: int, dtype: torch.dtype) -> Tensor:
    """Return the mask of attention in which a row attends to the cells up to its own.

    It has the form that `attend` needs, so that it is made once for all layers.

    Args:
        places: The cell of each row, `(b, n)`.
        span: Number of cells.
        group: Number of query heads of a key head.
        dtype: The dtype of the queries.

    Returns:
        0 or minus infinity, `(b, 1, group · n, span)`.
    """
    import torch

    later = torch.arange(span, device=places.device) > places[..., None]
    mask = torch.zeros(later.shape, dtype=dtype, device=places.device).masked_fill_(later, float("-inf"))
    b, n = places.shape
    return mask[:, None, None].expand(b, 1, group, n, span).reshape(b, 1, group * n, span)
