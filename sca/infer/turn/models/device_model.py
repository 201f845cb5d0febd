"""A turn model in torch that runs batches, on a CPU or a GPU.

Audio is staged row by row (`StagedRows`), and the network computes everything else from samples and lengths. The way in
which the network runs is a `Stage`, which is replaced by one assignment, so a batch that runs meanwhile uses either the
old or the new one, and both are warmed up.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.distribution import install_extra
from sca.errors import ConfigError, MissingToolError
from sca.infer.turn.models.model import BatchModel
from sca.infer.turn.models.stages import Forward, Shape, Stage, capture_graphs, device_errors, exact_float32
from sca.infer.turn.models.staging import StagedRows

if TYPE_CHECKING:
    import torch

__all__ = ["FRAME_SAMPLES", "DeviceModel", "number_format_of", "resolve_device"]

logger = logging.getLogger(__name__)

_MAX_SHOWN_CHARACTERS = 200
FRAME_SAMPLES = 400
"""The samples that a frame of the encoder of v2 sees."""


class DeviceModel(BatchModel):
    """The model on one device.

    One thread may stage rows of one side while another runs the other side.

    Attributes:
        name: The name of the model.
        device: The device.
        dtype: The number format of the weights.
        precision: Why they have it, for display.
        window_samples: The input length.
        lengths: The lengths of rows for which the network runs, increasing; the last is the window.
        notices: Requested features that are not available, for display.
        compiled: Whether the network is compiled.
    """

    def __init__(
        self,
        network: "torch.nn.Module",
        name: str,
        device: str,
        *,
        lengths: Sequence[int],
        at_end: bool,
        precision: str,
    ) -> None:
        """Create a model.

        Args:
            network: Maps samples `(batch, samples)` and lengths `(batch,)` to probabilities.
            name: See the class.
            device: See the class.
            lengths: See the class.
            at_end: Whether audio that is shorter than its row is at the end of it.
            precision: See the class.
        """
        self._network = network.to(device).eval()
        self.name, self.device, self.lengths = name, device, tuple(lengths)
        self.dtype = str(next(network.parameters()).dtype).removeprefix("torch.")
        self.precision = precision
        self.window_samples = lengths[-1]
        self.notices: list[str] = []
        self.compiled: bool | Literal["compiling"] = False
        self._stage = Stage(self._network)
        self._rows = StagedRows(device, self.window_samples, at_end=at_end)

    @property
    def captured(self) -> list[int]:
        """The batch sizes that run as a CUDA graph."""
        return sorted({size for size, _ in self._stage.graphs})

    def __call__(self, x: NDArray[np.float32]) -> float:
        """Return the probability that the speaker has finished.

        Args:
            x: Float32 `(n,)` at 16 kHz. The end of it is used.
        """
        return float(self.batch([x], 1)[0])

    def batch(self, items: Sequence[NDArray[np.float32]], size: int) -> NDArray[np.float32]:
        """Return the probabilities that the speakers have finished, float32 `(len(items),)`.

        Args:
            items: Float32 `(n,)` at 16 kHz each. The end of each is used.
            size: The batch size. The rest of the batch is silence.
        """
        self.reserve(max(len(items), size))
        for row, item in enumerate(items):
            self.stage(0, row, item)
        return self.run(0, range(len(items)), size)

    @override
    def reserve(self, rows: int) -> None:
        with device_errors(self.device):
            self._rows.reserve(rows)

    @override
    def stage(self, side: int, row: int, x: NDArray[np.float32]) -> None:
        with device_errors(self.device):
            self._rows.put(side, row, x)

    @override
    def run(self, side: int, rows: range, size: int) -> NDArray[np.float32]:
        import torch

        with device_errors(self.device), torch.inference_mode(), exact_float32(self.device, self.dtype):
            samples, lengths = self._rows.rows(side, rows, self._row_length(side, rows))
            probabilities = self._stage.run(samples, lengths, size)
            result: NDArray[np.float32] = probabilities[: len(rows)].cpu().numpy()
        return result

    def _row_length(self, side: int, rows: range) -> int:
        """Return the least length that gives the result of the whole window.

        The last frames of the encoder look beyond the audio, and audio without a whole frame has no mask.
        """
        if self._rows.shortest(side, rows) < FRAME_SAMPLES:
            return self.window_samples
        longest = self._rows.longest(side, rows) + FRAME_SAMPLES
        return next((length for length in self.lengths if longest <= length), self.window_samples)

    def _shapes(self, sizes: Sequence[int]) -> list[Shape]:
        return [(size, length) for size in sizes for length in self.lengths]

    def warm_up(self, sizes: Sequence[int]) -> None:
        """Make room for the largest batch, and run every shape once."""
        self.reserve(max(sizes))
        self._run_all(self._stage.forward, sizes)

    def _run_all(self, forward: Forward, sizes: Sequence[int]) -> None:
        import torch

        with device_errors(self.device), torch.inference_mode(), exact_float32(self.device, self.dtype):
            for size, length in self._shapes(sizes):
                samples = torch.zeros((size, length), device=self.device)
                forward(samples, torch.full((size,), length, device=self.device))

    def capture_graphs(self, sizes: Sequence[int]) -> None:
        """Record a CUDA graph for each batch size and length. If that is not possible, a notice is added."""
        stage = self._stage
        self._stage = Stage(stage.forward, stage.compiled, self._capture_all(stage.forward, sizes))

    def _capture_all(self, forward: Forward, sizes: Sequence[int]) -> dict[Shape, Forward]:
        if not self.device.startswith("cuda"):
            self._add_notice("CUDA graphs need a GPU; the model runs without them")
            return {}
        try:
            with exact_float32(self.device, self.dtype):
                return capture_graphs(forward, self._shapes(sizes), self.device)
        except RuntimeError as error:
            self._add_notice(f"CUDA graphs could not be captured ({error}); the model runs without them")
            return {}

    def compile_in_background(
        self, sizes: Sequence[int], compiler: Callable[["torch.nn.Module"], Forward] | None = None
    ) -> threading.Thread:
        """Compile in a thread, warm up each shape there, then replace the stage.

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

    def _compile(self, sizes: list[int], compiler: Callable[["torch.nn.Module"], Forward] | None) -> None:
        import torch

        try:
            forward = torch.compile(self._network, dynamic=False) if compiler is None else compiler(self._network)
            with torch._dynamo.config.patch(recompile_limit=len(self._shapes(sizes)) + 1):  # one for each shape
                self._run_all(forward, sizes)
            graphs = self._capture_all(forward, sizes) if self._stage.graphs else {}
        except Exception as error:  # whatever the compiler raises, the current stage stays
            self.compiled = False
            reason = f"{type(error).__name__}: {str(error)[:_MAX_SHOWN_CHARACTERS]}"
            self._add_notice(f"compiling failed ({reason}); the model runs uncompiled")
            logger.debug("compiling failed", exc_info=True)
            return
        self._stage = Stage(forward, True, graphs)
        self.compiled = True

    def _add_notice(self, text: str) -> None:
        self.notices.append(text)
        logger.warning("%s", text)


def resolve_device(device: str, model: str) -> str:
    """Return the device for a setting.

    Args:
        device: The setting; `auto` is a GPU if there is one.
        model: The model, for the message.

    Raises:
        MissingToolError: torch is not installed, or the GPU does not exist.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingToolError(f"{model} needs torch", hint=install_extra("live")) from error
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda"):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(device.partition(":")[2] or 0) >= count:
            found = "no GPU" if not count else f"{count} of them, from cuda:0 to cuda:{count - 1}"
            raise MissingToolError(
                f"turn.device is {device}, and torch {torch.__version__} finds {found}",
                hint="--device cpu; nvidia-smi lists GPUs, and docs/install.md has the builds of torch for CUDA",
            )
    return device


def number_format_of(dtype: str, device: str, model: str, on_gpu: str) -> "tuple[torch.dtype, str]":
    """Return the number format for a setting, and why.

    Args:
        dtype: The setting.
        device: The device.
        model: The model, for the message.
        on_gpu: What `auto` is on a GPU; on a CPU it is float32.

    Raises:
        ConfigError: The setting is int8, which torch does not run here.
    """
    import torch

    formats = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype == "auto":
        is_gpu = device.startswith("cuda")
        return formats[on_gpu if is_gpu else "float32"], f"the default on a {'GPU' if is_gpu else 'CPU'}"
    if dtype not in formats:
        raise ConfigError(f"{model} in torch has no {dtype}", hint="turn.dtype=auto, float32, bfloat16 or float16")
    return formats[dtype], "turn.dtype"
