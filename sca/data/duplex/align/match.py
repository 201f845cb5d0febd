"""Times of the words of an utterance: given by the corpus, interpolated by letters, or taken from recognised words.

Pure functions over text and samples at 16 kHz. Every function returns one word per word of the utterance's text, as
`split_words` splits it.
"""

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import accumulate, groupby, pairwise

from sca.data.corpora.base import TimedWord, WordSource
from sca.data.corpora.text.scripts import weight
from sca.data.duplex.model.spans import Span
from sca.data.duplex.rows.text import split_words

__all__ = ["GivenTimes", "fill_in", "interpolate", "match_recognized"]

_MAX_LOOK_AHEAD = 8


def interpolate(text: str, start: int, end: int) -> tuple[TimedWord, ...]:
    """Distribute the samples `[start, end)` over the words of `text` in proportion to their letters.

    The k-th word starts at `start + (end - start) · letters before it / all letters`. A sign for a syllable counts as
    several letters, see `sca.data.corpora.text.scripts.weight`.
    """
    texts = [text[a:b] for a, b in split_words(text)]
    weights = [weight(word) for word in texts]
    total = sum(weights)
    words: list[TimedWord] = []
    before = 0
    for word, share in zip(texts, weights, strict=True):
        first = start + (end - start) * before // total
        before += share
        words.append(TimedWord(word, first, start + (end - start) * before // total, "interpolated"))
    return tuple(words)


def match_recognized(text: str, recognized: Sequence[TimedWord]) -> list[Span | None]:
    """Return for each word of `text` the span of the matching recognised word, or None.

    The text is the transcript; recognised words only contribute their times. Words are paired in order, by spelling.
    Words that are divided in another way ("night-bus" and "night bus") are paired if they have the same letters.
    """
    given = [_spelling(text[a:b]) for a, b in split_words(text)]
    # A recogniser splits scripts without spaces in its own way; its words are split like ours, in proportion to their
    # letters.
    parts = [part for word in recognized for part in interpolate(word.text, word.start, word.end)]
    spans: list[Span | None] = [None] * len(given)
    matcher = SequenceMatcher(None, given, [_spelling(part.text) for part in parts], autojunk=False)
    for kind, first, last, first_part, last_part in matcher.get_opcodes():
        if kind == "equal":
            spans[first:last] = [(part.start, part.end) for part in parts[first_part:last_part]]
        elif kind == "replace":
            spans[first:last] = _spans_by_letters(given[first:last], parts[first_part:last_part])
    return spans


def _spans_by_letters(words: Sequence[str], parts: Sequence[TimedWord]) -> list[Span | None]:
    """Return the spans of words that have the same letters as `parts` together, else None for each."""
    spellings = [_spelling(part.text) for part in parts]
    if "".join(words) != "".join(spellings):
        return [None] * len(words)
    letters = [
        (
            part.start + (part.end - part.start) * i // len(spelled),
            part.start + (part.end - part.start) * (i + 1) // len(spelled),
        )
        for part, spelled in zip(parts, spellings, strict=True)
        for i in range(len(spelled))
    ]
    ends = list(accumulate(len(word) for word in words))
    return [(letters[end - len(word)][0], letters[end - 1][1]) for word, end in zip(words, ends, strict=True)]


def fill_in(text: str, start: int, end: int, found: Sequence[Span | None], source: WordSource) -> tuple[TimedWord, ...]:
    """Return the words of `text` inside `[start, end)`: with the found spans, interpolated where no span was found.

    Args:
        text: The text of the utterance.
        start: Its first sample. Found times outside the utterance are moved to its edge.
        end: One past its last sample.
        found: A span for each word, or None.
        source: The source of the found spans.
    """
    ranges = split_words(text)
    words: list[TimedWord] = []
    earliest = start
    for known, run in groupby(range(len(ranges)), key=lambda i: found[i] is not None):
        indices = list(run)
        if known:
            for i in indices:
                span = found[i]
                assert span is not None, "grouped by it"
                first, last = (min(max(at, start), end) for at in span)
                words.append(TimedWord(text[ranges[i][0] : ranges[i][1]], first, last, source))
            earliest = words[-1].end
            continue
        after = found[indices[-1] + 1] if indices[-1] + 1 < len(ranges) else None
        latest = end if after is None else min(max(after[0], earliest), end)
        missing = text[ranges[indices[0]][0] : ranges[indices[-1]][1]]
        words += interpolate(missing, min(earliest, latest), latest)
    return tuple(words)


def _spelling(word: str) -> str:
    """Return a word without case and punctuation, for comparison between two sources."""
    folded = unicodedata.normalize("NFC", word).casefold()
    return "".join(c for c in folded if c.isalnum()) or folded


def _parts(word: TimedWord) -> Sequence[TimedWord]:
    """Return the words of the text of a given word: several if it is a word of a script without spaces."""
    if word.text.isascii() or len(split_words(word.text)) < 2:
        return (word,)
    return [replace(part, source=word.source) for part in interpolate(word.text, word.start, word.end)]


@dataclass(slots=True)
class GivenTimes:
    """The word times that the corpus gives for one speaker, to be taken utterance by utterance.

    Attributes:
        words: The words, by start. Words that `split_words` splits further get times in proportion to their letters.
        tolerance: How far, in samples, a word may lie outside its utterance.
    """

    words: Sequence[TimedWord]
    tolerance: int = 4_000
    _next: int = 0

    def __post_init__(self) -> None:
        self.words = [part for word in self.words for part in _parts(word)]

    def take(self, text: str, start: int, end: int) -> tuple[TimedWord, ...] | None:
        """Return the timed words of the utterance `[start, end)`, or None if the given words do not match its text.

        They match if most of them have the same spelling (without case and punctuation) and their times do not
        decrease. The other words of the utterance are interpolated. Utterances must be taken in time order.
        """
        return self._take_all(text, start, end) or self._take_most(text, start, end)

    def _take_all(self, text: str, start: int, end: int) -> tuple[TimedWord, ...] | None:
        """Return the words if each of them is given."""
        texts = [text[a:b] for a, b in split_words(text)]
        spelled = [_spelling(word) for word in texts]
        earliest = bisect_left(self.words, start - self.tolerance, key=lambda word: word.start)
        # Normally the next word is the right one. After a skipped utterance or a repeated word it is searched by time.
        by_time = range(earliest, min(earliest + _MAX_LOOK_AHEAD, len(self.words)))
        for at in dict.fromkeys((self._next, earliest, *by_time)):
            given = self.words[at : at + len(texts)]
            if not self._fits(given, spelled, start, end):
                continue
            self._next = at + len(texts)
            return tuple(
                TimedWord(word, max(0, found.start), max(0, found.end), found.source)
                for word, found in zip(texts, given, strict=True)
            )
        return None

    def _take_most(self, text: str, start: int, end: int) -> tuple[TimedWord, ...] | None:
        """Return the words if more than half of them are given."""
        first = bisect_left(self.words, start - self.tolerance, key=lambda word: word.start)
        last = bisect_right(self.words, end + self.tolerance, key=lambda word: word.start)
        spans = match_recognized(text, self.words[max(first, self._next) : last])
        found = [span for span in spans if span is not None]
        if 2 * len(found) <= len(spans) or any(a > b for a, b in found):
            return None
        if any(a[0] > b[0] for a, b in pairwise(found)):
            return None
        self._next = bisect_right(self.words, found[-1][0], key=lambda word: word.start)
        return fill_in(text, max(0, min(start, found[0][0])), max(end, found[-1][1]), spans, "given")

    def _fits(self, given: Sequence[TimedWord], spelled: list[str], start: int, end: int) -> bool:
        if len(given) != len(spelled) or not given:
            return False
        if given[0].start < start - self.tolerance or given[-1].start > end + self.tolerance:
            return False
        if any(_spelling(word.text) != wanted for word, wanted in zip(given, spelled, strict=True)):
            return False
        in_order = all(a.start <= b.start for a, b in pairwise(given))
        return in_order and all(word.start <= word.end for word in given)
