"""Cut a session into windows, one training row each. Pure: spans in samples at 16 kHz and chunk numbers in, chunk ranges out.

The windows of one side tile its session, so together they contain all of its speech. The best place for a cut is where
both speakers are silent and no token of the speaker belongs before the cut while its sound follows it. Where a window's
length offers no such place, the next best kind of cut is used and the row gets a flag.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sca.data.duplex.model.spans import Span
from sca.spans import merge_spans

__all__ = ["Cut", "Window", "WindowPlan", "plan_windows"]

# The cost of a window with too few turns: less than that of a cut in speech, more than that of an unusual length.
_FEW_TURNS = 3.0
# The cost of each kind of cut. The cost of a window's length is at most about one.
_COST = {"clean": 0.0, "close": 0.3, "listener_cut": 4.0, "word_cut": 20.0, "forced_cut": 60.0}
_FAR = 1 << 62


@dataclass(frozen=True, slots=True)
class Cut:
    """A chunk boundary and how good a cut there is.

    Attributes:
        chunk: The chunk after the cut.
        kind: One of, from best to worst,

            - `clean`: both speakers are silent, and the tokens of the next word belong after the cut;
            - `close`: both are silent, but the next word starts within the lead;
            - `listener_cut`: only the speaker is silent;
            - `word_cut`: between two words of the speaker;
            - `forced_cut`: inside a word.
    """

    chunk: int
    kind: str


@dataclass(frozen=True, slots=True)
class Window:
    """Chunks `[first, last)` of a session. `flags` are the kinds of its two cuts, except good ones."""

    first: int
    last: int
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """The bounds of a window.

    Attributes:
        min_chunks: Shortest window where there is a choice.
        max_chunks: Longest window.
        max_segments: Most segments of the speaker, None for any number.
        min_silence: Samples of silence that a clean cut needs.
        chunk_samples: Samples of a chunk at 16 kHz.
        lead: Lead in chunks.
        min_turns: Units of either speaker that should begin in a window.
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

    Args:
        n_chunks: Chunks of the session.
        words: Words of the speaker, in time order.
        units: Units of the speaker, in time order.
        other: Spans in which the listener speaks.
        plan: Bounds of the windows.
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
    """Return possible cuts. Worse kinds are added only where the better ones leave a stretch that is too much for one window."""
    speech = _Timeline(merge_spans(words))
    joint = _Timeline(merge_spans([*words, *other]))
    kinds: dict[int, str] = {}
    for chunk in range(1, n_chunks):
        at = chunk * plan.chunk_samples
        if joint.silence_around(at) >= plan.min_silence:
            kinds[chunk] = "clean" if speech.next_start(at) // plan.chunk_samples - plan.lead >= chunk else "close"
    for kind in ("listener_cut", "word_cut", "forced_cut"):
        for first, last in _long_stretches(kinds, n_chunks, parts, plan):
            for chunk in range(first + 1, last):
                at = chunk * plan.chunk_samples
                silent = speech.silence_around(at)
                fits = kind == "forced_cut" or silent >= (plan.min_silence if kind == "listener_cut" else 1)
                if fits or (kind == "word_cut" and speech.starts_near(at, plan.chunk_samples)):
                    kinds.setdefault(chunk, kind)
    return [Cut(0, "clean"), *(Cut(chunk, kinds[chunk]) for chunk in sorted(kinds)), Cut(n_chunks, "clean")]


def _long_stretches(kinds: dict[int, str], n_chunks: int, parts: "_Parts", plan: WindowPlan) -> list[tuple[int, int]]:
    """Return neighbouring cuts that are too far apart for one window: too many chunks or too many segments."""
    chunks = [0, *sorted(kinds), n_chunks]
    first, last = parts.around([chunk * plan.chunk_samples for chunk in chunks])
    most = plan.max_segments or len(parts.starts) + 1
    return [
        (chunks[i], chunks[i + 1])
        for i in range(len(chunks) - 1)
        if chunks[i + 1] - chunks[i] > plan.max_chunks or last[i + 1] - first[i] + 1 > most
    ]


def _cheapest_tiling(
    cuts: Sequence[Cut], parts: "_Parts", turn_starts: Sequence[int], plan: WindowPlan
) -> list[Window]:
    """Find the shortest path over the cuts.

    Bad cuts, unusual lengths, too many segments and too few turns have costs.
    """
    chunks = np.array([cut.chunk for cut in cuts])
    samples = (chunks * plan.chunk_samples).tolist()
    first, last = map(np.array, parts.around(samples))
    turns_before = np.array([bisect_left(turn_starts, at) for at in samples])
    best = np.zeros(len(cuts))
    previous = [0] * len(cuts)
    for j in range(1, len(cuts)):
        # The nearest cut before this one is always allowed, so that a tiling exists.
        since = min(int(np.searchsorted(chunks, chunks[j] - plan.max_chunks)), j - 1)
        cost = best[since:j] + _COST[cuts[j].kind] + _length_cost(chunks[j] - chunks[since:j], plan)
        cost += _segments_cost(last[j] - first[since:j] + 1, plan)
        cost += _FEW_TURNS * (turns_before[j] - turns_before[since:j] < plan.min_turns)
        # The last minimum: of windows with equal cost, the shortest.
        previous[j] = j - 1 - int(np.argmin(cost[::-1]))
        best[j] = cost[previous[j] - since]
    windows: list[Window] = []
    j = len(cuts) - 1
    while j > 0:
        i = previous[j]
        flags = dict.fromkeys(cut.kind for cut in (cuts[i], cuts[j]) if cut.kind not in ("clean", "close"))
        windows.append(Window(cuts[i].chunk, cuts[j].chunk, tuple(flags)))
        j = i
    return windows[::-1]


def _length_cost(length: NDArray[np.int64], plan: WindowPlan) -> NDArray[np.float64]:
    """Return the cost of window lengths: small within the bounds and least in the middle, steep below the minimum."""
    middle = (plan.min_chunks + plan.max_chunks) / 2
    half = max(1.0, (plan.max_chunks - plan.min_chunks) / 2)
    off = np.abs(length - middle) / half
    cost: NDArray[np.float64] = np.where(length >= plan.min_chunks, 0.5 * off * off, 6.0 + 2.0 * off * off)
    return cost


def _segments_cost(segments: NDArray[np.int64], plan: WindowPlan) -> NDArray[np.float64]:
    if plan.max_segments is None:
        return np.zeros(len(segments))
    return 1000.0 * np.maximum(0, segments - plan.max_segments)


@dataclass(frozen=True, slots=True)
class _Parts:
    """The units that have words between two cuts.

    Attributes:
        starts: Start of each word, in order.
        units: Number of each word's unit.
    """

    starts: Sequence[int]
    units: Sequence[int]

    def around(self, cuts: Sequence[int]) -> tuple[list[int], list[int]]:
        """Return for each cut (a sample) the unit of the first word after it, and that of the last word before it.

        Between two cuts there are parts of `last - first + 1` units. A unit that a cut splits counts on both sides.
        """
        at = [bisect_left(self.starts, cut) for cut in cuts]
        past_all = self.units[-1] + 1 if self.units else 1
        first = [self.units[i] if i < len(self.units) else past_all for i in at]
        return first, [self.units[i - 1] if i else 0 for i in at]


@dataclass(slots=True)
class _Timeline:
    """Silence and starts of disjoint, sorted spans."""

    spans: list[Span]
    starts: list[int] = field(init=False)
    ends: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.starts = [start for start, _ in self.spans]
        self.ends = [end for _, end in self.spans]

    def silence_around(self, at: int) -> int:
        """Return the samples of silence around `at`, 0 inside a span.

        Silence before the first and after the last is endless.
        """
        i = bisect_right(self.starts, at)
        if i and self.ends[i - 1] > at:
            return 0
        before = self.ends[i - 1] if i else -_FAR
        after = self.starts[i] if i < len(self.starts) else _FAR
        return 0 if after == before == at else after - before

    def next_start(self, at: int) -> int:
        """Return the first start at or after `at`; a very large number if no span follows."""
        i = bisect_left(self.starts, at)
        return self.starts[i] if i < len(self.starts) else _FAR

    def starts_near(self, at: int, samples: int) -> bool:
        """Return whether a span starts less than half of `samples` from `at`, so that a cut there costs a word little."""
        i = bisect_left(self.starts, at - samples // 2)
        return i < len(self.starts) and self.starts[i] < at + samples // 2
