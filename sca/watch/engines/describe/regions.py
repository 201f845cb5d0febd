"""Places with text in a video: where they are, when they are read, and the reading that several pictures agree on.

Finding text costs 0.3 s of a core, reading a line 0.02 s, comparing a place with its last reading almost nothing. So text is
looked for when something appeared that stays, else less and less often; a place is read when its pixels changed, until
two of three readings agree; and a place that changes all the time is read seldom.
"""

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sca.watch.engines.describe.ocr import Box, TextReader
from sca.watch.engines.describe.picture import cells_of
from sca.watch.frames import VideoFrame

__all__ = ["Reading", "Region", "TextRegions"]

_VOTES, _AGREE = 3, 2
_READS_PER_FRAME = 2
_LEAST_CONFIDENCE = 0.75

_SEARCH_GAP_US, _LONGEST_GAP_US = 2_000_000, 8_000_000
"""Pictures in which something moves seem to have something new all the time: without a new text the gap doubles."""
_CUT_GAP_US = 1_000_000
_LARGEST_SHARE = 5
"""A search is at least this many times its processor time after the last one, so slow machines search less often."""
_FIRST_IDLE_US, _LONGEST_IDLE_US = 4_000_000, 16_000_000
_SAME_PLACE = 0.4
_MISSED_SEARCHES = 2

_BLOCK = 8
_CHANGED = 14.0
"""Change of the mean of a block of 8×8 pixels, of 255, that is not noise of the encoder."""
_RESTLESS = 0.6
_RESTLESS_GAP_US = 2_000_000

_CELL_CHANGED, _CELL_STEADY, _LEAST_CELLS = 0.06, 0.02, 3


@dataclass(frozen=True, slots=True)
class Reading:
    """A text that two of three readings of a place agree on, for the first time.

    Attributes:
        region: The place.
        text: The text; empty if it has disappeared.
        first_us: `VideoFrame.time_us` of the first picture with it.
        now_us: `VideoFrame.time_us` of the last picture with it.
    """

    region: "Region"
    text: str
    first_us: int
    now_us: int


@dataclass(slots=True, eq=False)
class Region:
    """A place with text.

    Attributes:
        box: Where it is, with a margin.
        text: The text that was agreed on last.
        is_important: Whether its changes are always read at once.
        needs_reading: Whether it is read again although its pixels do not change.
    """

    box: Box
    text: str | None = None
    is_important: bool = False
    needs_reading: bool = False
    missed: int = 0
    reference: NDArray[np.float32] | None = None
    votes: "deque[tuple[str, int]]" = field(default_factory=lambda: deque(maxlen=_VOTES))
    changes: "deque[bool]" = field(default_factory=lambda: deque(maxlen=10))
    read_us: int = -1

    @property
    def is_restless(self) -> bool:
        """Whether it changes in most pictures, or has no text that can be read."""
        changes_often = len(self.changes) == self.changes.maxlen and sum(self.changes) > _RESTLESS * len(self.changes)
        return changes_often or self.text == ""

    @property
    def is_open(self) -> bool:
        """Whether its readings do not agree yet."""
        return bool(self.votes)

    def has_changed(self, pixels: NDArray[np.uint8]) -> bool:
        """Whether its pixels differ from those of the last reading that was agreed on; remember them if so."""
        blocks = _blocks(self.box.crop(pixels))
        is_new = self.reference is None or bool(np.abs(blocks - self.reference).max() > _CHANGED)
        if is_new:
            self.reference = blocks
        return is_new

    def vote(self, text: str, time_us: int) -> tuple[str, int] | None:
        """Add a reading; return the text that is agreed on, and the time of the first picture with it."""
        self.votes.append((text, time_us))
        same = [at for voted, at in self.votes if voted == text]
        if len(same) < _AGREE:
            return None
        self.votes.clear()
        return text, same[0]


class TextRegions:
    """The places with text of one video.

    Args:
        reader: Finds and reads text.
    """

    def __init__(self, reader: TextReader) -> None:
        self._reader = reader
        self._regions: list[Region] = []
        self._search_at_us, self._searched_us = 0, -_LONGEST_IDLE_US
        self._cost_us = 0
        self._idle_us, self._gap_us, self._appeared = _FIRST_IDLE_US, _SEARCH_GAP_US, False
        self._cells: NDArray[np.float32] | None = None
        self._searched_cells: NDArray[np.float32] | None = None
        self._size = (0, 0)

    def see(self, frame: VideoFrame, *, had_cut: bool) -> list[Reading]:
        """Look at the next picture.

        Args:
            frame: The picture.
            had_cut: Whether a cut comes before it.

        Returns:
            The readings that are agreed on with this picture.
        """
        if frame.pixels.shape[:2] != self._size:
            self._size, self._regions = (frame.pixels.shape[0], frame.pixels.shape[1]), []
            self._search_at_us = frame.time_us
        appeared = self._something_appeared(cells_of(frame.pixels))
        if had_cut:
            self._plan(max(frame.time_us, self._searched_us + _CUT_GAP_US), _FIRST_IDLE_US)
        elif appeared:
            self._plan(max(frame.time_us, self._searched_us + self._gap_us), self._idle_us)
            self._appeared = True
        readings = self._read(frame)
        earliest_us = max(self._search_at_us, self._searched_us + _LARGEST_SHARE * self._cost_us)
        if frame.time_us >= earliest_us and not any(one.is_important and one.is_open for one in self._regions):
            self._search(frame)
            readings += self._read(frame, [one for one in self._regions if one.reference is None])
        return readings

    def beside(self, region: Region) -> tuple[str, str]:
        """Return the texts on the left and on the right in the row of a place, from left to right; empty without any."""
        middle = (region.box.top + region.box.bottom) / 2
        row = [one for one in self._regions if one is not region and one.box.top < middle < one.box.bottom]
        row.sort(key=lambda one: one.box.left)
        sides = [one.box.left >= region.box.left for one in row]
        left, right = (
            " ".join(one.text for one, is_right in zip(row, sides, strict=True) if one.text and is_right is side)
            for side in (False, True)
        )
        return left, right

    def _plan(self, at_us: int, idle_us: int) -> None:
        self._search_at_us, self._idle_us = min(self._search_at_us, at_us), idle_us

    def _something_appeared(self, cells: NDArray[np.float32]) -> bool:
        """Whether cells are steady now that were different at the last search: an overlay rather than motion."""
        before, self._cells = self._cells, cells
        if before is None or self._searched_cells is None:
            return False
        steady = np.abs(cells - before) < _CELL_STEADY
        return int((steady & (np.abs(cells - self._searched_cells) > _CELL_CHANGED)).sum()) >= _LEAST_CELLS

    # Reading

    def _read(self, frame: VideoFrame, regions: Iterable[Region] | None = None) -> list[Reading]:
        due = [one for one in (self._regions if regions is None else regions) if self._is_due(one, frame)]
        due.sort(key=lambda one: (not one.is_important, one.read_us))
        most = max(_READS_PER_FRAME, sum(one.is_important for one in due))
        readings = []
        for region in due[:most]:
            found = self._reader.read(region.box.crop(frame.pixels))
            region.read_us = frame.time_us
            agreed = region.vote(found.text if found.confidence >= _LEAST_CONFIDENCE else "", frame.time_us)
            if agreed is None:
                continue
            text, first_us = agreed
            if text != region.text or region.needs_reading:
                region.text = text
                readings.append(Reading(region, text, first_us, frame.time_us))
        for region in due[most:]:
            region.reference = None  # read it with the next picture
        return readings

    def _is_due(self, region: Region, frame: VideoFrame) -> bool:
        changed = region.has_changed(frame.pixels)
        region.changes.append(changed or region.is_open)
        if region.read_us == frame.time_us:
            return False
        if region.is_restless and not region.is_important:
            return frame.time_us - region.read_us >= _RESTLESS_GAP_US
        return changed or region.is_open or region.needs_reading

    # Searching

    def _search(self, frame: VideoFrame) -> None:
        began_ns = time.thread_time_ns()
        found = [_with_margin(box, self._size) for box in self._reader.find(frame.pixels)]
        self._cost_us = (time.thread_time_ns() - began_ns) // 1000
        news = False
        for region in list(self._regions):
            same = max(found, key=region.box.overlap, default=None)
            if same is not None and region.box.overlap(same) >= _SAME_PLACE:
                found.remove(same)
                region.missed = 0
                if region.box.overlap(same) < 0.8:  # the text is longer or shorter now
                    region.box, region.reference = same, None
            else:
                region.missed += 1
                if region.missed >= _MISSED_SEARCHES and not region.is_important:
                    self._regions.remove(region)
        for box in found:
            news = True
            self._regions.append(Region(box))
        self._searched_us, self._searched_cells = frame.time_us, self._cells
        self._idle_us = _FIRST_IDLE_US if news else min(2 * self._idle_us, _LONGEST_IDLE_US)
        seemed_new, self._appeared = self._appeared and not news, False
        self._gap_us = min(2 * self._gap_us, _LONGEST_GAP_US) if seemed_new else _SEARCH_GAP_US
        self._search_at_us = frame.time_us + self._idle_us


def _with_margin(box: Box, size: tuple[int, int]) -> Box:
    """Return a box with room for another digit on each side."""
    side, above = round(box.height * 0.3), round(box.height * 0.06)
    height, width = size
    return Box(
        max(0, box.left - side), max(0, box.top - above), min(width, box.right + side), min(height, box.bottom + above)
    )


def _blocks(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the means of blocks of 8×8 pixels of the green channel, float32 `(rows, columns)`."""
    green = pixels[:, :, 1]
    rows, columns = max(1, green.shape[0] // _BLOCK), max(1, green.shape[1] // _BLOCK)
    whole = green[: rows * _BLOCK, : columns * _BLOCK]
    if whole.shape != (rows * _BLOCK, columns * _BLOCK):
        return np.full((1, 1), green.mean(), np.float32)
    means: NDArray[np.float32] = whole.reshape(rows, _BLOCK, columns, _BLOCK).mean(axis=(1, 3), dtype=np.float32)
    return means
