"""The code predictor of the talker: 15 steps per frame in caches that are allocated once.

The projections and rotations write into the caches directly, so that no step copies or concatenates. All steps attend
to all cells before them, so none needs a mask but the first, which has two rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sca.infer.engines.qwen_omni.slots.fused.attention import Heads, Norm, normalise, row_mask, turn, turns
from sca.infer.engines.qwen_omni.slots.fused.mlp import GatedMlp
from sca.infer.engines.qwen_omni.slots.fused.weights import add_product
from sca.infer.engines.qwen_omni.streaming.attention import attend

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["CodePredictor"]

Pick = Callable[["Tensor", "Tensor"], "Tensor"]  # logits (b, n), random numbers (b, 1) → the selected ids (b, 1)


class CodePredictor:
    """The code predictor of all slots."""

    def __init__(self, talker: Module, slots: int, pick: Pick) -> None:
        """Allocate the caches.

        Args:
            talker: The talker of the model.
            slots: Number of slots.
            pick: Selects ids from logits.
        """
        import torch

        predictor = talker.code_predictor.model
        self._books, self._pick = int(talker.config.num_code_groups), pick
        self._lm_heads, self._norm = talker.code_predictor.lm_head, Norm(predictor.norm)
        self._tables = [talker.get_input_embeddings().weight.detach()]
        self._tables += [one.weight.detach() for one in predictor.codec_embedding]
        table = self._tables[0]
        # The hidden state of the talker, then the embeddings of the codes.
        self._rows = table.new_zeros(self._books + 1, slots, table.shape[1])
        cells = torch.arange(self._books, device=table.device)[None]
        matrix = turns(predictor.rotary_emb, cells, table.dtype).transpose(0, 1)
        self._layers = [_Layer(block, matrix, slots) for block in predictor.layers]
        heads = self._layers[0].heads
        self._pair = row_mask(cells[:, :2], 2, heads.queries // heads.keys, table.dtype)

    def __call__(self, hidden: Tensor, first: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Predict all codes of a frame; see `predict_residuals`.

        Args:
            hidden: The hidden states of the talker, `(b, 1, dim)`.
            first: The first codes, `(b, 1)`.
            noise: Random numbers for the sampling, `(b, codebooks)`.

        Returns:
            The codes, `(b, codebooks)`, and the sum of their embeddings, `(b, 1, dim)`.
        """
        import torch

        b = len(hidden)
        rows = self._rows[:, :b]
        rows[0] = hidden[:, 0]
        self._embed(0, first, rows)
        codes = [first]
        for book in range(1, self._books):
            inputs = rows[:2] if book == 1 else rows[book : book + 1]
            logits = self._lm_heads[book - 1](self._last(inputs, book + 1 - len(inputs)))
            codes.append(self._pick(logits, noise[:, book : book + 1]))
            self._embed(book, codes[-1], rows)
        return torch.cat(codes, 1), rows[1:].sum(0)[:, None]

    def _embed(self, book: int, codes: Tensor, rows: Tensor) -> None:
        import torch

        torch.index_select(self._tables[book], 0, codes[:, 0], out=rows[book + 1])

    def _last(self, inputs: Tensor, cell: int) -> Tensor:
        """Run the layers over rows `(n, b, dim)` from `cell` on; return the normed output of the last one, `(b, dim)`."""
        import torch

        hidden = inputs.clone(memory_format=torch.contiguous_format)
        mask = self._pair if len(inputs) == 2 else None
        for layer in self._layers:
            layer(hidden, cell, mask)
        return self._norm(hidden[-1])


class _Layer:
    """A layer with its cells: the projections `(cells, slots, (queries + 2 keys) · dim)`, and rotated queries and keys."""

    def __init__(self, block: Module, matrix: Tensor, slots: int) -> None:
        self._norms = Norm(block.input_layernorm), Norm(block.post_attention_layernorm)
        self.heads, self._out, self._add_mlp = Heads(block.self_attn), block.self_attn.o_proj, GatedMlp(block.mlp)
        heads, dim = self.heads, int(block.self_attn.head_dim)
        both, cells = heads.queries + heads.keys, len(matrix)
        # The weights of the norms are part of the rotation.
        self._matrix = matrix * heads.weights.view(both, 1, 2, -1)
        self._projected = matrix.new_zeros(cells * slots, (both + heads.keys) * dim)
        self._rotated = matrix.new_zeros(cells * slots, both, dim)

    def __call__(self, hidden: Tensor, cell: int, mask: Tensor | None) -> None:
        """Add the output of the layer to rows.

        Args:
            hidden: The rows, `(n, b, dim)`; they are changed.
            cell: The cell of the first row.
            mask: The mask of the rows; see `attend`.
        """
        n, b, _ = hidden.shape
        heads, new, all_ = self.heads, slice(cell * b, (cell + n) * b), slice((cell + n) * b)
        both = heads.queries + heads.keys
        projected = heads.project.into(self._projected[new], self._norms[0](hidden).flatten(0, 1))
        normed = normalise(heads.split(projected), heads.eps)[:, :both].unflatten(0, (n, b))
        turn(normed, self._matrix[cell : cell + n], out=self._rotated[new].unflatten(0, (n, b)))
        rotated = self._rotated[all_].unflatten(0, (-1, b)).permute(1, 2, 0, 3)
        values = heads.split(self._projected[all_])[:, both:].unflatten(0, (-1, b)).permute(1, 2, 0, 3)
        query, keys = rotated[:, : heads.queries, cell:], rotated[:, heads.queries :]
        add_product(hidden, self._out, attend(query, keys, values, mask, heads.scale).transpose(0, 1))
        self._add_mlp(hidden, self._norms[1](hidden))
