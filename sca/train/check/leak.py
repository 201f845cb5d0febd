"""Whether a training batch contains the future: later audio must not change earlier logits, nor may another row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["Leak", "find_leak", "logits_of"]


_MIDDLES = (1.5, -0.5)
"""Log-mel values around which audio is mirrored. A leak shows with both; rounding, which in bfloat16 can send a token to another
expert, hits other places each time."""


@dataclass(frozen=True, slots=True)
class Leak:
    """How logits change when audio changes, relative to the largest logit.

    Attributes:
        before: The largest change of a logit before the changed audio; infinite if one is not finite.
        place: The first place with a change of more than `tolerance`; None without one.
        after: The largest change after it, which shows that the model hears at all.
    """

    before: float
    place: int | None
    after: float


def find_leak(
    learner: Module, batch: Mapping[str, Any], audio_id: int, chunks: tuple[int, int], tolerance: float
) -> tuple[Leak, Tensor]:
    """Change all audio of the first row, and that after the middle of the second row; measure the second row.

    In a packed sequence only a later row could hear an earlier one.

    Args:
        learner: The model as the training calls it.
        batch: Two rows, padded or packed.
        audio_id: Id of the audio tokens.
        chunks: Chunks of the first row and of the second.
        tolerance: Largest change that is rounding.

    Returns:
        The leak, and the logits of the second row, `(L, vocabulary)`.
    """
    import torch

    kept = chunks[1] // 2
    sequence, row = _place_of_second(batch)
    audio = (batch["input_ids"][sequence, row] == audio_id).nonzero().flatten()
    first = int(audio[kept * (len(audio) // chunks[1])])
    changes = [*range(chunks[0]), *range(chunks[0] + kept, sum(chunks))]
    logits = logits_of(learner, batch, sequence)[row]
    found = []
    for middle in _MIDDLES:
        features = batch["input_features"].clone()
        features[changes] = middle - features[changes]
        changed = logits_of(learner, {**batch, "input_features": features}, sequence)[row]
        found.append(((logits - changed).abs().amax(-1) / logits.abs().max()).nan_to_num(float("inf"), float("inf")))
    change = torch.stack(found).amin(0)
    beyond = (change[:first] > tolerance).nonzero().flatten()
    place = int(beyond[0]) if len(beyond) else None
    return Leak(float(change[:first].max()), place, float(change[first:].max())), logits


def _place_of_second(batch: Mapping[str, Any]) -> tuple[int, slice]:
    """Return the sequence of the second row of a batch, and its tokens there."""
    if "position_ids" in batch:  # packed: the positions begin again with each row
        return 0, slice(int((batch["position_ids"][0] == 0).nonzero()[-1]), None)
    return 1, slice(0, int(batch["attention_mask"][1].sum()))


def logits_of(learner: Module, batch: Mapping[str, Any], sequence: int) -> Tensor:
    """Return all logits of a sequence of a batch, float32 `(L, vocabulary)` on the CPU."""
    import torch

    with torch.no_grad():
        logits: Tensor = learner(**batch).logits[sequence]
    return logits.float().cpu()
