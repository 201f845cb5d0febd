"""Spans of time, in any unit."""

from collections.abc import Iterable
from typing import TypeVar

__all__ = ["merge_spans"]

_Time = TypeVar("_Time", int, float)


def merge_spans(spans: Iterable[tuple[_Time, _Time]]) -> list[tuple[_Time, _Time]]:
    """Return sorted, disjoint spans `[start, end)` that cover the same time. Empty spans are left out."""
    merged: list[tuple[_Time, _Time]] = []
    for start, end in sorted(span for span in spans if span[1] > span[0]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged
