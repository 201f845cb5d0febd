"""The machine at hand: its memory, and the speed that a training is expected to reach on it."""

import time
from dataclasses import dataclass

__all__ = ["Machine", "machine_at_hand"]

_PEAKS = {"H100": 989e12, "H200": 989e12, "GH200": 989e12, "B200": 2250e12, "A100": 312e12, "L40S": 362e12}
"""Operations a second of dense bfloat16 matrix products, by a part of the name: the data sheets of NVIDIA, without
sparsity. The PCIe forms are slower."""
_REACHED_GPU = 0.2
"""Assumed share of the peak. Not measured. Small products of experts and kernels that are launched one by one leave
that much of it."""
_REACHED_MEASURED = 0.5
"""Assumed share of the speed of one large product that was measured."""
_SIZE = 1024


@dataclass(frozen=True, slots=True)
class Machine:
    """A device, and how many there are.

    Attributes:
        name: Its name.
        devices: Number of such devices.
        memory_bytes: Memory of one.
        free_bytes: What of it other programs do not use now; of GPUs, that with the least.
        flops_per_s: Operations a second of matrix products: of the data sheet, or measured.
        reached: The assumed share of it.
        measured: Whether `flops_per_s` was measured.
    """

    name: str
    devices: int
    memory_bytes: int
    free_bytes: int
    flops_per_s: float
    reached: float
    measured: bool

    def seconds(self, flops: float) -> float:
        """Return the time of operations on one device."""
        return flops / (self.flops_per_s * self.reached)


def machine_at_hand(*, cpu: bool = False) -> Machine:
    """Return the GPUs of this machine, or its processor. The speed of a device that is not known is measured, in 0.1 s.

    Args:
        cpu: Whether the processor is used even if there are GPUs.
    """
    import torch

    if torch.cuda.is_available() and not cpu:
        device = torch.cuda.get_device_properties(0)
        peak = next((peak for name, peak in _PEAKS.items() if name in device.name), None)
        speed = peak or _measured("cuda")
        return Machine(
            device.name,
            torch.cuda.device_count(),
            device.total_memory,
            min(torch.cuda.mem_get_info(number)[0] for number in range(torch.cuda.device_count())),
            speed,
            _REACHED_MEASURED if peak is None else _REACHED_GPU,
            measured=peak is None,
        )
    import psutil

    memory = psutil.virtual_memory()
    return Machine("processor", 1, memory.total, memory.available, _measured("cpu"), _REACHED_MEASURED, measured=True)


def _measured(device: str) -> float:
    """Multiply two matrices for 0.1 s and return the operations a second of the fastest product."""
    import torch

    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    left = torch.ones(_SIZE, _SIZE, dtype=dtype, device=device)
    best, until = float("inf"), time.monotonic() + 0.1
    while best == float("inf") or time.monotonic() < until:
        begin = time.perf_counter()
        (left @ left)[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - begin)
    return 2 * _SIZE**3 / best
