"""When each word of an utterance is spoken: given beside the corpus, or shared out by letters.

Pure: times in samples at 16 kHz, no audio. `source` of a word says where its times are from ("given", "interpolated").
"""

import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from sca.data.corpora.conversation import TimedWord
from sca.data.duplex.text import Word, split_words

__all__ = ["GIVEN", "INTERPOLATED", "GivenWords", "interpolate"]

GIVEN = "given"
INTERPOLATED = "interpolated"


def interpolate(text: str, start: int, end: int) -> tuple[Word, ...]:
    """Share the samples `[start, end)` out among the words of `text` by their letters.

    The k-th word starts at `start + (end - start) · letters before it / all letters`, so that long words last longer.
    """
    spans = split_words(text)
    weights = [_letters(text[a:b]) for a, b in spans]
    total = sum(weights)
    words: list[Word] = []
    before = 0
    for (a, b), weight in zip(spans, weights, strict=True):
        first = start + (end - start) * before // total
        before += weight
        words.append(Word(text[a:b], a, b, first, start + (end - start) * before // total, INTERPOLATED))
    return tuple(words)


def _letters(word: str) -> int:
    return max(1, sum(c.isalnum() for c in word))


def _spelling(word: str) -> str:
    """A word as two sources agree on it: no case, no punctuation."""
    folded = unicodedata.normalize("NFC", word).casefold()
    return "".join(c for c in folded if c.isalnum()) or folded


@dataclass(slots=True)
class GivenWords:
    """One speaker's given word times, handed out utterance by utterance.

    `tolerance` is how far, in samples, a given word may lie outside the utterance it belongs to.
    """

    words: Sequence[TimedWord]
    tolerance: int = 4_000
    _next: int = 0

    def take(self, text: str, start: int, end: int) -> tuple[Word, ...] | None:
        """The timed words of an utterance `[start, end)`, or None where the given ones do not match its text.

        Words must be asked for in time order. They match when their spelling (without case and punctuation) is the same
        and their times do not run backwards.
        """
        spans = split_words(text)
        spelled = [_spelling(text[a:b]) for a, b in spans]
        earliest = bisect_left(self.words, start - self.tolerance, key=lambda w: w.start)
        # Normally the next word in line is the one; a skipped line or a repeated word makes us look by time instead.
        for at in dict.fromkeys((self._next, earliest, *range(earliest, min(earliest + 8, len(self.words))))):
            found = self.words[at : at + len(spans)]
            if not self._fits(found, spelled, start, end):
                continue
            self._next = at + len(spans)
            return tuple(
                Word(text[a:b], a, b, max(0, word.start), max(0, word.end), GIVEN)
                for (a, b), word in zip(spans, found, strict=True)
            )
        return None

    def _fits(self, found: Sequence[TimedWord], spelled: list[str], start: int, end: int) -> bool:
        if len(found) != len(spelled) or not found:
            return False
        if found[0].start < start - self.tolerance or found[-1].start > end + self.tolerance:
            return False
        if any(_spelling(word.text) != want for word, want in zip(found, spelled, strict=True)):
            return False
        in_order = all(a.start <= b.start for a, b in pairwise(found))
        return in_order and all(word.start <= word.end for word in found)
