"""The turn service: a model behind a pool or a batcher, asked with samples, answering with a judgement. Knows no HTTP."""

import asyncio
import logging
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sca.audio.resample import resample
from sca.errors import ConfigError
from sca.infer.turn.models.features import last_samples
from sca.infer.turn.models.smart_turn_v3 import SmartTurnV3
from sca.infer.turn.models.weights import Weights, find_weights
from sca.infer.turn.serving.batcher import BatchPolicy, MicroBatcher
from sca.infer.turn.serving.model_pool import BusyError, Model, ModelPool, ModelThread
from sca.units import HEARD_HZ

if TYPE_CHECKING:
    from sca.config import TurnConfig

__all__ = ["Judgement", "TurnService", "load_service"]

logger = logging.getLogger(__name__)

_RESAMPLE_MARGIN_S = 0.1  # the resampler's edge, kept out of the window


@dataclass(frozen=True, slots=True)
class Judgement:
    """prediction: 1 finished, 0 not.   inference_s, queued_s: where the time went.   batch: of how many questions."""

    prediction: int
    probability: float
    inference_s: float
    queued_s: float
    batch: int


class TurnService:
    """Asks a runner. One service serves any number of tasks of one event loop.

    facts: what /status says about the model.
    """

    def __init__(
        self, runner: ModelThread, *, threshold: float, window_samples: int, max_samples: int, facts: dict[str, Any]
    ) -> None:
        self.runner = runner
        self.threshold = threshold
        self.window_samples = window_samples
        self.max_samples = max_samples
        self._facts = facts

    @property
    def full(self) -> bool:
        """Whether the next question will most likely be refused."""
        return self.runner.queue.full

    def check_room(self) -> None:
        """Raise `BusyError` when the queue is full: a cheap look before a body is read."""
        if self.full:
            queue = self.runner.queue
            raise BusyError(f"{queue.limit} requests are waiting or being answered", queue.retry_after_s())

    async def judge(self, x: np.ndarray, *, rate_hz: int = HEARD_HZ, threshold: float | None = None) -> Judgement:
        """Judge float32 `(n,)` at `rate_hz`; its last seconds count.

        Raises `BusyError` at once when too many wait, and what the model raises. A task that is cancelled takes its question
        back, if it has not been begun.
        """
        threshold = self.threshold if threshold is None else threshold
        kept = self._tail(x, rate_hz)
        answer = await asyncio.wrap_future(self.runner.submit(lambda: self._heard(kept, rate_hz)))
        prediction = int(answer.probability > threshold)
        return Judgement(prediction, answer.probability, answer.inference_s, answer.queued_s, answer.batch)

    def _tail(self, x: np.ndarray, rate_hz: int) -> np.ndarray:
        """As much of the end as can matter; a copy if that is little, so that a long body is let go of."""
        margin = 0 if rate_hz == HEARD_HZ else int(_RESAMPLE_MARGIN_S * rate_hz) + 1
        samples = -(-self.max_samples * rate_hz // HEARD_HZ) + margin
        return x if len(x) <= 2 * samples else x[-samples:].copy()

    def _heard(self, x: np.ndarray, rate_hz: int) -> np.ndarray:
        x = resample(np.ascontiguousarray(x), rate_hz, HEARD_HZ)[-self.max_samples :]
        return x if len(x) else last_samples(x, 1)  # a few samples at a high rate are less than one

    def status(self) -> dict[str, Any]:
        """What it is and how it does, for people and for scripts."""
        queue = self.runner.queue
        return {
            **{name: fact() if callable(fact) else fact for name, fact in self._facts.items()},
            "pool": self.runner.workers,
            "threshold": self.threshold,
            "window_s": self.window_samples / HEARD_HZ,
            "max_secs": self.max_samples / HEARD_HZ,
            "queue_depth": len(queue.waiting),
            "busy": queue.busy,
            "queue_limit": queue.limit,
        }

    def close(self, timeout_s: float = 10.0) -> None:
        """Answer what has been asked and end the threads."""
        self.runner.close(timeout_s)


def load_service(config: "TurnConfig") -> TurnService:
    """Find the weights, load them as often as needed, warm them up: when this returns, the first answer is as fast as the next.

    Raises `MissingToolError`, `InputError` or `UpstreamError` when there is no model, `ConfigError` for a device that is none.
    """
    weights = find_weights(config.model_id, config.revision)
    if weights.version == "v3":
        return _load_v3(config, weights)
    from sca.infer.turn.models.smart_turn_v2 import SmartTurnV2

    model = SmartTurnV2.load(weights.path, device=config.device, dtype=config.dtype)
    return _load_v2(config, weights, model)


def _load_v3(config: "TurnConfig", weights: Weights) -> TurnService:
    if config.device.startswith("cuda"):
        raise ConfigError("smart-turn v3 runs on the CPU here", hint="turn.device=auto, or a v2 model")
    for name in ("torch_compile", "cuda_graphs"):
        if getattr(config, name):
            logger.warning("turn.%s has no meaning for smart-turn v3 and is ignored", name)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    models = [SmartTurnV3(weights.path) for _ in range(config.pool or cores)]
    warm_up(models)
    return _service(
        ModelPool(models, config.max_queue), models[0], config, weights, {"buckets": [1], "compiled": False}
    )


def _load_v2(config: "TurnConfig", weights: Weights, model: Any) -> TurnService:
    on_gpu = model.device.startswith("cuda")
    policy = BatchPolicy(config.buckets if on_gpu else (1,), config.micro_batch_window_ms / 1000 if on_gpu else 0.0)
    model.warm_up(policy.buckets)
    if config.cuda_graphs:
        model.capture_graphs(policy.buckets)
    if config.torch_compile:
        model.compile_in_background(policy.buckets)
    runner = MicroBatcher(model, policy, config.max_queue)
    facts = {
        "buckets": list(policy.buckets),
        "compiled": lambda: model.compiled,
        "cuda_graphs": lambda: model.captured,
        "notices": lambda: list(model.notices),
    }
    return _service(runner, model, config, weights, facts)


def _service(
    runner: ModelThread, model: Model, config: "TurnConfig", weights: Weights, facts: dict[str, Any]
) -> TurnService:
    max_samples = model.window_samples
    if config.max_secs is not None:
        max_samples = min(max_samples, max(1, round(config.max_secs * HEARD_HZ)))
    facts = {
        "model": weights.name,
        "version": model.name,
        "device": model.device,
        "dtype": model.dtype,
        "weights_known": weights.known,
        **facts,
    }
    return TurnService(
        runner,
        threshold=config.threshold,
        window_samples=model.window_samples,
        max_samples=max_samples,
        facts=facts,
    )


def warm_up(models: list[SmartTurnV3], clock: Any = time.perf_counter) -> float:
    """Ask every model once; returns the seconds it took."""
    started_s = clock()
    for model in models:
        model(np.zeros(1, np.float32))
    return float(clock() - started_s)
