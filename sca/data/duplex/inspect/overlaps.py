"""Where speakers of a view speak at once."""

from collections.abc import Iterator, Sequence

__all__ = ["Turn", "overlaps"]

Turn = tuple[int, float, float]
"""Speaker, start and end in seconds."""


def overlaps(turns: Sequence[Turn], duration_s: float) -> list[tuple[float, float]]:
    """Return where two speakers speak at once, joined and within a view.

    Args:
        turns: What is spoken, by start.
        duration_s: Length of the view.
    """
    both = sorted(
        (max(a_start, b_start, 0.0), min(a_end, b_end, duration_s))
        for (a, a_start, a_end), (b, b_start, b_end) in _neighbours(turns)
        if a != b
    )
    joined: list[tuple[float, float]] = []
    for start, end in both:
        if end <= start:
            continue
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((start, end))
    return joined


def _neighbours(turns: Sequence[Turn]) -> Iterator[tuple[Turn, Turn]]:
    """Yield pairs that may overlap."""
    current: list[Turn] = []
    for turn in turns:
        current = [before for before in current if before[2] > turn[1]]
        yield from ((before, turn) for before in current)
        current.append(turn)
