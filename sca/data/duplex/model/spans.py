"""Spans of samples at 16 kHz."""

from collections.abc import Iterable

__all__ = ["Span", "merge_spans"]

Span = tuple[int, int]
"""Samples `[start, end)` at 16 kHz."""


def merge_spans(spans: Iterable[Span]) -> list[Span]:
    """Return sorted, disjoint spans that cover the same samples."""
    merged: list[Span] = []
    for start, end in sorted(span for span in spans if span[1] > span[0]):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged
