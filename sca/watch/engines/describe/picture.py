"""What changes in a picture as a whole: cuts, brightness, motion. Numpy only, on pictures of 64×36 cells."""

import numpy as np
from numpy.typing import NDArray

from sca.watch.engines.describe.remarks import Remark
from sca.watch.frames import VideoFrame

__all__ = ["PictureWatch", "cells_of"]

_COLUMNS, _ROWS = 64, 36
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in the luma. Source: ITU-R BT.601."""

_CUT_HISTOGRAM, _CUT_DIFFERENCE = 0.3, 0.08
"""A cut: so much of the histogram of luma changes, and so much of the picture."""
_DARK, _LIT = 0.08, 0.14
"""Mean luma below which a picture is dark, and above which it is no longer."""
_MOVED = 0.05
"""Change of the luma of a cell that is motion."""
_LEAST_MOVING, _MOST_MOVING = 0.006, 0.5
"""Share of the cells that move: below it is noise, above it is the camera."""
_CONFIRMED = 3
"""Pictures in a row before a state is believed."""
_STILL_US = 3_000_000
_BETWEEN_MOTIONS_US = 8_000_000
_BETWEEN_CUTS_US = 2_000_000


def cells_of(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the luma of a picture in 64×36 cells, float32 `(36, 64)` in [0, 1].

    Args:
        pixels: RGB, uint8 `(height, width, 3)` of any size.
    """
    height, width = pixels.shape[:2]
    rows = (np.arange(_ROWS * 4) * height) // (_ROWS * 4)
    columns = (np.arange(_COLUMNS * 4) * width) // (_COLUMNS * 4)
    sampled = pixels[rows[:, None], columns[None, :]].astype(np.float32) @ _LUMA  # four points per side of a cell
    cells: NDArray[np.float32] = sampled.reshape(_ROWS, 4, _COLUMNS, 4).mean(axis=(1, 3)) / np.float32(255)
    return cells


class PictureWatch:
    """Follows the pictures of one video."""

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None
        self._is_dark, self._dark_run = False, 0
        self._is_moving, self._moving_run = False, 0
        self._still_since_us: int | None = None
        self._motion_us, self._cut_us = -_BETWEEN_MOTIONS_US, -_BETWEEN_CUTS_US
        self.had_cut = False

    def see(self, frame: VideoFrame) -> list[Remark]:
        """Look at the next picture; `had_cut` is whether a cut comes before it.

        Args:
            frame: The picture.

        Returns:
            What is worth saying about it.
        """
        cells, last = cells_of(frame.pixels), self._last
        self._last, self.had_cut = cells, False
        if last is None:
            self._is_dark = bool(cells.mean() < _DARK)
            return []
        difference = np.abs(cells - last)
        light = self._light(float(cells.mean()), frame.time_us)
        if difference.mean() > _CUT_DIFFERENCE and _histogram_change(cells, last) > _CUT_HISTOGRAM:
            self.had_cut, self._moving_run, self._still_since_us = True, 0, None
            cut = [] if light else self._cut(frame.time_us)
            return light + cut
        return light + self._motion(difference, frame.time_us)

    def _cut(self, time_us: int) -> list[Remark]:
        since_us, self._cut_us = time_us - self._cut_us, time_us
        return [Remark("cut", "The scene changes.", time_us)] if since_us >= _BETWEEN_CUTS_US else []

    def _light(self, mean: float, time_us: int) -> list[Remark]:
        is_other = mean > _LIT if self._is_dark else mean < _DARK
        self._dark_run = self._dark_run + 1 if is_other else 0
        if self._dark_run < _CONFIRMED:
            return []
        self._is_dark, self._dark_run = not self._is_dark, 0
        return [Remark("light", "The picture is dark." if self._is_dark else "The picture is bright again.", time_us)]

    def _motion(self, difference: NDArray[np.float32], time_us: int) -> list[Remark]:
        moved = difference > _MOVED
        share = float(moved.mean())
        if share < _LEAST_MOVING:
            self._moving_run = 0
            if self._still_since_us is None:
                self._still_since_us = time_us
            if not self._is_moving or time_us - self._still_since_us < _STILL_US:
                return []
            self._is_moving = False
            return self._motion_remark("The picture is still.", time_us)
        self._still_since_us = None
        self._moving_run += 1
        if self._is_moving or self._moving_run < _CONFIRMED:
            return []
        self._is_moving = True
        return self._motion_remark(_motion_sentence(moved, share), time_us)

    def _motion_remark(self, text: str, time_us: int) -> list[Remark]:
        if time_us - self._motion_us < _BETWEEN_MOTIONS_US:
            return []
        self._motion_us = time_us
        return [Remark("motion", text, time_us)]


def _motion_sentence(moved: NDArray[np.bool_], share: float) -> str:
    if share > _MOST_MOVING:
        return "The whole picture moves."
    center = float(np.nonzero(moved)[1].mean()) / _COLUMNS
    where = "on the left" if center < 0.36 else "on the right" if center > 0.64 else "in the middle"
    return f"Something moves {where}."


def _histogram_change(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the share of the cells that are in other bins of a histogram with 16 bins, 0 to 1."""
    counts = [np.histogram(cells, bins=16, range=(0.0, 1.0))[0] for cells in (one, other)]
    return float(np.abs(counts[0] - counts[1]).sum()) / (2 * one.size)
