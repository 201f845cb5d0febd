"""smart-turn v2 in torch: a wav2vec2 encoder, attention pooling and a small classifier over 16 s, in batches.

The network is the published one, name for name, so that the hub's weights load: `Wav2Vec2ForEndpointing` of pipecat-ai/smart-turn
as in pipecat-ai 1.14 `local_smart_turn_v2.py` (BSD-2-Clause). Like there, what is shorter than 16 s is padded at the end and
masked; of what is longer the end counts, not the beginning.

A `_Stage` is a way to run it: plain, compiled, as CUDA graphs. Going from one to the next is one assignment, so whoever runs a
batch meanwhile has the old one or the new one, each warmed up.
"""

import json
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sca.errors import ConfigError, InputError, MissingToolError
from sca.infer.turn.models.features import normalized
from sca.units import HEARD_HZ

if TYPE_CHECKING:
    import torch

__all__ = ["V2_SAMPLES", "SmartTurnV2", "network_class"]

logger = logging.getLogger(__name__)

V2_SAMPLES = 16 * HEARD_HZ
"""Samples at 16 kHz that v2 hears."""

_MASKED = -1e9


@cache
def network_class() -> type[Any]:
    """The network's class: (values, mask), both `(batch, samples)`, to probabilities `(batch,)`. Needs torch and transformers."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2Model, Wav2Vec2PreTrainedModel

    class Wav2Vec2ForEndpointing(Wav2Vec2PreTrainedModel):  # type: ignore[misc]
        def __init__(self, config: Wav2Vec2Config) -> None:
            super().__init__(config)
            nn, wide = torch.nn, config.hidden_size
            self.wav2vec2 = Wav2Vec2Model(config)
            self.pool_attention = nn.Sequential(nn.Linear(wide, 256), nn.Tanh(), nn.Linear(256, 1))
            self.classifier = nn.Sequential(
                nn.Linear(wide, 256),
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
            # The mask at the encoder's rate: every hidden frame looks up the sample it begins at.
            ratio = mask.shape[1] / hidden.shape[1]
            kept = mask[:, (torch.arange(hidden.shape[1], device=mask.device) * ratio).long()].to(hidden.dtype)
            scores = self.pool_attention(hidden) + (1 - kept[..., None]) * _MASKED
            pooled = (hidden * torch.softmax(scores, dim=1)).sum(dim=1)
            return torch.sigmoid(self.classifier(pooled).float())[:, 0]

    return Wav2Vec2ForEndpointing


Call = Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True)
class _Stage:
    """One way to run the network. graphs: by batch size, what replays it."""

    call: Call
    compiled: bool = False
    graphs: dict[int, Call] = field(default_factory=dict)


class SmartTurnV2:
    """The model on one device. `batch` is called by one thread at a time.

    window_samples: what it hears.   notices: what was asked for and is not had, in words.
    """

    name = "smart-turn-v2"

    def __init__(
        self, network: Any, device: str = "cpu", *, normalize: bool = True, window_samples: int = V2_SAMPLES
    ) -> None:
        self._network = network.to(device).eval()
        self.device = device
        self.dtype = str(network.dtype).removeprefix("torch.")
        self.window_samples = window_samples
        self.notices: list[str] = []
        self.compiled: bool | Literal["compiling"] = False
        self._normalize = normalize
        self._stage = _Stage(self._network)
        self._buffers: dict[int, tuple[Any, Any]] = {}

    @classmethod
    def load(cls, folder: Path, device: str = "auto", dtype: str = "auto") -> "SmartTurnV2":
        """From a folder with config.json and model.safetensors.

        Raises `MissingToolError` without torch, `ConfigError` for a GPU that is not there, `InputError` for other weights.
        """
        try:
            import torch
        except ImportError as error:
            raise MissingToolError("smart-turn v2 needs torch", hint="pip install 'sca[live]'") from error
        device = _device(device)
        number = {"float32": torch.float32, "bfloat16": torch.bfloat16}.get(
            dtype, torch.bfloat16 if device.startswith("cuda") else torch.float32
        )
        try:
            network, report = network_class().from_pretrained(
                folder, dtype=number, local_files_only=True, output_loading_info=True
            )
            settings = folder / "preprocessor_config.json"
            normalize = json.loads(settings.read_text())["do_normalize"] if settings.is_file() else True
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise InputError(f"no smart-turn v2 model in {folder}: {error}") from error
        missing = sorted(report["missing_keys"])
        if missing:  # transformers would fill them at random and go on
            raise InputError(
                f"no smart-turn v2 model in {folder}: {len(missing)} weights are missing, such as {missing[0]}"
            )
        return cls(network, device, normalize=bool(normalize))

    @property
    def captured(self) -> list[int]:
        """Batch sizes that run as a CUDA graph."""
        return sorted(self._stage.graphs)

    def __call__(self, x: np.ndarray) -> float:
        """The probability that the speaker of float32 `(n,)` at 16 kHz has finished; the last 16 s count."""
        return float(self.batch([x], 1)[0])

    def batch(self, items: Sequence[np.ndarray], size: int) -> np.ndarray:
        """Probabilities, float32 `(len(items),)`; the rest of the `size` rows is silence."""
        import torch

        values, mask = self._filled(items, size)
        with torch.inference_mode():
            stage = self._stage
            found = stage.graphs.get(size, stage.call)(self._there(values), self._there(mask))
            result: np.ndarray = found[: len(items)].cpu().numpy()
        return result

    def _filled(self, items: Sequence[np.ndarray], size: int) -> tuple[Any, Any]:
        """Samples in the network's number format and mask, `(size, window)`, in memory that a GPU reads directly."""
        import torch

        if size not in self._buffers:
            shape, pinned = (size, self.window_samples), self.device.startswith("cuda")
            values = torch.zeros(shape, dtype=self._network.dtype, pin_memory=pinned)
            self._buffers[size] = values, torch.zeros(shape, dtype=torch.long, pin_memory=pinned)
        values, mask = self._buffers[size]
        values.zero_()
        mask.zero_()
        mask[len(items) :] = 1  # a row that is masked whole would be NaN
        for i, item in enumerate(items):
            x = item[-self.window_samples :]
            values[i, : len(x)] = torch.from_numpy(np.ascontiguousarray(normalized(x) if self._normalize else x))
            mask[i, : len(x)] = 1
        return values, mask

    def _there(self, tensor: Any) -> Any:
        return tensor.to(self.device, non_blocking=True) if self.device != "cpu" else tensor

    def warm_up(self, sizes: Sequence[int]) -> None:
        """Run every batch size once."""
        for size in sizes:
            self.batch([], size)

    def capture_graphs(self, sizes: Sequence[int]) -> None:
        """Record a CUDA graph for every batch size. Without a GPU, or where capturing fails, a notice says so."""
        stage = self._stage
        self._stage = _Stage(stage.call, stage.compiled, self._graphs(stage.call, sizes))

    def _graphs(self, call: Call, sizes: Sequence[int]) -> dict[int, Call]:
        if not self.device.startswith("cuda"):
            self._notice("CUDA graphs need a GPU; the model runs without")
            return {}
        try:
            return {size: self._graph(call, size) for size in sizes}
        except RuntimeError as error:
            self._notice(f"CUDA graphs could not be captured ({error}); the model runs without")
            return {}

    def _graph(self, call: Call, size: int) -> Call:
        import torch

        shape = (size, self.window_samples)
        values = torch.zeros(shape, dtype=self._network.dtype, device=self.device)
        mask = torch.ones(shape, dtype=torch.long, device=self.device)
        side = torch.cuda.Stream(self.device)
        side.wait_stream(torch.cuda.current_stream(self.device))
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode():
            with torch.cuda.stream(side):
                for _ in range(3):  # lazy initialisation must not be recorded
                    call(values, mask)
            torch.cuda.current_stream(self.device).wait_stream(side)
            # thread_local: another thread may be running batches on this device meanwhile.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                found = call(values, mask)

        def replay(new_values: Any, new_mask: Any) -> Any:
            values.copy_(new_values)
            mask.copy_(new_mask)
            graph.replay()
            return found

        return replay

    def compile_in_background(
        self, sizes: Sequence[int], compiler: Callable[[Any], Call] | None = None
    ) -> threading.Thread:
        """Compile in a thread, warm up every batch size there, then swap. A failure leaves what runs, and a notice.

        compiler: instead of `torch.compile`.
        """
        self.compiled = "compiling"
        thread = threading.Thread(target=self._compile, args=(list(sizes), compiler), name="turn-compile", daemon=True)
        thread.start()
        return thread

    def _compile(self, sizes: list[int], compiler: Callable[[Any], Call] | None) -> None:
        import torch

        try:
            call = torch.compile(self._network, dynamic=False) if compiler is None else compiler(self._network)
            with torch.inference_mode():
                for size in sizes:
                    shape = (size, self.window_samples)
                    values = torch.zeros(shape, dtype=self._network.dtype, device=self.device)
                    call(values, torch.ones(shape, dtype=torch.long, device=self.device))
            graphs = self._graphs(call, sizes) if self._stage.graphs else {}
        except Exception as error:  # whatever the compiler raises: what runs goes on
            self.compiled = False
            self._notice(f"compiling failed ({type(error).__name__}: {str(error)[:200]}); the model runs uncompiled")
            logger.debug("compiling failed", exc_info=True)
            return
        self._stage = _Stage(call, True, graphs)
        self.compiled = True

    def _notice(self, text: str) -> None:
        self.notices.append(text)
        logger.warning("%s", text)


def _device(device: str) -> str:
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"turn.device is {device}, and there is no GPU that torch can use", hint="turn.device=cpu")
    return device
