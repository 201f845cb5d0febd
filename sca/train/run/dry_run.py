"""What a run would need, without reading a weight: parameters, memory and time for the machine at hand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sca.config import Settings
from sca.train.batches.order import BatchOrder
from sca.train.objective.kinds import Kind
from sca.train.objective.loss import kind_weights
from sca.train.objective.shares import LabelShares, label_shares
from sca.train.run.inputs import RunInputs, open_inputs

if TYPE_CHECKING:
    from sca.train.estimate.estimate import Estimate
    from sca.train.estimate.machine import Machine
    from sca.train.estimate.step import BatchShape

__all__ = ["DryRun", "dry_run"]


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a run would need.

    Attributes:
        shares: The labels of the rows.
        of_loss: The share of the loss that each kind of label has, by its weight.
        tokens: Tokens of all rows.
        fill: Share of the places of the batches that hold tokens.
        steps: Optimiser steps.
        estimate: What a device needs.
        machine: The machine at hand.
        train_s: Time of the steps on the machine at hand, computed.
    """

    shares: LabelShares
    of_loss: dict[Kind, float]
    tokens: int
    fill: float
    steps: int
    estimate: Estimate
    machine: Machine
    train_s: float

    @property
    def device_bytes(self) -> int:
        """Memory that a device of the machine needs, with weights divided among the devices if there are several."""
        return self.estimate.sharded_bytes(self.machine.devices)

    @property
    def fits(self) -> bool:
        """Whether the memory of a device that is free now suffices."""
        return self.device_bytes <= self.machine.free_bytes

    @property
    def tokens_per_s(self) -> float:
        """Tokens a second of all devices, computed."""
        return self.machine.devices / self.machine.seconds(self.estimate.flops_per_token)


def dry_run(data: str | Path, settings: Settings) -> DryRun:
    """Compute what a run would need.

    Args:
        data: The data set: a folder or a URL, see `sca.load`.
        settings: The settings of the run.

    Raises:
        ScaError: See `sca.train.run.run.train`; nothing is written, and no weights are read.
    """
    inputs = open_inputs(data, settings)
    from sca.train.estimate.machine import machine_at_hand

    train, rows = inputs.settings.train, inputs.rows.train
    machine = machine_at_hand(cpu=inputs.settings.qwen.device_map == "cpu")
    shares = label_shares(rows, train.turn_boundaries)
    order = BatchOrder(rows.lengths, rows.sessions, train, world=machine.devices)
    steps = train.max_steps or math.ceil(math.ceil(len(order) / train.accumulation) * train.epochs)
    found = _estimate(
        inputs, _shape(order, rows.lengths, shares, packed=train.packing), cuda=machine.name != "processor"
    )
    tokens = sum(rows.lengths)
    # The mean of all batches, not the longest, for which memory is computed. Packed sequences are not filled up.
    padded = 1 if train.packing else order.fill
    places = steps * train.accumulation * tokens / padded / (len(order) * machine.devices)
    train_s = machine.seconds(places * found.flops_per_token)
    of_loss = shares.weighted(kind_weights(train))
    return DryRun(shares, of_loss, tokens, order.fill, steps, found, machine, train_s)


def _shape(order: BatchOrder, lengths: list[int], shares: LabelShares, *, packed: bool) -> BatchShape:
    """Return the shape of the batch of the first epoch with the most tokens."""
    from sca.train.estimate.step import BatchShape

    shapes = []
    for batch in order:
        sizes = [lengths[row] for row in batch]
        shapes.append((1, sum(sizes)) if packed else (len(sizes), max(sizes)))
    sequences, tokens = max(shapes, key=lambda shape: shape[0] * shape[1])
    places = sequences * tokens
    labels = min(places, max(1, math.ceil(places * shares.labelled)))
    return BatchShape(sequences, tokens, labels, masked=packed or sequences > 1)


def _estimate(inputs: RunInputs, shape: BatchShape, *, cuda: bool) -> Estimate:
    import torch

    from sca.infer.engines.qwen_omni.loading.requirements import dtype_of
    from sca.train.estimate.estimate import estimate
    from sca.train.model.load import empty_thinker
    from sca.train.model.prepare import make_trainable

    train, qwen = inputs.settings.train, inputs.settings.qwen
    full = train.method == "full"
    wanted = dtype_of(inputs.config, qwen.torch_dtype)
    thinker = empty_thinker(inputs.config, torch.float32 if full else wanted)
    trained = make_trainable(thinker, inputs.tokenizer, inputs.config, inputs.settings, Path())
    return estimate(
        trained.learner,
        shape,
        optimizer=train.optimizer,
        checkpointing=train.gradient_checkpointing,
        autocast=full and wanted is torch.bfloat16,
        flash="flash" in (qwen.attn_implementation or ""),
        cuda=cuda,
    )
