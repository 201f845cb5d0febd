"""The interface of end-of-turn models."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Model"]


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
