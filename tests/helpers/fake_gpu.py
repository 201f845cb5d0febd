"""GPUs that do not exist: tensors with a device and a shape, but without numbers or memory.

The dispatch key `PrivateUse1` of torch is registered as the device type `gpu`, and `FakeTensorMode` computes the shape and
the device of every result. An operation on tensors of two devices raises, as on CUDA. `Watch` records every place where
the host would wait for a device: a number that is read, or a copy to the CPU. The registration cannot be undone, so
`in_process` runs a function in a process of its own.

It does not show synchronisation inside kernels, whether a CUDA graph can be captured, or speed.
"""

import multiprocessing
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode

T = TypeVar("T")
READS = (
    "aten._local_scalar_dense", "aten.item", "aten.is_nonzero", "aten.equal", "aten.nonzero", "aten.masked_select",
    "aten.unique", "aten._unique2", "aten.bincount",
)  # fmt: skip


def in_process(run: Callable[[], T], limit_s: float = 120) -> T:
    """Run a function in a fork of this process and return its result, which must be picklable. Raises what it raises."""
    receive, send = multiprocessing.Pipe(duplex=False)

    def work() -> None:
        try:
            send.send((run(), None))
        except BaseException as error:
            send.send((None, RuntimeError("".join(traceback.format_exception(error)))))

    with warnings.catch_warnings():  # Python 3.12 and newer warn of forks of processes with threads
        warnings.simplefilter("ignore", DeprecationWarning)
        process = multiprocessing.get_context("fork").Process(target=work)
        process.start()
    try:
        assert receive.poll(limit_s), "the process with the fake GPU does not answer"
        result, error = receive.recv()
    finally:
        process.kill()
        process.join()
    if error is not None:
        raise error
    return result


_whole = [0]
_is_registered: list[bool] = []


def register(whole: int = 0) -> FakeTensorMode:
    """Register the device type `gpu` in this process, and return a mode in which its tensors are created.

    Modes share what torch remembers of operations, so a second model in a process is cheaper than the first one.

    Args:
        whole: The whole numbers in arrays that are made of tensors; other numbers are 0.
    """
    _whole[0] = whole
    if not _is_registered:
        _is_registered.append(True)
        _register()
    return FakeTensorMode(allow_non_fake_inputs=True)


def _register() -> None:
    backend_registration._setup_privateuseone_for_python_backend("gpu")
    tensor, from_numpy = torch.tensor, torch.from_numpy

    def made(data, *args, device=None, **more):
        out = tensor(data, *args, **more)
        on_gpu = device is not None and torch.device(device).type == "gpu"
        return torch.empty(out.shape, dtype=out.dtype, device=device) if on_gpu else out.to(device)

    def shaped(array):
        out = from_numpy(array)
        return torch.empty(out.shape, dtype=out.dtype)

    def array(self):
        number = 0 if self.is_floating_point() else _whole[0]
        return np.full(self.shape, number, str(self.dtype).removeprefix("torch."))

    # The mode keeps the numbers of lists and arrays, and would compute with them on the device.
    torch.tensor, torch.from_numpy, torch.Tensor.numpy = made, shaped, array


def place(mode: FakeTensorMode, model: torch.nn.Module, devices: Mapping[str, str]) -> torch.nn.Module:
    """Replace the weights and buffers of a model by fake ones.

    Args:
        mode: The mode.
        model: A model of any device, such as meta.
        devices: The device of each part, as in a device map of accelerate; the longest name counts.
    """
    for name, module in model.named_modules():
        for store in (module._parameters, module._buffers):
            for key, value in store.items():
                if value is None:
                    continue
                fake = FakeTensor(mode, value.detach().to("meta"), torch.device(_device(f"{name}.{key}", devices)))
                store[key] = torch.nn.Parameter(fake, requires_grad=False) if store is module._parameters else fake
    return model


def _device(name: str, devices: Mapping[str, str]) -> str:
    return devices[max((part for part in devices if not part or name.startswith(part + ".")), key=len)]


class Watch(TorchDispatchMode):
    """Records where the host waits for a device, and answers with numbers.

    Attributes:
        waits: How often each line of sca, or else of a library, reads from a device.
    """

    def __init__(self, number: Callable[[], int] = lambda: 0) -> None:
        """Begin.

        Args:
            number: Returns the value of the next number that is read.
        """
        super().__init__()
        self.waits: Counter[str] = Counter()
        self._number = number

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, has_gpu = str(func), any(_is_on(one, "gpu") for one in args)
        if has_gpu and name.startswith(READS):
            self._record()
            return bool(self._number()) if "nonzero" in name or "equal" in name else self._number()
        out = func(*args, **(kwargs or {}))
        if has_gpu and _is_on(out, "cpu"):
            self._record()
        return out

    def _record(self) -> None:
        frames = [one for one in traceback.extract_stack() if "/torch/" not in one.filename]
        ours = [one for one in frames if "/sca/" in one.filename] or frames
        self.waits[f"{ours[-1].filename.rpartition('/')[2]}: {ours[-1].line}"] += 1


def _is_on(value, kind: str) -> bool:
    return isinstance(value, torch.Tensor) and value.device.type == kind
