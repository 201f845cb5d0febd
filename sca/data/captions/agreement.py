"""How well a timeline and downloaded captions agree: on the words, per window of 30 s, and on the reactions of the room.

Captions are evidence, not the truth: editors shorten sentences and mark only some laughs. So they do not change a
timeline. A low value shows where one of the two is wrong.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher

from sca.data.captions.read import Captions
from sca.data.corpora.segments.model import Word
from sca.data.corpora.text.scripts import WORD
from sca.timeline import AudienceEvent, EnvironmentEvent, Show, SpeechEvent

__all__ = [
    "OTHER_RECORDING",
    "TOLERANCE_S",
    "WINDOW_S",
    "Agreement",
    "ReactionCounts",
    "compare_captions",
    "is_other_recording",
]

WINDOW_S = 30.0
TOLERANCE_S = 1.0
"""A reaction and a mark agree if their times, widened by this, overlap: a mark has the times of its whole cue."""
MARGIN_S = 3.0
"""Captions appear earlier or later than the words, so the words of the neighbouring cues are compared too."""
OTHER_RECORDING = 0.2
"""If fewer words agree, the captions are of another recording: unrelated English texts agree by 0.07 to 0.12."""
MIN_WORDS = 8
"""With fewer words on one side, captions are never rejected as those of another recording."""

_LETTERS = re.compile(r"[^\w]+")
# Captions and taggers do not distinguish these reliably.
_SAME = {"cheer": "applause"}


@dataclass(slots=True)
class ReactionCounts:
    """Counts of one kind of reaction: what captions mark, and what the timeline has.

    Attributes:
        marked: Marks in the captions.
        marked_found: Marks with a reaction of the timeline.
        found: Reactions of the timeline.
        found_marked: Reactions with a mark.
    """

    marked: int = 0
    marked_found: int = 0
    found: int = 0
    found_marked: int = 0

    def add(self, other: "ReactionCounts") -> None:
        """Add the counts of another recording."""
        self.marked += other.marked
        self.marked_found += other.marked_found
        self.found += other.found
        self.found_marked += other.found_marked

    def document(self) -> dict[str, int]:
        """Return the counts by name."""
        return {
            "marked": self.marked,
            "marked_found": self.marked_found,
            "found": self.found,
            "found_marked": self.found_marked,
        }


@dataclass(frozen=True, slots=True)
class Agreement:
    """How a timeline and captions agree.

    Attributes:
        words: Words of both sides that agree, twice the pairs.
        of_words: Words of both sides; 0 if the captions are in another language.
        windows: The rate of each window of 30 s; None where neither side has a word.
        reactions: Counts by kind; empty if the timeline was made without a detector.
    """

    words: int = 0
    of_words: int = 0
    windows: tuple[float | None, ...] = ()
    reactions: dict[str, ReactionCounts] = field(default_factory=dict)

    @property
    def rate(self) -> float | None:
        """The share of words that agree."""
        return self.words / self.of_words if self.of_words else None

    @property
    def lowest(self) -> tuple[float, float] | None:
        """The lowest rate of a window, and the start of the window in seconds."""
        known = [(rate, n * WINDOW_S) for n, rate in enumerate(self.windows) if rate is not None]
        return min(known, default=None)

    def document(self) -> dict[str, object]:
        """Return the values for the ledger."""
        rates: dict[str, object] = {}
        if self.rate is not None:
            windows = [None if rate is None else round(rate, 2) for rate in self.windows]
            rates = {"words": round(self.rate, 4), "of_words": self.of_words, "windows": windows}
        return rates | {kind: counts.document() for kind, counts in sorted(self.reactions.items())}


def compare_captions(show: Show, captions: Captions, *, same_language: bool = True) -> Agreement:
    """Compare a timeline with captions.

    Args:
        show: The timeline.
        captions: The captions of the same recording.
        same_language: Whether the words can be compared.
    """
    reactions = {} if show.reactions in (None, "none") else _reactions(show, captions)
    if not same_language:
        return Agreement(reactions=reactions)
    ours, theirs = _normal(_words_of(show)), _normal(captions.words)
    last = max((start for start, _ in [*ours, *theirs]), default=0.0)
    agreed, of_words, windows = 0, 0, []
    for number in range(int(last // WINDOW_S) + 1 if ours or theirs else 0):
        pairs, whole = _window(ours, theirs, number * WINDOW_S)
        agreed, of_words = agreed + pairs, of_words + whole
        windows.append(pairs / whole if whole else None)
    return Agreement(agreed, of_words, tuple(windows), reactions)


def is_other_recording(show: Show, captions: Captions, agreement: Agreement) -> bool:
    """Return whether the words agree so little that the captions are of another recording."""
    enough = min(len(captions.words), len(_words_of(show))) >= MIN_WORDS
    return enough and agreement.rate is not None and agreement.rate < OTHER_RECORDING


def _window(ours: Sequence[tuple[float, str]], theirs: Sequence[tuple[float, str]], start: float) -> tuple[int, int]:
    """Return twice the pairs of equal words in a window, and the number of words of both sides."""
    end = start + WINDOW_S
    a, b = _between(ours, start, end), _between(theirs, start, end)
    # Each side is also compared with the words beside the window, which the other side may have in it.
    found = _pairs(a, _between(theirs, start - MARGIN_S, end + MARGIN_S))
    confirmed = _pairs(b, _between(ours, start - MARGIN_S, end + MARGIN_S))
    return found + confirmed, len(a) + len(b)


def _pairs(some: Sequence[str], others: Sequence[str]) -> int:
    matcher = SequenceMatcher(None, some, others, autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks())


def _between(words: Sequence[tuple[float, str]], start: float, end: float) -> list[str]:
    first, last = bisect_left(words, (start, "")), bisect_left(words, (end, ""))
    return [word for _, word in words[first:last]]


def _normal(words: Iterable[Word]) -> list[tuple[float, str]]:
    """Return the starts and the letters of words, sorted; words without letters are left out."""
    normal = ((word.start_s, _LETTERS.sub("", word.text.casefold())) for word in words)
    return sorted((start, letters) for start, letters in normal if letters)


def _words_of(show: Show) -> list[Word]:
    """Return the words of a timeline; without word times, those of an event divide its time."""
    if show.words:
        return [Word(text, word.start, word.end) for word in show.words for text in WORD.findall(word.word)]
    words: list[Word] = []
    for event in show.timeline:
        if isinstance(event, SpeechEvent):
            texts = WORD.findall(event.content)
            step = (event.end - event.start) / max(1, len(texts))
            words += [Word(text, event.start + n * step, event.start + (n + 1) * step) for n, text in enumerate(texts)]
    return words


def _reactions(show: Show, captions: Captions) -> dict[str, ReactionCounts]:
    marks: dict[str, list[tuple[float, float]]] = {}
    for mark in captions.marks:
        marks.setdefault(_SAME.get(mark.kind, mark.kind), []).append((mark.start, mark.end))
    events: dict[str, list[tuple[float, float]]] = {}
    for event in show.timeline:
        if isinstance(event, AudienceEvent):
            events.setdefault(_SAME.get(event.reaction_type, event.reaction_type), []).append((event.start, event.end))
        elif isinstance(event, EnvironmentEvent) and event.sound_category == "music":
            events.setdefault("music", []).append((event.start, event.end))
    counts: dict[str, ReactionCounts] = {}
    for kind in marks.keys() | events.keys():
        marked, found = marks.get(kind, []), events.get(kind, [])
        counts[kind] = ReactionCounts(len(marked), _met(marked, found), len(found), _met(found, marked))
    return counts


def _met(some: Sequence[tuple[float, float]], others: Sequence[tuple[float, float]]) -> int:
    """Return how many of some spans overlap one of the others within the tolerance."""
    return sum(
        any(low - TOLERANCE_S <= end and start <= high + TOLERANCE_S for low, high in others) for start, end in some
    )
