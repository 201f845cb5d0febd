#!/usr/bin/env python3
"""Tokens a second of the loop of `sca train`, against forward and backward passes of the same model on the same batches.

    python -m scripts.bench.train [--steps 12] [--threads 1] [--batch-size 2] [--workers 2]

The data is that of `sca demo`, the model the tiny one of `scripts/make_tiny_omni.py` with LoRA on attention, experts and
lm_head. The Trainer makes all steps first: it reads and collates rows in workers, steps the optimiser, checks for numbers
that are not finite, and logs. Then the same batches pass the same model without any of that: forward, loss and backward,
the ceiling. Medians of the steps after three for warm-up, of which the first starts the workers. The waiting share is the
time in which the Trainer waits for a batch, of the time of these steps. Prints one JSON document on the last line.
"""

import argparse
import json
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import TrainerCallback
from typing_extensions import override

from sca.config import load_settings
from sca.data.demo import DATA, make_demo
from sca.train.objective.loss import DuplexLoss, kind_weights
from sca.train.run.arguments import training_arguments
from sca.train.run.inputs import RunInputs, open_inputs
from sca.train.run.log import LogWriter
from sca.train.run.session import make_trainer
from sca.train.run.stop import StopRequest
from sca.train.run.weights import load_trained
from sca.train.tiny import save

WARM_UP = 3


class Times(TrainerCallback):  # type: ignore[misc]  # transformers has no types here
    """The batches of each step, when it ended, and how long the Trainer waited for them."""

    def __init__(self, trainer: Any) -> None:
        self.ends: list[float] = []
        self.waits_s: list[float] = []
        self.batches: list[list[dict[str, Any]]] = []
        take = trainer.get_batch_samples

        def timed(*given: Any) -> Any:
            began = time.perf_counter()
            batches, total = take(*given)
            self.waits_s.append(time.perf_counter() - began)
            self.batches.append([dict(batch) for batch in batches])
            return batches, total

        trainer.get_batch_samples = timed

    @override
    def on_step_end(self, *passed: Any, **more: Any) -> None:
        self.ends.append(time.perf_counter())


def bare_steps(inputs: RunInputs, learner: Any, batches: list[list[dict[str, Any]]]) -> list[float]:
    """Return the time of forward, loss and backward of each step."""
    loss, found = DuplexLoss(kind_weights(inputs.settings.train)), []
    learner.train()
    for step in batches:
        began = time.perf_counter()
        learner.zero_grad()
        total = torch.stack([loss.weight_sum(batch["labels"]) for batch in step]).sum()
        for batch in step:
            given = {name: value for name, value in batch.items() if name not in ("labels", "row_ids")}
            loss(learner(**given), batch["labels"], total).backward()
        found.append(time.perf_counter() - began)
    return found


def measure(folder: Path, steps: int, batch_size: int, workers: int) -> dict[str, object]:
    """Run both, and return the result."""
    values = {
        "duplex.model_path": "builtin:qwen", "qwen.model_id": str(save(folder / "model", books=3, vocoder_width=16)),
        "qwen.device_map": "cpu", "train.targets": "attention,experts,lm_head", "train.rank": 16, "train.alpha": 32.0,
        "train.max_steps": steps, "train.batch_size": batch_size, "train.workers": workers, "train.save_every": 0,
        "train.eval_every": 0, "train.gradient_checkpointing": False,
    }  # fmt: skip
    settings = load_settings(overrides=values, env={})
    make_demo(folder / "demo", settings)
    inputs = open_inputs(folder / "demo" / DATA, settings)
    arguments = training_arguments(folder / "run", inputs.settings)
    trained = load_trained(inputs, arguments)
    trainer = make_trainer(inputs, trained, arguments, LogWriter(folder / "run", None, None), StopRequest(), None)
    times = Times(trainer)
    trainer.add_callback(times)
    trainer.train()
    loop = [after - before for before, after in zip(times.ends, times.ends[1:], strict=False)][WARM_UP - 1 :]
    bare = bare_steps(inputs, trained.learner, times.batches)[WARM_UP:]
    tokens = median(sum(batch["input_ids"].numel() for batch in step) for step in times.batches[WARM_UP:])
    return {
        "steps": len(loop),
        "tokens_a_step": tokens,
        "loop_s": round(median(loop), 4),
        "bare_s": round(median(bare), 4),
        "loop_tokens_per_s": round(tokens / median(loop)),
        "bare_tokens_per_s": round(tokens / median(bare)),
        "ratio": round(median(bare) / median(loop), 3),
        "waiting_share": round(sum(times.waits_s[WARM_UP:]) / sum(loop), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the loop of sca train against bare passes of its model.")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with TemporaryDirectory() as folder:
        result = measure(Path(folder), given.steps, given.batch_size, given.workers)
    print(json.dumps({"bench": "train", **vars(given), **result}))


if __name__ == "__main__":
    main()
