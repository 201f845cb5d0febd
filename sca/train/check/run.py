"""`sca train --check`: before the first step, on the very model, adapter and attention kernel that are trained."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from sca.data.duplex.load.dataset import DuplexRow
from sca.errors import ConfigError
from sca.infer.engines.qwen_omni.loading.self_check import check_audio_tower
from sca.train.check.leak import Leak, find_leak
from sca.train.check.live_logits import answer_places, live_logits
from sca.train.check.sample import two_pieces
from sca.train.evaluation.evaluate import Evaluated
from sca.train.evaluation.live import undisturbed
from sca.train.evaluation.teacher import Collate
from sca.train.objective.label_logits import LABELLED

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["TOLERANCES", "CheckResult", "check_training"]

TOLERANCES = {"float64": 1e-9, "float32": 1e-4, "float16": 1e-2, "bfloat16": 4e-2}
"""Largest difference of two logits that is rounding, relative to the largest logit: the same sums in another order.

Measured on random models of 4 to 32 layers, for nine of ten tokens: 6e-7 in float32, 7e-3 to 3e-2 in bfloat16; with wrong
positions 8e-2 to 0.3.
"""
_COMPARED = {"float16": 0.9, "bfloat16": 0.9}
"""Share of the tokens that must be within the tolerance, where it is not all: there rounding can send a token to another expert,
which has changed single tokens by 0.14."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check measured, relative to the largest logit.

    Attributes:
        leak: The largest change of a logit when only later audio and another row change.
        heard: The largest change of a logit after the changed audio.
        live: The largest difference of a logit of the live loop from that of the training; in bfloat16 and float16, of nine
            of ten tokens.
        tolerance: The largest difference that is rounding, for the number format of the model.
        tokens: Tokens whose logits were compared.
        chunks: Chunks of the row.
        seconds: The duration.
    """

    leak: float
    heard: float
    live: float
    tolerance: float
    tokens: int
    chunks: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"check: later audio changes earlier logits by {self.leak:.1g}, live logits differ from those of the training by "
            f"{self.live:.1g} (tolerance {self.tolerance:.1g}; {self.tokens} tokens in {self.chunks} chunks, "
            f"{self.seconds:.1f} s)"
        )


def check_training(trained: Evaluated, rows: Iterable[DuplexRow], collate: Collate, kernel: str) -> CheckResult:
    """Check that a batch does not contain the future, and that the live loop computes the logits of the training.

    Args:
        trained: The model.
        rows: Some rows of the data set.
        collate: Makes the batches of the training.
        kernel: The attention kernel, for messages.

    Returns:
        What was measured.

    Raises:
        ConfigError: The model fails; the message names what differs, and where.
        InputError: The rows have no text.
    """
    begun = time.monotonic()
    row, other = two_pieces(rows)
    batch = _batch(collate, (other, row), trained.thinker)
    computed = trained.autocast or trained.thinker.get_input_embeddings().weight.dtype
    dtype = str(computed).removeprefix("torch.")
    tolerance = TOLERANCES[dtype]
    with undisturbed(trained.learner, trained.autocast):
        check_audio_tower(SimpleNamespace(thinker=trained.thinker, config=trained.config), kernel)
        audio_id = trained.config.thinker_config.audio_token_id
        chunks = len(other.heard), len(row.heard)
        leak, logits = find_leak(trained.learner, batch, audio_id, chunks, tolerance)
        _judge_leak(leak, row, tolerance, f"the attention kernel {kernel} in {dtype}")
        places = answer_places(row)
        live = _difference(logits[[place for place, _, _ in places]], live_logits(trained.thinker, row))
    share = _COMPARED.get(dtype, 1.0)
    _judge_live(live, places, (tolerance, share), f"the attention kernel {kernel} in {dtype}")
    return CheckResult(
        leak=leak.before,
        heard=leak.after,
        live=float(live.quantile(share)),
        tolerance=tolerance,
        tokens=len(places),
        chunks=len(row.heard),
        seconds=round(time.monotonic() - begun, 3),
    )


def _batch(collate: Collate, rows: Sequence[DuplexRow], thinker: Module) -> dict[str, Any]:
    """Return the arguments of the model for a batch, without labels."""
    device = next(thinker.parameters()).device
    batch = {name: value for name, value in collate(rows).items() if name not in ("labels", LABELLED)}
    return {name: value.to(device) if hasattr(value, "to") else value for name, value in batch.items()}


def _difference(trained: Tensor, live: Tensor) -> Tensor:
    """Return the largest difference of each token's logits, relative to the largest logit."""
    difference = (trained - live).abs().amax(-1) / trained.abs().max()
    return difference.nan_to_num(float("inf"), float("inf"))


def _judge_leak(leak: Leak, row: DuplexRow, tolerance: float, where: str) -> None:
    if leak.place is not None:
        raise ConfigError(
            f"the training hears the future with {where}: when only later audio or another row of the batch changes, the "
            f"logits at token {leak.place} of a piece of {row.row_id} change by {leak.before:.1g} of the largest (at most "
            f"{tolerance:.1g} is rounding)",
            hint="set qwen.attn_implementation to sdpa, and train.packing to false; the audio tower itself passed its check",
        )
    if leak.after <= leak.before or leak.after < tolerance / 100:
        raise ConfigError(
            f"the model does not hear with {where}: other audio changes the logits after it by {leak.after:.1g} of the largest",
            hint="the audio tower or its weights are broken; compare with the original checkpoint",
        )


def _judge_live(live: Tensor, places: Sequence[tuple[int, int, int]], allowed: tuple[float, float], where: str) -> None:
    tolerance, share = allowed
    if float(live.quantile(share)) <= tolerance:
        return
    first = int((live > tolerance).nonzero()[0])
    _, chunk, k = places[first]
    after = "its audio" if k == 0 else f"token {k} of its answer"
    raise ConfigError(
        f"the live loop computes other logits than the training with {where}: they differ first in chunk {chunk}, after "
        f"{after}, by {float(live[first]):.1g} of the largest, and by at most {float(live.max()):.1g} (at most "
        f"{tolerance:.1g} is rounding)",
        hint="what is learned would not be heard in sca live: use another attention kernel or version of transformers",
    )
