"""The turn service: a model behind a pool or a batcher, without HTTP."""

import asyncio
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sca.audio.resample import resample
from sca.audio.vad import shared_vad
from sca.cores import usable_cores
from sca.infer.turn.models.features import last_samples
from sca.infer.turn.models.load import load_model
from sca.infer.turn.models.smart_turn_v3 import SmartTurnV3
from sca.infer.turn.models.weights import Weights, find_weights
from sca.infer.turn.serving.batcher import BatchPolicy, MicroBatcher
from sca.infer.turn.serving.model_pool import ModelPool, ModelThread
from sca.infer.turn.speech import SpeechCheck, has_level_changes, has_speech
from sca.units import HEARD_HZ, seconds_to_samples

if TYPE_CHECKING:
    from sca.config import TurnConfig
    from sca.infer.turn.models.device_model import DeviceModel

__all__ = ["TurnResult", "TurnService", "load_service"]

logger = logging.getLogger(__name__)

_RESAMPLE_MARGIN_S = 0.1  # the transient of the resampler, which stays outside the window


@dataclass(frozen=True, slots=True)
class TurnResult:
    """The result of a request.

    Attributes:
        prediction: 1 if the speaker has finished, else 0.
        probability: The probability that the speaker has finished.
        inference_s: The time in the model.
        queued_s: The time in the queue.
        batch_size: How many requests were processed together.
        speech: Whether the audio has speech; None if that was not checked.
        model_cpu_s: The processor time of the bare call of the model.
    """

    prediction: int
    probability: float
    inference_s: float
    queued_s: float
    batch_size: int
    speech: bool | None = None
    model_cpu_s: float = 0.0


class TurnService:
    """Runs predictions for any number of tasks of one event loop.

    Attributes:
        models: The threads that run the model.
        threshold: A probability above it means that the speaker has finished.
        window_samples: The longest input of the model, at 16 kHz.
        max_samples: How much of the audio is used.
        facts: What the model is.
    """

    def __init__(
        self,
        models: ModelThread,
        *,
        threshold: float,
        window_samples: int,
        max_samples: int,
        facts: Mapping[str, object],
    ) -> None:
        """Create a service.

        Args:
            models: The threads that run the model.
            threshold: See the class.
            window_samples: See the class.
            max_samples: See the class.
            facts: Additional entries of `status`. Functions are called each time.
        """
        self.models = models
        self.threshold = threshold
        self.window_samples = window_samples
        self.max_samples = max_samples
        self.facts = facts
        self._check_speech: SpeechCheck = "off"

    def configure(self, config: "TurnConfig") -> None:
        """Take over the settings that may change while the server runs."""
        self.threshold = config.threshold
        queue = self.models.queue
        queue.limit, queue.limit_s = queue.slots + config.max_queue, config.max_queue_s
        self._check_speech = config.speech_check

    def check_room(self) -> None:
        """Check that the queue is not full, before a body is read.

        Raises:
            BusyError: The queue is full.
        """
        refusal = self.models.queue.refusal()
        if refusal is not None:
            raise refusal

    async def predict(
        self,
        x: NDArray[np.float32],
        *,
        rate_hz: int = HEARD_HZ,
        threshold: float | None = None,
        timeout_s: float = math.inf,
    ) -> TurnResult:
        """Predict whether the speaker has finished. Cancelling removes the job from the queue if it has not started.

        Args:
            x: Float32 `(n,)`. The last seconds are used.
            rate_hz: Its sample rate.
            threshold: Overrides the threshold of the service.
            timeout_s: How long the client waits.

        Returns:
            The result.

        Raises:
            BusyError: The queue is full.
            ExpiredError: The model would have begun, or began, after `timeout_s`.
            Exception: The model failed.
        """
        threshold = self.threshold if threshold is None else threshold
        end = self._end(x, rate_hz)
        speech: list[bool] = []

        def prepare() -> NDArray[np.float32]:
            samples = self._resample(end, rate_hz)
            if self._check_speech != "off":
                speech.append(self._has_speech(samples))
            return samples

        found = await asyncio.wrap_future(self.models.submit(prepare, timeout_s))
        return TurnResult(
            int(found.probability > threshold),
            found.probability,
            found.inference_s,
            found.queued_s,
            found.batch_size,
            speech[0] if speech else None,
            found.model_cpu_s,
        )

    def _has_speech(self, samples: NDArray[np.float32]) -> bool:
        """Return whether 16 kHz audio has speech. Runs in a thread of the model."""
        if self._check_speech == "energy":
            return has_level_changes(samples)
        return has_speech(shared_vad(), samples)

    def _end(self, x: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
        """Return the part that can matter.

        It is copied if it is small, so that the memory of a long body is released.
        """
        margin = 0 if rate_hz == HEARD_HZ else int(_RESAMPLE_MARGIN_S * rate_hz) + 1
        samples = -(-self.max_samples * rate_hz // HEARD_HZ) + margin
        return x if len(x) <= 2 * samples else x[-samples:].copy()

    def _resample(self, x: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
        x = resample(np.ascontiguousarray(x), rate_hz, HEARD_HZ)[-self.max_samples :]
        return x if len(x) else last_samples(x, 1)  # a few samples at a high rate can result in none at 16 kHz

    def status(self) -> dict[str, object]:
        """Return the configuration and the current load."""
        queue = self.models.queue
        return {
            **{name: fact() if callable(fact) else fact for name, fact in self.facts.items()},
            "pool": self.models.workers,
            "threshold": self.threshold,
            "window_s": self.window_samples / HEARD_HZ,
            "max_secs": self.max_samples / HEARD_HZ,
            "queue_depth": len(queue.waiting),
            "busy": queue.busy,
            "queue_limit": queue.limit,
            "queue_s": round(queue.expected_s(), 3),
            "queue_limit_s": queue.limit_s,
            "speech_check": self._check_speech,
        }

    def close(self, timeout_s: float = 10.0) -> None:
        """Finish the submitted jobs for up to `timeout_s`, and end the threads."""
        self.models.close(timeout_s)


def load_service(config: "TurnConfig") -> TurnService:
    """Load the model and warm it up, so that the first request is as fast as the others.

    Args:
        config: The settings.

    Returns:
        The service.

    Raises:
        MissingToolError: A package or the model is not installed, or the device does not exist.
        InputError: The model cannot be read.
        UpstreamError: The model cannot be downloaded.
        ConfigError: The model does not exist in the number format.
    """
    weights = find_weights(config.model_id, config.revision)
    model = load_model(weights, config)
    return (
        _serve_singly(config, weights, model)
        if isinstance(model, SmartTurnV3)
        else _serve_batches(config, weights, model)
    )


def _serve_singly(config: "TurnConfig", weights: Weights, model: SmartTurnV3) -> TurnService:
    import onnxruntime

    for name in ("torch_compile", "cuda_graphs"):
        if getattr(config, name):
            logger.warning("turn.%s has no effect for smart-turn v3 in onnxruntime", name)
    model(np.zeros(1, np.float32))  # warm up
    pool = ModelPool([model.twin() for _ in range(config.pool or usable_cores())], config.max_queue)
    facts = {
        "buckets": [1],
        "compiled": False,
        "runtime": f"onnxruntime {onnxruntime.__version__}",
        "providers": model.providers,
        "threads": model.threads,
    }
    return _new_service(pool, model, config, weights, facts)


def _serve_batches(config: "TurnConfig", weights: Weights, model: "DeviceModel") -> TurnService:
    import torch

    on_gpu = model.device.startswith("cuda")
    policy = BatchPolicy(config.buckets if on_gpu else (1,), config.micro_batch_window_ms / 1000 if on_gpu else 0.0)
    model.warm_up(policy.buckets)
    if config.cuda_graphs:
        model.capture_graphs(policy.buckets)
    if config.torch_compile:
        model.compile_in_background(policy.buckets)
    batcher = MicroBatcher(model, policy, config.max_queue)
    facts = {
        "buckets": list(policy.buckets),
        "lengths_s": [length / HEARD_HZ for length in model.lengths],
        "compiled": lambda: model.compiled,
        "cuda_graphs": lambda: model.captured,
        "notices": lambda: list(model.notices),
        "runtime": f"torch {torch.__version__}",
        "providers": [model.device],
        "threads": torch.get_num_threads(),
    }
    return _new_service(batcher, model, config, weights, facts)


def _new_service(
    models: ModelThread,
    model: "SmartTurnV3 | DeviceModel",
    config: "TurnConfig",
    weights: Weights,
    facts: Mapping[str, object],
) -> TurnService:
    max_samples = model.window_samples
    if config.max_secs is not None:
        max_samples = min(max_samples, max(1, seconds_to_samples(config.max_secs, HEARD_HZ)))
    facts = {
        "model": weights.name,
        "version": model.name,
        "file": str(weights.path),
        "sha256": weights.sha256 or _folder_sha256(weights.path),
        "device": model.device,
        "dtype": model.dtype,
        "precision": f"{model.dtype}: {model.precision}",
        "cores": usable_cores(),
        "weights_known": weights.known,
        **facts,
    }
    return TurnService(
        models,
        threshold=config.threshold,
        window_samples=model.window_samples,
        max_samples=max_samples,
        facts=facts,
    )


def _folder_sha256(folder: Path) -> str | None:
    """Return the checksum of the weights of a v2 model."""
    path = folder / "model.safetensors"
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
