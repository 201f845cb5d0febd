"""The interfaces of end-of-turn models, and how a device fails."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sca.errors import UpstreamError

__all__ = ["BatchModel", "DeviceLostError", "DeviceMemoryError", "Model"]


class Model(Protocol):
    """An end-of-turn model."""

    name: str
    device: str
    dtype: str
    window_samples: int

    def __call__(self, x: NDArray[np.float32]) -> float:
        """Return the probability that the speaker has finished.

        Args:
            x: Float32 `(n,)` at 16 kHz.
        """
        ...


class BatchModel(Protocol):
    """A model that processes several inputs together, and takes the next ones meanwhile.

    It has two sides with numbered rows: one thread fills the rows of one side, another runs those of the other.
    """

    name: str
    device: str
    dtype: str
    window_samples: int

    def reserve(self, rows: int) -> None:
        """Make room for `rows` rows on each side."""
        ...

    def stage(self, side: int, row: int, x: NDArray[np.float32]) -> None:
        """Copy audio to a row.

        Args:
            side: 0 or 1.
            row: The number of the row.
            x: Float32 `(n,)` at 16 kHz.

        Raises:
            InputError: There is no audio in `x`.
            DeviceLostError: The device does not answer any more.
        """
        ...

    def run(self, side: int, rows: range, size: int) -> NDArray[np.float32]:
        """Return the probabilities that the speakers have finished, float32 `(len(rows),)`.

        Args:
            side: 0 or 1.
            rows: The rows, with a step of 1.
            size: The batch size. The rest of the batch is silence.

        Raises:
            DeviceMemoryError: The memory of the device does not suffice.
            DeviceLostError: The device does not answer any more.
        """
        ...


class DeviceMemoryError(Exception):
    """The memory of the device does not suffice for a batch. A smaller one may succeed."""


class DeviceLostError(UpstreamError):
    """The device does not answer any more in this process. Only a new process can use it again."""
