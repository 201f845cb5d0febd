"""Evaluation against the row's own tokens: the model predicts each token from the row's tokens before it.

What is counted are sums, so that rows of several processes can be added.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sca.data.duplex.load.dataset import DuplexRow
from sca.tokenizer import TextTokenizer
from sca.train.evaluation.runs import matched_onsets, runs_of
from sca.train.evaluation.turns import ratio
from sca.train.objective.kinds import IGNORED, Kind
from sca.train.objective.label_logits import logits_at_labels

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["Collate", "teacher_forced", "teacher_metrics", "token_class"]

Collate = Callable[[Sequence[DuplexRow]], Mapping[str, Any]]
"""Makes a batch of rows, see `sca.train.batches.collate.TrainCollator`."""

_ONSET_TOLERANCE = 1
"""Largest distance of a predicted onset from that of the row, in chunks."""


def teacher_forced(
    learner: Module, thinker: Module, row: DuplexRow, collate: Collate, tokenizer: TextTokenizer
) -> Counter[str]:
    """Return the sums of one row.

    Args:
        learner: The model as the training calls it.
        thinker: The thinker inside it.
        row: The row.
        collate: Makes a batch of it.
        tokenizer: The tokenizer of the model.
    """
    import torch

    batch = dict(collate([row]))
    labels = batch.pop("labels")
    device = next(thinker.parameters()).device
    hooks = logits_at_labels(thinker)
    try:
        # Not inference_mode: modules may keep tensors of a call, which the training could not use then.
        with torch.no_grad():
            given = {name: value.to(device) if hasattr(value, "to") else value for name, value in batch.items()}
            logits = learner(**given).logits
    finally:
        hooks.remove()
    tokens, kinds = labels[0, 1:][labels[0, 1:, 0] != IGNORED].unbind(-1)
    logits = logits.reshape(-1, logits.shape[-1]).float().cpu()
    losses = torch.nn.functional.cross_entropy(logits, tokens, reduction="none")
    found = _losses(losses, tokens, kinds, tokenizer)
    found.update(_decisions(row, labels[0, :, 0], logits.argmax(-1)))
    return found


def _losses(losses: Tensor, tokens: Tensor, kinds: Tensor, tokenizer: TextTokenizer) -> Counter[str]:
    """Return sums of losses and counts, by kind of the label and by class of text tokens."""
    found: Counter[str] = Counter()
    for loss, token, kind in zip(losses.tolist(), tokens.tolist(), kinds.tolist(), strict=True):
        names = [f"kind/{Kind(kind).name.lower()}"]
        if token not in tokenizer.special_ids:
            names.append(f"text/{token_class(tokenizer.decode([token]))}")
        for name in names:
            found[f"loss/{name}"] += loss
            found[f"count/{name}"] += 1
    return found


def token_class(text: str) -> str:
    """Return the class of a text token: `word_start`, `word_part`, or `mark` without letters and digits."""
    if not any(character.isalnum() for character in text):
        return "mark"
    return "word_start" if text[:1].isspace() else "word_part"


def _decisions(row: DuplexRow, labels: Tensor, likely: Tensor) -> Counter[str]:
    """Return how often silence is predicted at the first token of a chunk, and which onsets are.

    Args:
        row: The row.
        labels: int64 `(L,)` of the row.
        likely: The most likely token of each label.
    """
    labelled = np.flatnonzero(labels.numpy()[: len(row.input_ids)] != IGNORED)
    audio = row.input_ids == row.placeholder
    first = audio[labelled - 1]
    chunk = (np.cumsum(audio)[labelled[first]] - 1) // max(1, int(audio.sum()) // len(row.heard))
    wanted, said = np.ones((2, len(row.heard)), np.bool_)  # silent, where there is no label
    wanted[chunk] = row.input_ids[labelled[first]] == row.silence_id
    said[chunk] = likely.numpy()[: len(labelled)][first] == row.silence_id
    known = np.zeros(len(row.heard), np.bool_)
    known[chunk] = True
    own, model = (runs_of(~one) for one in (wanted, said))
    return Counter(
        silence_both=int((wanted & said & known).sum()),
        silence_said=int((said & known).sum()),
        silence_wanted=int((wanted & known).sum()),
        forced_onsets_matched=len(matched_onsets(model, own, _ONSET_TOLERANCE)),
        forced_onsets_said=len(model),
        forced_onsets_wanted=len(own),
    )


def teacher_metrics(sums: Counter[str], weights: Mapping[Kind, float]) -> dict[str, float]:
    """Return the metrics of all rows. A metric without any case is left out.

    Args:
        sums: The sum of what `teacher_forced` returned.
        weights: The weight of each kind in the loss.
    """
    kinds = {kind: f"kind/{kind.name.lower()}" for kind in Kind}
    total = sum(weights[kind] * sums[f"loss/{name}"] for kind, name in kinds.items())
    weight = sum(weights[kind] * sums[f"count/{name}"] for kind, name in kinds.items())
    found = {"loss": ratio(total, weight)}
    for name in sorted(name.removeprefix("count/") for name in sums if name.startswith("count/")):
        prefix, _, one = name.partition("/")
        label = f"loss_{one}" if prefix == "kind" else f"text_loss_{one}"
        found[label] = ratio(sums[f"loss/{name}"], sums[f"count/{name}"])
    onsets = [sums[f"forced_onsets_{name}"] for name in ("matched", "said", "wanted")]
    found |= {
        "silence_precision": ratio(sums["silence_both"], sums["silence_said"]),
        "silence_recall": ratio(sums["silence_both"], sums["silence_wanted"]),
        "forced_onset_precision": ratio(onsets[0], onsets[1]),
        "forced_onset_recall": ratio(onsets[0], onsets[2]),
    }
    return {name: value for name, value in found.items() if value is not None}
