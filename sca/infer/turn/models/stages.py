"""Ways to run a network: directly, compiled, or as CUDA graphs.

A graph exists for each size of batches and each length of rows. It contains everything from samples to probabilities,
so a batch is one copy on the device and one launch. The graphs share their memory and their input, because one runs at
a time.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sca.infer.turn.models.model import DeviceLostError, DeviceMemoryError

if TYPE_CHECKING:
    import torch

__all__ = ["Forward", "Shape", "Stage", "capture_graphs", "device_errors", "exact_float32", "padded"]

_WARM_UP_RUNS = 3  # as in the documentation of torch: libraries choose their kernels, and plans are made

Forward = Callable[["torch.Tensor", "torch.Tensor"], "torch.Tensor"]
"""(samples, lengths) to probabilities."""

Shape = tuple[int, int]
"""The size of a batch, and the length of its rows in samples."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A way to run a network.

    Attributes:
        forward: Runs a batch.
        compiled: Whether it is compiled, for the shapes of the buckets.
        graphs: CUDA graphs by shape. They accept batches with fewer rows.
    """

    forward: Forward
    compiled: bool = False
    graphs: dict[Shape, Forward] = field(default_factory=dict)

    def run(self, samples: "torch.Tensor", lengths: "torch.Tensor", size: int) -> "torch.Tensor":
        """Return probabilities, of which the first are those of the rows.

        Args:
            samples: Float32 `(rows, samples)`.
            lengths: Int64 `(rows,)`.
            size: The size of the batch; the rest is silence.
        """
        graph = self.graphs.get((size, samples.shape[1]))
        if graph is not None:
            return graph(samples, lengths)
        return self.forward(*padded(samples, lengths, size)) if self.compiled else self.forward(samples, lengths)


def padded(samples: "torch.Tensor", lengths: "torch.Tensor", size: int) -> "tuple[torch.Tensor, torch.Tensor]":
    """Return a batch with rows of length 0 up to `size`."""
    from torch.nn.functional import pad

    missing = size - len(lengths)
    return (pad(samples, (0, 0, 0, missing)), pad(lengths, (0, missing))) if missing else (samples, lengths)


def capture_graphs(forward: Forward, shapes: Sequence[Shape], device: str) -> dict[Shape, Forward]:
    """Record a CUDA graph for each shape.

    Raises:
        RuntimeError: A graph cannot be recorded.
    """
    import torch

    rows, samples = max(size for size, _ in shapes), max(length for _, length in shapes)
    values = torch.zeros((rows, samples), device=device)
    lengths = torch.zeros(rows, dtype=torch.long, device=device)
    pool = torch.cuda.graph_pool_handle()
    graphs = {}
    with torch.cuda.device(device):
        # Large ones first: the smaller ones fit into their memory.
        for size, length in sorted(shapes, reverse=True):
            graphs[size, length] = _capture(forward, values[:size, :length], lengths[:size], pool)
    return graphs


def _capture(forward: Forward, values: "torch.Tensor", lengths: "torch.Tensor", pool: object) -> Forward:
    import torch

    graph = torch.cuda.CUDAGraph()
    side = torch.cuda.Stream(values.device)
    with torch.inference_mode():
        side.wait_stream(torch.cuda.current_stream(values.device))
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP_RUNS):
                forward(values, lengths)
        torch.cuda.current_stream(values.device).wait_stream(side)
        # thread_local: another thread may be running batches on this device meanwhile.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            probabilities = forward(values, lengths)

    def replay(new_values: "torch.Tensor", new_lengths: "torch.Tensor") -> "torch.Tensor":
        rows = len(new_lengths)
        values[:rows].copy_(new_values)
        lengths.zero_()
        lengths[:rows].copy_(new_lengths)
        graph.replay()
        return probabilities

    return replay


def exact_float32(device: str, dtype: str) -> AbstractContextManager[None]:
    """Return a context in which convolutions of float32 on a GPU are not computed in TF32, which has 10 bits."""
    if not device.startswith("cuda") or dtype != "float32":
        return nullcontext()
    from torch.backends import cudnn

    flags: AbstractContextManager[None] = cudnn.flags(enabled=True, allow_tf32=False)
    return flags


@contextmanager
def device_errors(device: str) -> Iterator[None]:
    """Convert the errors of a device.

    Raises:
        DeviceMemoryError: Its memory does not suffice.
        DeviceLostError: It does not answer any more.
    """
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        if device.startswith("cuda") and torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise DeviceMemoryError(f"the memory of {device} does not suffice") from error
    except torch.AcceleratorError as error:
        raise _lost(device, error) from error
    except RuntimeError as error:  # older versions of torch, and libraries of CUDA
        if "can't allocate memory" in str(error):
            raise DeviceMemoryError(f"the memory of {device} does not suffice") from error
        if "CUDA error" in str(error) or "CUDNN_STATUS_EXECUTION_FAILED" in str(error):
            raise _lost(device, error) from error
        raise


def _lost(device: str, error: Exception) -> DeviceLostError:
    reason = (str(error).strip().splitlines() or ["no reason"])[0]
    return DeviceLostError(
        f"the device {device} does not answer any more: {reason}",
        hint="start the server again; nvidia-smi shows the device",
    )
