"""Distributions of a data set as numbers to plot: counts of the report, and histograms over all rows.

Rows are read a batch at a time as Arrow columns, which costs little compared with building them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Histograms", "Plot", "add_batch", "empty_histograms", "plots"]


@dataclass(frozen=True, slots=True)
class Plot:
    """A bar chart.

    Attributes:
        title: Its title.
        note: What is counted.
        labels: One label per bar.
        values: The bars.
    """

    title: str
    note: str
    labels: tuple[str, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Bins:
    """A histogram's texts and its bins of equal width. Values outside count in the outermost bins."""

    title: str
    note: str
    low: float
    high: float
    count: int


_HISTOGRAMS = {
    "row_s": _Bins("Length of rows", "rows by seconds", 0.0, 90.0, 18),
    "segment_s": _Bins("Length of segments", "segments by seconds from first to last word", 0.0, 15.0, 30),
    "pause_s": _Bins("Pauses", "silences between two segments of one speaker in a row, by seconds", 0.0, 10.0, 40),
    "overlap": _Bins("Overlap", "segments with overlap, by the share that overlaps", 0.0, 1.0, 10),
    "lag": _Bins("Lag", "segments by the most chunks that a token is placed too late", 0.0, 8.0, 8),
}

Histograms = Mapping[str, NDArray[np.int64]]
"""Counts per bin by the name of a histogram."""


def empty_histograms() -> dict[str, NDArray[np.int64]]:
    """Return histograms without counts."""
    return {name: np.zeros(bins.count, np.int64) for name, bins in _HISTOGRAMS.items()}


def add_batch(counts: Histograms, batch: "pa.RecordBatch", chunk_s: float) -> None:
    """Count the rows of an Arrow record batch.

    Args:
        counts: The histograms, changed in place.
        batch: The rows.
        chunk_s: Length of a chunk in seconds.
    """

    def add(name: str, values: ArrayLike) -> None:
        bins = _HISTOGRAMS[name]
        inside = np.clip(values, bins.low, np.nextafter(bins.high, bins.low))
        counts[name][:] += np.histogram(inside, bins.count, (bins.low, bins.high))[0]

    add("row_s", batch.column("n_chunks").to_numpy(zero_copy_only=False) * chunk_s)
    segments = batch.column("segments").flatten()
    if not len(segments):
        return
    start_s, end_s, overlap, lag = (
        segments.field(name).to_numpy(zero_copy_only=False) for name in ("start_s", "end_s", "overlap", "lag_chunks")
    )
    add("segment_s", end_s - start_s)
    add("overlap", overlap[overlap > 0])
    add("lag", lag.astype(float))
    row_of = np.repeat(np.arange(batch.num_rows), np.diff(batch.column("segments").offsets.to_numpy()))
    pauses = (start_s[1:] - end_s[:-1])[row_of[1:] == row_of[:-1]]
    add("pause_s", pauses[pauses > 0])


def plots(report: Mapping[str, object], counts: Histograms) -> list[Plot]:
    """Return the plots of a data set. Fields that the report does not have are left out.

    Args:
        report: The content of `report.json`.
        counts: Histograms over its rows.
    """
    used = {_held_tokens(tokens): chunks for tokens, chunks in _numbers(_section(report, "chunks").get("used")).items()}
    found = [
        _bars("Segments", "by kind", report.get("segments")),
        _bars("Chunks", "by number of text tokens", used),
        _bars("Control tokens", "by name", report.get("controls")),
        _bars("Word times", "words by the origin of their times", report.get("align_source")),
        _bars("Splits", "rows", report.get("splits")),
        _bars("Flags", "rows by flag", report.get("row_flags")),
        _bars(
            "Floor transfer",
            "turns and interruptions by seconds after the end of the other speaker's speech; below 0 they begin during it",
            _fill_bins(_numbers(_section(report, "talk").get("floor_offset_s"))),
        ),
    ]
    found += [_histogram(name, counts[name]) for name in _HISTOGRAMS if name in counts and counts[name].sum()]
    found += [
        _bars(str(name).replace("_", " ").capitalize(), "", values)
        for name, values in _section(report, "distributions").items()
    ]
    return [plot for plot in found if plot is not None]


def _section(report: Mapping[str, object], name: str) -> Mapping[str, object]:
    """Return a section of the report, empty if the report does not have it."""
    section = report.get(name)
    return section if isinstance(section, Mapping) else {}


def _held_tokens(tokens: str) -> str:
    return {"0": "silent", "1": "1 token"}.get(tokens, f"{tokens} tokens")


def _numbers(values: object) -> dict[str, float]:
    """Return the numbers of a flat mapping, and nothing for any other value."""
    if not isinstance(values, Mapping):
        return {}
    return {str(k): float(v) for k, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def _fill_bins(counts: dict[str, float]) -> dict[str, float]:
    """Add the empty bins of 0.1 s between others, so that the axis is even."""
    if not counts:
        return {}
    tenths = {round(float(edge) * 10): count for edge, count in counts.items()}
    return {f"{at / 10:.1f}": tenths.get(at, 0.0) for at in range(min(tenths), max(tenths) + 1)}


def _bars(title: str, note: str, values: object) -> Plot | None:
    named = _numbers(values)
    return Plot(title, note, tuple(named), tuple(named.values())) if any(named.values()) else None


def _histogram(name: str, counts: NDArray[np.int64]) -> Plot:
    bins = _HISTOGRAMS[name]
    step = (bins.high - bins.low) / bins.count
    labels = [f"{bins.low + i * step:g}" for i in range(bins.count)]
    labels[-1] += "+"
    return Plot(bins.title, bins.note, tuple(labels), tuple(float(count) for count in counts))
