"""Where a session is cut into training rows. Pure: spans in samples at 16 kHz and chunk numbers in, chunk ranges out.

The windows of one side tile its session, so together they hold all of its speech. A cut is best where both speakers are
silent and no word of the speaker wants a place before the cut that its sound follows; where there is no such place within
a window's length the next best kind is taken and the row says so in its flags.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sca.data.duplex.model.spans import Span, merge_spans

__all__ = ["Cut", "Window", "WindowPlan", "plan_windows"]


# What a window with too few turns costs: less than a cut in somebody's speech, more than an odd length.
_FEW_TURNS = 3.0
# What each kind of cut costs, against a window's length cost of at most about one.
_COST = {"clean": 0.0, "close": 0.3, "listener_cut": 4.0, "word_cut": 20.0, "forced_cut": 60.0}


@dataclass(frozen=True, slots=True)
class Cut:
    """A chunk boundary and how good a place to cut it is.

    clean: joint silence, and the next word's tokens fall after it.   close: joint silence, the next word starts within the
    lead.   listener_cut: only the speaker is silent.   word_cut: between two words of the speaker.   forced_cut: inside a word.
    """

    chunk: int
    kind: str


@dataclass(frozen=True, slots=True)
class Window:
    """Chunks `[first, last)` of a session, and the kinds of its two cuts where they are not good ones."""

    first: int
    last: int
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """What a window may be: chunks at least (where it can), at most (always), segments, silence wanted at a cut.

    min_turns: stretches of speech, of both speakers, that begin in a window (where there are as many).
    """

    min_chunks: int
    max_chunks: int
    max_segments: int | None
    min_silence: int
    chunk_samples: int
    lead: int
    min_turns: int = 0


def plan_windows(
    n_chunks: int, words: Sequence[Span], units: Sequence[Span], other: Sequence[Span], plan: WindowPlan
) -> list[Window]:
    """Tile `[0, n_chunks)` with windows.

    words, units: the speaker's, in time order.   other: spans in which the listener speaks, his units.
    """
    if n_chunks <= plan.max_chunks and (plan.max_segments is None or len(units) <= plan.max_segments):
        return [Window(0, n_chunks)]
    starts = [start for start, _ in units]
    parts = _Parts([start for start, _ in words], [bisect_right(starts, start) for start, _ in words])
    cuts = _candidates(n_chunks, words, parts, other, plan)
    turns = sorted([*starts, *(start for start, _ in other)])
    return _cheapest_tiling(cuts, parts, turns, plan)


def _candidates(
    n_chunks: int, words: Sequence[Span], parts: "_Parts", other: Sequence[Span], plan: WindowPlan
) -> list[Cut]:
    """Cuts by kind, worse kinds only where the better ones leave a stretch that no window may hold."""
    speech = _Timeline(merge_spans(words))
    joint = _Timeline(merge_spans([*words, *other]))
    kinds: dict[int, str] = {}
    inside = range(1, n_chunks)
    for chunk in inside:
        at = chunk * plan.chunk_samples
        if joint.silence_around(at) >= plan.min_silence:
            kinds[chunk] = "clean" if speech.next_start(at) // plan.chunk_samples - plan.lead >= chunk else "close"
    for kind in ("listener_cut", "word_cut", "forced_cut"):
        for first, last in _stretches(kinds, n_chunks, parts, plan):
            for chunk in range(first + 1, last):
                at = chunk * plan.chunk_samples
                silent = speech.silence_around(at)
                fits = kind == "forced_cut" or silent >= (plan.min_silence if kind == "listener_cut" else 1)
                if fits or (kind == "word_cut" and speech.starts_within(at, plan.chunk_samples)):
                    kinds.setdefault(chunk, kind)
    return [Cut(0, "clean"), *(Cut(c, kinds[c]) for c in sorted(kinds)), Cut(n_chunks, "clean")]


def _stretches(kinds: dict[int, str], n_chunks: int, parts: "_Parts", plan: WindowPlan) -> list[tuple[int, int]]:
    """Neighbouring cuts with more between them than a window may hold: too long, or too many segments."""
    chunks = [0, *sorted(kinds), n_chunks]
    first, last = parts.at([chunk * plan.chunk_samples for chunk in chunks])
    most = plan.max_segments or len(parts.starts) + 1
    return [
        (chunks[i], chunks[i + 1])
        for i in range(len(chunks) - 1)
        if chunks[i + 1] - chunks[i] > plan.max_chunks or last[i + 1] - first[i] + 1 > most
    ]


def _cheapest_tiling(
    cuts: Sequence[Cut], parts: "_Parts", turn_starts: Sequence[int], plan: WindowPlan
) -> list[Window]:
    """Shortest path over the cuts: bad cuts, odd lengths, too many segments and too few turns cost."""
    chunks = np.array([cut.chunk for cut in cuts])
    samples = (chunks * plan.chunk_samples).tolist()
    first, last = map(np.array, parts.at(samples))
    turned = np.array([bisect_left(turn_starts, at) for at in samples])
    best = np.zeros(len(cuts))
    came = [0] * len(cuts)
    for j in range(1, len(cuts)):
        # The nearest cut before this one is always allowed, so that a tiling exists.
        since = min(int(np.searchsorted(chunks, chunks[j] - plan.max_chunks)), j - 1)
        cost = best[since:j] + _COST[cuts[j].kind] + _length_cost(chunks[j] - chunks[since:j], plan)
        cost += _crowd_cost(last[j] - first[since:j] + 1, plan)
        cost += _FEW_TURNS * (turned[j] - turned[since:j] < plan.min_turns)
        # Of equals the shortest window.
        came[j] = j - 1 - int(np.argmin(cost[::-1]))
        best[j] = cost[came[j] - since]
    windows: list[Window] = []
    j = len(cuts) - 1
    while j > 0:
        i = came[j]
        flags = dict.fromkeys(cut.kind for cut in (cuts[i], cuts[j]) if cut.kind not in ("clean", "close"))
        windows.append(Window(cuts[i].chunk, cuts[j].chunk, tuple(flags)))
        j = i
    return windows[::-1]


def _length_cost(length: NDArray[np.int64], plan: WindowPlan) -> NDArray[np.float64]:
    middle = (plan.min_chunks + plan.max_chunks) / 2
    half = max(1.0, (plan.max_chunks - plan.min_chunks) / 2)
    off = np.abs(length - middle) / half
    # Inside the wanted lengths a mild pull to the middle; outside, steep. A window per unit of time also costs a little,
    # which the pull to the middle already says.
    cost: NDArray[np.float64] = np.where(length >= plan.min_chunks, 0.5 * off * off, 6.0 + 2.0 * off * off)
    return cost


def _crowd_cost(segments: NDArray[np.int64], plan: WindowPlan) -> NDArray[np.float64]:
    if plan.max_segments is None:
        return np.zeros(len(segments))
    return 1000.0 * np.maximum(0, segments - plan.max_segments)


@dataclass(frozen=True, slots=True)
class _Parts:
    """Which units have words between two cuts. starts: of the words, in order.   units: the number of each word's unit."""

    starts: Sequence[int]
    units: Sequence[int]

    def at(self, cuts: Sequence[int]) -> tuple[list[int], list[int]]:
        """For each cut, a sample, the unit of the first word from it on, and that of the last word before it.

        Between two cuts there are parts of `last - first + 1` units, one that a cut splits counted on both of its sides.
        """
        at = [bisect_left(self.starts, cut) for cut in cuts]
        none_left = self.units[-1] + 1 if self.units else 1
        first = [self.units[i] if i < len(self.units) else none_left for i in at]
        return first, [self.units[i - 1] if i else 0 for i in at]


@dataclass(slots=True)
class _Timeline:
    """Questions about disjoint sorted spans."""

    spans: list[Span]
    starts: list[int] = field(init=False)
    ends: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.starts = [s for s, _ in self.spans]
        self.ends = [e for _, e in self.spans]

    def silence_around(self, at: int) -> int:
        """Samples of the silence that `at` lies in; 0 inside a span. Before the first and after the last there is no end."""
        i = bisect_right(self.starts, at)
        if i and self.ends[i - 1] > at:
            return 0
        before = self.ends[i - 1] if i else -(1 << 62)
        after = self.starts[i] if i < len(self.starts) else 1 << 62
        if after == at and before == at:
            return 0
        return after - before

    def next_start(self, at: int) -> int:
        """First span start at or after `at`; far away when there is none."""
        i = bisect_left(self.starts, at)
        return self.starts[i] if i < len(self.starts) else 1 << 62

    def starts_within(self, at: int, samples: int) -> bool:
        """Whether a span starts less than half of `samples` from `at`: a cut there costs a word little."""
        i = bisect_left(self.starts, at - samples // 2)
        return i < len(self.starts) and self.starts[i] < at + samples // 2
