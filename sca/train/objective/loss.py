"""The loss: cross entropy weighted by the kind of the label, divided by the sum of weights."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sca.config.sections.train.config import TrainConfig
from sca.train.objective.kinds import IGNORED, Kind

if TYPE_CHECKING:
    import torch
    from transformers.modeling_outputs import ModelOutput

__all__ = ["DuplexLoss", "kind_weights"]


def kind_weights(train: TrainConfig) -> dict[Kind, float]:
    """Return the weight of each kind of label."""
    return {
        Kind.SILENCE: train.silence_weight,
        Kind.TURN_START: train.turn_start_weight,
        Kind.TURN_END: train.turn_end_weight,
        Kind.TEXT: train.text_weight,
        Kind.CONTROL: train.control_weight,
    }


class DuplexLoss:
    """The `compute_loss_func` of transformers' `Trainer`, and a record of the loss of each kind for its log.

    With the labels y, their kinds k, the weights w and the model p, the loss of an optimiser step is

        sum_i w[k_i] * -log p(y_i) / sum_i w[k_i]

    over all labels of all batches and processes of the step. The divisor is what the `Trainer` passes as
    `num_items_in_batch`, if it counts items with `weight_sum`. So two accumulated batches of one row have the loss and
    the gradients of one batch of two rows.
    """

    def __init__(self, weights: Mapping[Kind, float]) -> None:
        """Create a loss.

        Args:
            weights: The weight of each kind, see `kind_weights`.
        """
        self._weights = [float(weights[kind]) for kind in Kind]
        self._sums: torch.Tensor | None = None  # float32 (2, kinds): sums of losses, and labels

    def __call__(
        self,
        outputs: "ModelOutput | Mapping[str, torch.Tensor]",
        labels: "torch.Tensor",
        num_items_in_batch: "torch.Tensor | float | None" = None,
    ) -> "torch.Tensor":
        """Return the loss of a batch.

        Args:
            outputs: The output of the model, with `logits`: float `(B, L, vocabulary)`, or `(N, vocabulary)` for the N
                labels of the batch in order (`logits_at_labels`).
            labels: int64 `(B, L, 2)`: the token or -100, and its `Kind`. Not shifted: the label of a place is
                predicted at the place before.
            num_items_in_batch: The divisor; None is the sum of weights of this batch.

        Returns:
            The loss, a float32 scalar. 0 for a batch without labels.
        """
        import torch
        from torch.nn.functional import cross_entropy

        logits: torch.Tensor = outputs["logits"]
        shifted = labels[:, 1:].to(logits.device)
        labelled = shifted[..., 0] != IGNORED
        tokens, kinds = shifted[labelled].unbind(-1)
        if logits.dim() == labels.dim():
            logits = logits[:, :-1][labelled]
        # float32, because the exponents of 150 000 logits are summed.
        losses = cross_entropy(logits.float(), tokens, reduction="none")
        self._record(losses.detach(), kinds)
        weights = torch.tensor(self._weights, device=logits.device)[kinds]
        divisor = weights.sum() if num_items_in_batch is None else num_items_in_batch
        if not isinstance(divisor, torch.Tensor):
            divisor = torch.tensor(float(divisor))
        return (losses * weights).sum() / divisor.to(losses).clamp(min=torch.finfo(losses.dtype).tiny)

    def weight_sum(self, labels: "torch.Tensor") -> "torch.Tensor":
        """Return the sum of the weights of a batch's labels, the part of the batch in `num_items_in_batch`.

        Args:
            labels: int64 `(B, L, 2)`, see `__call__`.

        Returns:
            A float32 scalar.
        """
        import torch

        shifted = labels[:, 1:]
        kinds = shifted[..., 1][shifted[..., 0] != IGNORED]
        return torch.tensor(self._weights, device=labels.device)[kinds].sum()

    def pop_by_kind(self) -> dict[str, float]:
        """Return the mean loss and the share of the labels of each kind since the last call.

        Where several processes train, all of them must call this together: their sums are added.

        Returns:
            `loss_KIND` and `share_KIND` for every kind that was among the labels; empty without labels.
        """
        if self._sums is None:
            return {}
        sums, self._sums = self._sums, None
        losses, counts = _over_processes(sums).tolist()
        total = sum(counts)
        found = {kind.name.lower(): (losses[kind], counts[kind]) for kind in Kind if counts[kind]}
        means = {f"loss_{name}": loss / count for name, (loss, count) in found.items()}
        return means | {f"share_{name}": count / total for name, (_, count) in found.items()}

    def _record(self, losses: "torch.Tensor", kinds: "torch.Tensor") -> None:
        """Add the losses of a batch, on their device, so that nothing waits for it."""
        import torch

        if self._sums is None:
            self._sums = torch.zeros(2, len(Kind), device=losses.device)
        self._sums[0].index_add_(0, kinds, losses)
        self._sums[1].index_add_(0, kinds, torch.ones_like(losses))


def _over_processes(sums: "torch.Tensor") -> "torch.Tensor":
    import torch.distributed as distributed

    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(sums)
    return sums
