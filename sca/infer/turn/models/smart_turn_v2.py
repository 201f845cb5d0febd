"""smart-turn v2 in torch: a wav2vec2 encoder, attention pooling and a small classifier over 16 s, in batches.

The network has the parameter names of the published one, so that the weights of the hub can be loaded:
`Wav2Vec2ForEndpointing` of pipecat-ai/smart-turn, as in `local_smart_turn_v2.py` of pipecat-ai 1.14 (BSD-2-Clause). As
there, shorter audio is padded at the end and masked, and of longer audio the end is used.

A `_Stage` is a way to run the network: directly, compiled, or as CUDA graphs. The stage is replaced by one assignment,
so a batch that runs meanwhile uses either the old or the new one, and both are warmed up.
"""

import json
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from sca.errors import ConfigError, InputError, MissingToolError
from sca.infer.turn.models.features import normalize
from sca.units import HEARD_HZ

if TYPE_CHECKING:
    import torch
    from transformers import Wav2Vec2PreTrainedModel

__all__ = ["V2_SAMPLES", "SmartTurnV2", "network_class"]

logger = logging.getLogger(__name__)

V2_SAMPLES = 16 * HEARD_HZ
"""The input length of v2, at 16 kHz."""

_MASKED_SCORE = -1e9
_MAX_SHOWN_CHARACTERS = 200


@cache
def network_class() -> "type[Wav2Vec2PreTrainedModel]":
    """Return the class of the network, which needs torch and transformers.

    The network maps (values, mask), both `(batch, samples)`, to probabilities `(batch,)`.
    """
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2Model, Wav2Vec2PreTrainedModel

    class Wav2Vec2ForEndpointing(Wav2Vec2PreTrainedModel):  # type: ignore[misc]
        def __init__(self, config: Wav2Vec2Config) -> None:
            super().__init__(config)
            nn, width = torch.nn, config.hidden_size
            self.wav2vec2 = Wav2Vec2Model(config)
            self.pool_attention = nn.Sequential(nn.Linear(width, 256), nn.Tanh(), nn.Linear(256, 1))
            self.classifier = nn.Sequential(
                nn.Linear(width, 256),
                nn.LayerNorm(256),
                nn.GELU(),
                nn.Dropout(0.1),
                nn.Linear(256, 64),
                nn.GELU(),
                nn.Linear(64, 1),
            )
            self.post_init()

        def forward(self, values: "torch.Tensor", mask: "torch.Tensor") -> "torch.Tensor":
            hidden = self.wav2vec2(values, attention_mask=mask)[0]
            # The mask at the frame rate of the encoder: that of the sample at which each frame starts.
            ratio = mask.shape[1] / hidden.shape[1]
            kept = mask[:, (torch.arange(hidden.shape[1], device=mask.device) * ratio).long()].to(hidden.dtype)
            scores = self.pool_attention(hidden) + (1 - kept[..., None]) * _MASKED_SCORE
            pooled = (hidden * torch.softmax(scores, dim=1)).sum(dim=1)
            return torch.sigmoid(self.classifier(pooled).float())[:, 0]

    return Wav2Vec2ForEndpointing


Forward = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]
"""(values, mask) to probabilities."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """A way to run the network.

    Attributes:
        forward: Runs a batch of any size.
        compiled: Whether it is compiled.
        graphs: CUDA graphs by batch size.
    """

    forward: Forward
    compiled: bool = False
    graphs: dict[int, Forward] = field(default_factory=dict)


class SmartTurnV2:
    """The model on one device. `batch` must be called by one thread at a time.

    Attributes:
        device: The device.
        dtype: The number format of the weights.
        window_samples: The input length.
        notices: Requested features that are not available, for display.
        compiled: Whether the network is compiled.
    """

    name = "smart-turn-v2"

    def __init__(
        self,
        network: "Wav2Vec2PreTrainedModel",
        device: str = "cpu",
        *,
        normalize: bool = True,
        window_samples: int = V2_SAMPLES,
    ) -> None:
        self._network = network.to(device).eval()
        self.device = device
        self.dtype = str(network.dtype).removeprefix("torch.")
        self.window_samples = window_samples
        self.notices: list[str] = []
        self.compiled: bool | Literal["compiling"] = False
        self._normalize = normalize
        self._stage = _Stage(self._network)
        self._buffers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    @classmethod
    def load(cls, folder: Path, device: str = "auto", dtype: str = "auto") -> "SmartTurnV2":
        """Load a model.

        Args:
            folder: A directory with config.json and model.safetensors.
            device: The device; `auto` for a GPU if there is one.
            dtype: The number format; `auto` for bfloat16 on a GPU and float32 on a CPU.

        Returns:
            The model.

        Raises:
            MissingToolError: torch is not installed.
            ConfigError: The GPU does not exist.
            InputError: The directory does not contain the weights of this network.
        """
        try:
            import torch
        except ImportError as error:
            raise MissingToolError("smart-turn v2 needs torch", hint="pip install 'sca[live]'") from error
        device = _resolve_device(device)
        torch_dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}.get(
            dtype, torch.bfloat16 if device.startswith("cuda") else torch.float32
        )
        try:
            network, report = network_class().from_pretrained(
                folder, dtype=torch_dtype, local_files_only=True, output_loading_info=True
            )
            settings = folder / "preprocessor_config.json"
            normalize = json.loads(settings.read_text())["do_normalize"] if settings.is_file() else True
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise InputError(f"no smart-turn v2 model in {folder}: {error}") from error
        missing = sorted(report["missing_keys"])
        if missing:  # transformers initializes missing weights randomly and does not raise
            raise InputError(
                f"no smart-turn v2 model in {folder}: {len(missing)} weights are missing, such as {missing[0]}"
            )
        return cls(network, device, normalize=bool(normalize))

    @property
    def captured(self) -> list[int]:
        """The batch sizes that run as a CUDA graph."""
        return sorted(self._stage.graphs)

    def __call__(self, x: NDArray[np.float32]) -> float:
        """Return the probability that the speaker has finished.

        Args:
            x: Float32 `(n,)` at 16 kHz. The last 16 s are used.
        """
        return float(self.batch([x], 1)[0])

    def batch(self, items: Sequence[NDArray[np.float32]], size: int) -> NDArray[np.float32]:
        """Return the probabilities that the speakers have finished, float32 `(len(items),)`.

        Args:
            items: Float32 `(n,)` at 16 kHz each. The last 16 s are used.
            size: The batch size. The rest of the batch is silence.
        """
        import torch

        values, mask = self._fill_buffers(items, size)
        with torch.inference_mode():
            stage = self._stage
            forward = stage.graphs.get(size, stage.forward)
            probabilities = forward(self._to_device(values), self._to_device(mask))
            result: NDArray[np.float32] = probabilities[: len(items)].cpu().numpy()
        return result

    def _fill_buffers(self, items: Sequence[NDArray[np.float32]], size: int) -> "tuple[torch.Tensor, torch.Tensor]":
        """Return values and mask, `(size, window)`, in page-locked memory on a GPU machine."""
        import torch

        if size not in self._buffers:
            shape, pinned = (size, self.window_samples), self.device.startswith("cuda")
            values = torch.zeros(shape, dtype=self._network.dtype, pin_memory=pinned)
            self._buffers[size] = values, torch.zeros(shape, dtype=torch.long, pin_memory=pinned)
        values, mask = self._buffers[size]
        values.zero_()
        mask.zero_()
        mask[len(items) :] = 1  # the output of a fully masked row would be NaN
        for i, item in enumerate(items):
            x = item[-self.window_samples :]
            values[i, : len(x)] = torch.from_numpy(np.ascontiguousarray(normalize(x) if self._normalize else x))
            mask[i, : len(x)] = 1
        return values, mask

    def _to_device(self, tensor: "torch.Tensor") -> "torch.Tensor":
        return tensor.to(self.device, non_blocking=True) if self.device != "cpu" else tensor

    def warm_up(self, sizes: Sequence[int]) -> None:
        """Run each batch size once."""
        for size in sizes:
            self.batch([], size)

    def capture_graphs(self, sizes: Sequence[int]) -> None:
        """Record a CUDA graph for each batch size. If that is not possible, a notice is added."""
        stage = self._stage
        graphs = self._capture_all(stage.forward, sizes)
        self._stage = _Stage(stage.forward, stage.compiled, graphs)

    def _capture_all(self, forward: Forward, sizes: Sequence[int]) -> dict[int, Forward]:
        if not self.device.startswith("cuda"):
            self._add_notice("CUDA graphs need a GPU; the model runs without them")
            return {}
        try:
            return {size: self._capture(forward, size) for size in sizes}
        except RuntimeError as error:
            self._add_notice(f"CUDA graphs could not be captured ({error}); the model runs without them")
            return {}

    def _capture(self, forward: Forward, size: int) -> Forward:
        import torch

        shape = (size, self.window_samples)
        values = torch.zeros(shape, dtype=self._network.dtype, device=self.device)
        mask = torch.ones(shape, dtype=torch.long, device=self.device)
        side = torch.cuda.Stream(self.device)
        side.wait_stream(torch.cuda.current_stream(self.device))
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode():
            with torch.cuda.stream(side):
                for _ in range(3):  # lazy initialization must not be recorded
                    forward(values, mask)
            torch.cuda.current_stream(self.device).wait_stream(side)
            # thread_local: another thread may be running batches on this device meanwhile.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                probabilities = forward(values, mask)

        def replay(new_values: "torch.Tensor", new_mask: "torch.Tensor") -> "torch.Tensor":
            values.copy_(new_values)
            mask.copy_(new_mask)
            graph.replay()
            return probabilities

        return replay

    def compile_in_background(
        self, sizes: Sequence[int], compiler: Callable[["Wav2Vec2PreTrainedModel"], Forward] | None = None
    ) -> threading.Thread:
        """Compile in a thread, warm up each batch size there, then replace the stage.

        If that fails, the current stage stays, and a notice is added.

        Args:
            sizes: The batch sizes.
            compiler: Replaces `torch.compile`.

        Returns:
            The thread.
        """
        self.compiled = "compiling"
        thread = threading.Thread(target=self._compile, args=(list(sizes), compiler), name="turn-compile", daemon=True)
        thread.start()
        return thread

    def _compile(self, sizes: list[int], compiler: Callable[["Wav2Vec2PreTrainedModel"], Forward] | None) -> None:
        import torch

        try:
            forward = torch.compile(self._network, dynamic=False) if compiler is None else compiler(self._network)
            with torch.inference_mode():
                for size in sizes:
                    shape = (size, self.window_samples)
                    values = torch.zeros(shape, dtype=self._network.dtype, device=self.device)
                    forward(values, torch.ones(shape, dtype=torch.long, device=self.device))
            graphs = self._capture_all(forward, sizes) if self._stage.graphs else {}
        except Exception as error:  # whatever the compiler raises, the current stage stays
            self.compiled = False
            reason = f"{type(error).__name__}: {str(error)[:_MAX_SHOWN_CHARACTERS]}"
            self._add_notice(f"compiling failed ({reason}); the model runs uncompiled")
            logger.debug("compiling failed", exc_info=True)
            return
        self._stage = _Stage(forward, True, graphs)
        self.compiled = True

    def _add_notice(self, text: str) -> None:
        self.notices.append(text)
        logger.warning("%s", text)


def _resolve_device(device: str) -> str:
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"turn.device is {device}, and torch finds no GPU", hint="turn.device=cpu")
    return device
