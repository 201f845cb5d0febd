"""How much a picture differs from another one, and the length of the answer that fits."""

import numpy as np
from numpy.typing import NDArray

from sca.watch.engines.base import Density

__all__ = ["DENSITIES", "density_of", "difference", "grey_cells"]

DENSITIES: tuple[Density, ...] = ("minimal", "brief", "normal")
"""From the least to the most."""

_SIDE = 64
_POINTS = 4
"""Points per side of a cell that are averaged."""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue. Source: ITU-R BT.601."""

_LITTLE, _MUCH = 4.0, 16.0
"""Differences below which little has changed, and from which on the scene is another one."""
_SHORT_CHARS, _LONG_CHARS = 80, 200
"""Lengths of a last answer of about one and three sentences."""


def grey_cells(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the luma of a picture in 64×64 cells.

    Args:
        pixels: RGB, uint8 `(height, width, 3)` of any size.

    Returns:
        Float32 `(64, 64)` in [0, 255].
    """
    height, width = pixels.shape[:2]
    rows = np.arange(_SIDE * _POINTS) * height // (_SIDE * _POINTS)
    columns = np.arange(_SIDE * _POINTS) * width // (_SIDE * _POINTS)
    points = pixels[rows][:, columns].reshape(_SIDE, _POINTS, -1)
    sums = points.sum(axis=1, dtype=np.uint16).reshape(_SIDE, _SIDE, _POINTS, 3).sum(axis=2, dtype=np.uint16)
    cells: NDArray[np.float32] = sums @ (_LUMA / np.float32(_POINTS**2))
    return cells


def difference(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the mean absolute difference of two pictures of `grey_cells`, 0 to 255."""
    return float(np.abs(one - other).mean())


def density_of(change: float, last_answer_chars: int, most: Density | None) -> Density:
    """Return how much to say.

    Args:
        change: The difference to the picture of the last cycle, 0 to 255.
        last_answer_chars: The length of the last answer; a long one shortens the next.
        most: The most that the profile allows; None for no limit.
    """
    if change < _LITTLE or last_answer_chars > _LONG_CHARS:
        wanted = 0
    elif change >= _MUCH and last_answer_chars <= _SHORT_CHARS:
        wanted = 2
    else:
        wanted = 1
    return DENSITIES[wanted if most is None else min(wanted, DENSITIES.index(most))]
