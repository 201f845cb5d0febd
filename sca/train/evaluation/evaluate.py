"""One evaluation of a model in training: teacher-forced and free-running, over rows that are shared among processes."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from sca.audio.vad import shared_vad
from sca.config import Settings
from sca.control_tokens import Grammar, control_tokens_of
from sca.data.duplex.load.dataset import DuplexRow
from sca.errors import ScaError
from sca.infer.eval.turn_metrics import TurnMetrics
from sca.tokenizer import TextTokenizer
from sca.train.evaluation.alarms import Alarm, alarm_of
from sca.train.evaluation.live import SilentOmni, free_run, undisturbed
from sca.train.evaluation.runs import answers_of, labelled_chunks, talks_in
from sca.train.evaluation.samples import Sample, keep_last, step_folder, write_sample
from sca.train.evaluation.teacher import Collate, teacher_forced, teacher_metrics
from sca.train.evaluation.turns import RowTurns, heard_speech, measure_turns, turn_metrics
from sca.train.objective.loss import kind_weights

if TYPE_CHECKING:
    from torch import dtype
    from torch.nn import Module

__all__ = ["Evaluated", "Evaluation", "Evaluator", "Rows", "headline", "is_sharded", "spread"]

log = logging.getLogger(__name__)

_ITEMS = ("turns", "pauses", "backchannels", "own_turns", "own_backchannels")


class Rows(Protocol):
    """Rows by number: a `DuplexDataset`, or a list."""

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def __getitem__(self, index: int, /) -> DuplexRow:
        """Return a row."""
        ...


class Evaluated(Protocol):
    """What is evaluated; see `sca.train.model.trained.TrainedModel`."""

    @property
    def thinker(self) -> Module:
        """The thinker."""
        ...

    @property
    def learner(self) -> Module:
        """The model as the training calls it."""
        ...

    @property
    def tokenizer(self) -> TextTokenizer:
        """Its tokenizer."""
        ...

    @property
    def config(self) -> Any:
        """The configuration of the whole model."""
        ...

    @property
    def autocast(self) -> dtype | None:
        """Number format in which float32 weights compute; None for their own."""
        ...


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        metrics: The metrics by name, see docs/train.md.
        alarm: What is wrong with the model as a whole; None if nothing is.
        rows: Rows that were evaluated teacher-forced.
        free_rows: Rows over which the model ran freely.
        failed: Rows that could not be evaluated.
        seconds: The duration.
        samples: Pages of conversations.
    """

    metrics: dict[str, float]
    alarm: Alarm | None
    rows: int
    free_rows: int
    failed: int
    seconds: float
    samples: tuple[Path, ...] = ()


@dataclass(slots=True)
class _Part:
    """What one process has found."""

    forced: Counter[str] = field(default_factory=Counter)
    turns: list[RowTurns] = field(default_factory=list)
    samples: list[Path] = field(default_factory=list)
    failed: int = 0


class Evaluator:
    """Evaluates a model on always the same rows."""

    def __init__(self, trained: Evaluated, rows: Rows, collate: Collate, settings: Settings, output: Path) -> None:
        """Prepare the evaluation.

        Args:
            trained: The model.
            rows: The rows to choose from.
            collate: Makes a batch of rows, see `Collate`.
            settings: The settings of the run; `grid` and `duplex` are those of the rows.
            output: The folder of the run, for conversations.

        Raises:
            ConfigError: The model does not fit the settings of the rows.
        """
        self._trained, self._rows, self._collate = trained, rows, collate
        self._settings, self._output = settings, output
        self._chosen = spread(len(rows), settings.train.eval_rows)
        self._free = True
        grammar = Grammar(settings.duplex.silence_token_id, control_tokens_of(settings.duplex))
        self._quiet = grammar.not_text - {grammar.controls.hold}
        self._heard: dict[int, list[tuple[int, int]]] = {}

    def __call__(self, step: int) -> Evaluation:
        """Evaluate the weights as they are, and leave them and the state of the training as they were.

        All processes of the training call this together, and get the same metrics.

        Args:
            step: The optimiser step, for the folder of the conversations.
        """
        begun = time.monotonic()
        self._look_at_weights()
        with undisturbed(self._trained.learner, self._trained.autocast):
            part = self._evaluate(step, begun)
        found = _over_processes(part)
        if _process()[0] == 0:
            keep_last(self._output / "samples", self._settings.train.eval_samples_kept)
        if not self._free:  # all processes have the same rows
            found = found[:1]
        forced: Counter[str] = Counter()
        counts: Counter[str] = Counter()
        for one in found:
            forced.update(one.forced)
            for row in one.turns:
                counts.update(row.counts)
        items: dict[str, list[TurnMetrics]] = {
            name: [item for one in found for row in one.turns for item in getattr(row, name)] for name in _ITEMS
        }
        measured = teacher_metrics(forced, kind_weights(self._settings.train)) | turn_metrics(counts, items)
        metrics = {name: value for name, value in measured.items() if math.isfinite(value)}
        return Evaluation(
            metrics=metrics,
            alarm=alarm_of(metrics),
            rows=forced["rows"],
            free_rows=counts["rows"],
            failed=sum(one.failed for one in found),
            seconds=round(time.monotonic() - begun, 3),
            samples=tuple(path for one in found for path in one.samples),
        )

    def _look_at_weights(self) -> None:
        """Find out whether the Trainer has divided the weights, which it does after its callbacks are made."""
        if not self._free or not is_sharded(self._trained.thinker):
            return
        self._free = False
        if _process()[0] == 0:
            log.warning(
                "the weights are divided among the processes, so the model cannot run freely: turn-taking is not measured, and "
                "the best checkpoint is that of the lowest loss"
            )

    def _evaluate(self, step: int, begun: float) -> _Part:
        """Evaluate the rows of this process."""
        part, trained, settings = _Part(), self._trained, self._settings
        engine = self._engine() if self._free else None
        for place, index in self._own_rows():
            row = self._read(index, part)
            if row is None:
                continue
            part.forced.update(
                teacher_forced(trained.learner, trained.thinker, row, self._collate, trained.tokenizer), rows=1
            )
            late = time.monotonic() - begun > 60 * settings.train.eval_minutes and part.turns
            if engine is None or late:
                continue
            said = free_run(engine, row, settings.grid, settings.duplex.system_prompt)
            part.turns.append(self._measure(index, row, said))
            if place < settings.train.eval_samples:
                folder = step_folder(self._output / "samples", step)
                page = write_sample(folder, Sample(row, said), self._quiet, trained.tokenizer, settings.grid)[1]
                part.samples.append(page)
        return part

    def _engine(self) -> SilentOmni:
        trained, settings = self._trained, self._settings
        return SilentOmni(trained.thinker, trained.config, trained.tokenizer, settings.qwen, settings.duplex)

    def _own_rows(self) -> Iterator[tuple[int, int]]:
        """Yield place and number of the rows of this process; of all rows if the weights are divided."""
        rank, world = _process()
        for place, index in enumerate(self._chosen):
            if not self._free or place % world == rank:
                yield place, index

    def _read(self, index: int, part: _Part) -> DuplexRow | None:
        """Return a row; None if it cannot be read, which does not end the evaluation."""
        try:
            return self._rows[index]
        except ScaError as error:
            log.warning("row %s is left out of the evaluation: %s", index, error.message)
            part.failed += 1
            return None

    def _measure(self, index: int, row: DuplexRow, said: Sequence[tuple[int, ...]]) -> RowTurns:
        if index not in self._heard:
            self._heard[index] = heard_speech(shared_vad(), row.heard)
        own = answers_of(row)
        found = measure_turns(
            talks_in(said, self._quiet),
            talks_in(own, self._quiet),
            labelled_chunks(row),
            [one["first_chunk"] for one in row.segments if one["kind"] == "backchannel"],
            self._heard[index],
            self._settings.grid.heard_samples,
            self._settings.train.eval_tolerance_chunks,
        )
        found.counts.update(same_chunks=sum(one == other for one, other in zip(said, own, strict=True)))
        return found


def spread(count: int, most: int) -> list[int]:
    """Return at most `most` numbers below `count` at equal distances, so that all sessions have a part in them."""
    return sorted({int(one) for one in np.linspace(0, count - 1, min(count, most))}) if count else []


def is_sharded(module: Module) -> bool:
    """Return whether the weights of a module are divided among processes (FSDP, or stage 3 of DeepSpeed)."""
    return any(hasattr(weight, "device_mesh") or hasattr(weight, "ds_id") for weight in module.parameters())


def _process() -> tuple[int, int]:
    """Return the number of this process of the training, and of how many it is one."""
    import torch.distributed as distributed

    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def _over_processes(part: _Part) -> list[_Part]:
    """Return the parts of all processes, in all of them."""
    import torch.distributed as distributed

    world = _process()[1]
    if world == 1:
        return [part]
    parts: list[Any] = [None] * world
    distributed.all_gather_object(parts, part)
    return parts


def headline(metrics: Mapping[str, float]) -> str:
    """Return the most important metrics as one line."""
    shown = (
        ("turn_f1", "turn F1 {:.2f}"),
        ("take_over", "take-over {:.0%}"),
        ("latency_s", "latency {:.2f} s"),
        ("false_barge_in", "false barge-ins {:.0%}"),
        ("silence_kept", "silence kept {:.0%}"),
        ("loss", "loss {:.3f}"),
    )
    return ", ".join(text.format(metrics[name]) for name, text in shown if name in metrics)
