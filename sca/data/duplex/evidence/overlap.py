"""Lengths, intersections and differences of spans."""

from collections.abc import Sequence

from sca.data.duplex.model.spans import Span
from sca.spans import merge_spans

__all__ = ["intersect", "length_of", "longest", "subtract", "widen"]


def length_of(spans: Sequence[Span]) -> int:
    """Return the total length of disjoint spans in samples."""
    return sum(end - start for start, end in spans)


def intersect(first: Sequence[Span], second: Sequence[Span]) -> list[Span]:
    """Return what two sequences of sorted, disjoint spans have in common."""
    common: list[Span] = []
    a = b = 0
    while a < len(first) and b < len(second):
        start, end = max(first[a][0], second[b][0]), min(first[a][1], second[b][1])
        if start < end:
            common.append((start, end))
        if first[a][1] < second[b][1]:
            a += 1
        else:
            b += 1
    return common


def subtract(spans: Sequence[Span], removed: Sequence[Span]) -> list[Span]:
    """Return the parts of sorted, disjoint spans that are outside other sorted, disjoint spans."""
    left: list[Span] = []
    first = 0
    for start, end in spans:
        while first < len(removed) and removed[first][1] <= start:
            first += 1
        at, number = start, first
        while number < len(removed) and removed[number][0] < end:
            if at < removed[number][0]:
                left.append((at, removed[number][0]))
            at = max(at, removed[number][1])
            number += 1
        if at < end:
            left.append((at, end))
    return left


def widen(spans: Sequence[Span], samples: int) -> list[Span]:
    """Return spans that are longer on both sides, merged."""
    return merge_spans((max(0, start - samples), end + samples) for start, end in spans)


def longest(spans: Sequence[Span]) -> Span:
    """Return the longest span, the first of equally long ones; `(0, 0)` of none."""
    return max(spans, key=lambda span: span[1] - span[0], default=(0, 0))
