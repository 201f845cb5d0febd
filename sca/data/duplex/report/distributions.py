"""What a data set looks like as numbers to plot: counts of the report, and histograms over all rows.

Reads rows a batch at a time as Arrow columns, so it costs little beside building them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Plot", "histograms", "plots"]


@dataclass(frozen=True, slots=True)
class Plot:
    """Bars.   labels: one a bar.   note: what is counted, and what it means."""

    title: str
    note: str
    labels: tuple[str, ...]
    values: tuple[float, ...]


# name → (title, note, first edge, last edge, bins); what lies outside counts in the outer bars.
_HISTOGRAMS = {
    "row_s": ("Length of rows", "rows by seconds", 0.0, 90.0, 18),
    "segment_s": ("Length of segments", "segments by seconds from first to last word", 0.0, 15.0, 30),
    "pause_s": ("Pauses", "silences between two segments of one speaker in a row, by seconds", 0.0, 10.0, 40),
    "overlap": ("Overlap", "segments that overlap at all, by the share that does", 0.0, 1.0, 10),
    "lag": ("Lag", "segments by chunks their latest token stands behind its word", 0.0, 8.0, 8),
}


def histograms(batches: Iterable[Any], chunk_s: float) -> dict[str, Any]:
    """Counts by name of `_HISTOGRAMS`.   batches: Arrow record batches of rows."""
    counts = {name: np.zeros(bins, np.int64) for name, (_, _, _, _, bins) in _HISTOGRAMS.items()}

    def add(name: str, values: Any) -> None:
        _, _, low, high, bins = _HISTOGRAMS[name]
        inside = np.clip(values, low, np.nextafter(high, low))
        counts[name] += np.histogram(inside, bins, (low, high))[0]

    for batch in batches:
        add("row_s", batch.column("n_chunks").to_numpy(zero_copy_only=False) * chunk_s)
        segments = batch.column("segments").flatten()
        if not len(segments):
            continue
        column = {name: segments.field(name) for name in ("start_s", "end_s", "overlap", "lag_chunks")}
        number = {name: values.to_numpy(zero_copy_only=False) for name, values in column.items()}
        add("segment_s", number["end_s"] - number["start_s"])
        add("overlap", number["overlap"][number["overlap"] > 0])
        add("lag", number["lag_chunks"].astype(float))
        in_row = np.repeat(np.arange(batch.num_rows), np.diff(batch.column("segments").offsets.to_numpy()))
        gaps = (number["start_s"][1:] - number["end_s"][:-1])[in_row[1:] == in_row[:-1]]
        add("pause_s", gaps[gaps > 0])
    return counts


def plots(report: Mapping[str, Any], counts: Mapping[str, Any]) -> list[Plot]:
    """What there is to draw; a report without a field, or with a new one, is fine."""
    used = {_tokens(held): count for held, count in _counts(report.get("chunks", {}).get("used")).items()}
    found = [
        _bars("Segments", "by kind", report.get("segments")),
        _bars("Chunks", "by how many text tokens they hold", used),
        _bars("Control tokens", "by what they say", report.get("controls")),
        _bars("Word times", "words by where their times come from", report.get("align_source")),
        _bars("Splits", "rows", report.get("splits")),
        _bars("Flags", "rows by what was odd", report.get("row_flags")),
    ]
    talk = report.get("talk") or {}
    found.append(
        _bars(
            "Floor transfer",
            "turns and interruptions by seconds from the end of the other's speech; below 0 they began in it",
            _every_bin(_counts(talk.get("floor_offset_s"))),
        )
    )
    found += [_histogram(name, counts[name]) for name in _HISTOGRAMS if name in counts and counts[name].sum()]
    found += [
        _bars(str(name).replace("_", " ").capitalize(), "", values)
        for name, values in dict(report.get("distributions") or {}).items()
    ]
    return [plot for plot in found if plot is not None]


def _tokens(held: str) -> str:
    return {"0": "silent", "1": "1 token"}.get(held, f"{held} tokens")


def _counts(values: Any) -> dict[str, float]:
    """A flat mapping to numbers, or nothing."""
    if not isinstance(values, Mapping):
        return {}
    return {str(k): float(v) for k, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def _every_bin(counts: dict[str, float]) -> dict[str, float]:
    """The empty bins between those of 0.1 s that hold something, so that the axis is even."""
    if not counts:
        return {}
    tenths = {round(float(edge) * 10): count for edge, count in counts.items()}
    return {f"{at / 10:.1f}": tenths.get(at, 0.0) for at in range(min(tenths), max(tenths) + 1)}


def _bars(title: str, note: str, values: Any) -> Plot | None:
    named = _counts(values)
    return Plot(title, note, tuple(named), tuple(named.values())) if any(named.values()) else None


def _histogram(name: str, counts: Any) -> Plot:
    title, note, low, high, bins = _HISTOGRAMS[name]
    step = (high - low) / bins
    labels = [f"{low + i * step:g}" for i in range(bins)]
    labels[-1] += "+"
    return Plot(title, note, tuple(labels), tuple(float(count) for count in counts))
