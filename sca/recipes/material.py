"""How much there is: items and hours of the recordings that a stage reads, from a few of their headers."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sca.audio.decode import probe
from sca.data.media.find_audio import SOUND
from sca.errors import ScaError
from sca.recipes.plan import PlannedStage
from sca.urls.address import is_url

__all__ = ["Amount", "folder_bytes", "measured_amount"]

_PROBED = 12
"""Files of a folder whose length is read; the others are estimated by their size."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Items and hours of audio; None for what is unknown."""

    items: int | None = None
    hours: float | None = None

    def minus(self, made: "Amount") -> "Amount":
        """Return what is left when `made` is done, at least nothing."""
        items = None if self.items is None or made.items is None else max(0, self.items - made.items)
        hours = self.hours if self.hours is None or made.hours is None else max(0.0, self.hours - made.hours)
        return Amount(items, 0.0 if items == 0 else hours)

    def grown_to(self, total: "Amount") -> "Amount":
        """Return what there is when all of `total` is done. Items are unknown where only the hours of `total` are known."""
        if total.hours is None:
            return self if total.items is None else total
        return Amount(total.items, max(total.hours, self.hours or 0.0))

    def capped(self, items: int) -> "Amount":
        """Return the amount of at most so many items."""
        if self.items is None or self.items <= items:
            return self
        return Amount(items, None if self.hours is None else self.hours * items / self.items)


def measured_amount(stage: PlannedStage) -> Amount:
    """Return what is in the inputs of a stage that no earlier stage writes: recordings, and their hours.

    A few lengths are read from the headers, the others are estimated by the sizes. In a corpus with `WAV/`, two recordings
    are one conversation.
    """
    places = [Path(place) for place in stage.inputs if not is_url(place)]
    files = [file for place in places for file in _recordings(place)]
    if not files:
        return Amount()
    sizes = [file.stat().st_size for file in files]
    at = range(0, len(files), max(1, len(files) // _PROBED))
    lengths = [(sizes[n], _length_s(files[n])) for n in at]
    read_bytes = sum(size for size, length_s in lengths if length_s is not None)
    read_s = sum(length_s for _, length_s in lengths if length_s is not None)
    hours = read_s / read_bytes * sum(sizes) / 3600 if read_bytes else None
    tracks = 2 if any((place / "WAV").is_dir() for place in places) else 1
    return Amount(len(files) // tracks, None if hours is None else hours / tracks)


def folder_bytes(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in _files(path))


def _recordings(place: Path) -> list[Path]:
    return sorted(file for file in _files(place) if file.suffix.lower() in SOUND and not file.name.startswith("."))


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    for folder, _, names in os.walk(place):
        yield from (path for path in (Path(folder, name) for name in names) if path.is_file())


def _length_s(file: Path) -> float | None:
    try:
        return probe(file).duration_s
    except ScaError:  # the stage reports it
        return None
