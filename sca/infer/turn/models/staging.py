"""The input rows of a batch on the device, filled from the host while another batch runs.

On a GPU a row is copied to one of a few page-locked buffers, and from there by a stream of its own. So the host needs
memory for a few rows, not for whole batches, and the copy runs beside the kernels of the present batch. On a CPU a row
is copied to its place.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sca.errors import InputError

if TYPE_CHECKING:
    import torch

__all__ = ["StagedRows"]

_PINNED_ROWS = 8


@dataclass(slots=True)
class _Slot:
    """A page-locked row, and the event after which it is free."""

    memory: "torch.Tensor"
    copied: "torch.cuda.Event"


class StagedRows:
    """Two sides of rows on a device."""

    def __init__(self, device: str, window_samples: int, *, at_end: bool) -> None:
        """Create it without rows.

        Args:
            device: The device.
            window_samples: The length of a row. Of longer audio the end is used.
            at_end: Whether shorter audio is at the end of its row.
        """
        self._device, self._window, self._at_end = device, window_samples, at_end
        self._on_gpu = device.startswith("cuda")
        self._samples: list[torch.Tensor] = []
        self._lengths = np.zeros((2, 0), np.int64)
        self._slots: list[_Slot] = []
        self._next = 0
        self._stream: torch.cuda.Stream | None = None

    def reserve(self, rows: int) -> None:
        """Make room for `rows` rows on each side. The content of the rows is lost."""
        import torch

        if rows <= self._lengths.shape[1]:
            return
        # Not zeros: a kernel that fills them could run after the copies of the other stream.
        self._samples = [torch.empty((rows, self._window), device=self._device) for _ in range(2)]
        self._lengths = np.zeros((2, rows), np.int64)
        if self._on_gpu and not self._slots:
            self._stream = torch.cuda.Stream(self._device)
            pinned = [torch.zeros(self._window, pin_memory=True) for _ in range(_PINNED_ROWS)]
            self._slots = [_Slot(memory, torch.cuda.Event()) for memory in pinned]

    def put(self, side: int, row: int, x: NDArray[np.float32]) -> None:
        """Copy audio to a row.

        Raises:
            InputError: `x` is not float32 `(n,)`, or empty.
        """
        if x.ndim != 1 or x.dtype != np.float32 or not len(x):
            raise InputError(f"a turn model takes float32 (n,) with at least one sample, got {x.dtype} {x.shape}")
        x = x[-self._window :]
        start = self._window - len(x) if self._at_end else 0
        target = self._samples[side][row, start : start + len(x)]
        if self._stream is None:
            np.copyto(target.numpy(), x)
        else:
            self._copy_by_stream(x, target, self._stream)
        self._lengths[side, row] = len(x)

    def _copy_by_stream(self, x: NDArray[np.float32], target: "torch.Tensor", stream: "torch.cuda.Stream") -> None:
        import torch

        slot = self._slots[self._next]
        self._next = (self._next + 1) % len(self._slots)
        slot.copied.synchronize()  # returns at once if it was never recorded
        pinned = slot.memory[: len(x)]
        np.copyto(pinned.numpy(), x)
        with torch.cuda.stream(stream):
            target.copy_(pinned, non_blocking=True)
            slot.copied.record(stream)

    def rows(self, side: int, rows: range, samples: int) -> "tuple[torch.Tensor, torch.Tensor]":
        """Return staged audio for the current stream, as views.

        Args:
            side: 0 or 1.
            rows: The rows, with a step of 1.
            samples: The length of the rows that is needed.

        Returns:
            Float32 `(len(rows), samples)`, and the lengths, int64 `(len(rows),)`.
        """
        import torch

        chosen = slice(rows.start, rows.stop)
        lengths = torch.from_numpy(self._lengths[side, chosen].copy())
        if self._stream is not None:
            torch.cuda.current_stream(self._device).wait_stream(self._stream)
            lengths = lengths.pin_memory().to(self._device, non_blocking=True)
        part = self._samples[side][chosen]
        return (part[:, self._window - samples :] if self._at_end else part[:, :samples]), lengths

    def longest(self, side: int, rows: range) -> int:
        """Return the length of the longest audio in rows."""
        return int(self._lengths[side, rows.start : rows.stop].max(initial=0))

    def shortest(self, side: int, rows: range) -> int:
        """Return the length of the shortest audio in rows."""
        return int(self._lengths[side, rows.start : rows.stop].min(initial=self._window))
