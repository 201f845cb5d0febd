"""When each word of an utterance is spoken: given beside the corpus, shared out by letters, or recognised and matched.

Pure: times in samples at 16 kHz, no audio. `source` of a word says where its times are from ("given", "interpolated",
"whisper", "ctc").
"""

import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby, pairwise

from sca.data.corpora.base import TimedWord
from sca.data.duplex.model.spans import Span
from sca.data.duplex.model.units import UnitWord
from sca.data.duplex.rows.text import split_words

__all__ = ["CTC", "GIVEN", "INTERPOLATED", "WHISPER", "GivenWords", "fill_in", "interpolate", "match_heard"]

GIVEN = "given"
INTERPOLATED = "interpolated"
WHISPER = "whisper"
CTC = "ctc"


def interpolate(text: str, start: int, end: int) -> tuple[UnitWord, ...]:
    """Share the samples `[start, end)` out among the words of `text` by their letters.

    The k-th word starts at `start + (end - start) · letters before it / all letters`, so that long words last longer.
    """
    spans = split_words(text)
    weights = [_letters(text[a:b]) for a, b in spans]
    total = sum(weights)
    words: list[UnitWord] = []
    before = 0
    for (a, b), weight in zip(spans, weights, strict=True):
        first = start + (end - start) * before // total
        before += weight
        words.append(UnitWord(text[a:b], a, b, first, start + (end - start) * before // total, INTERPOLATED))
    return tuple(words)


def match_heard(text: str, heard: Sequence[TimedWord]) -> list[Span | None]:
    """For every word of `text` the span of the recognised word that stands for it, or None where there is none.

    The given text is what was said; what was recognised only lends its times. Words are paired in order, by spelling.
    """
    given = [_spelling(text[a:b]) for a, b in split_words(text)]
    # A recogniser writes scripts without spaces in pieces of its own; cut the way ours is cut, by their letters.
    parts = [part for word in heard for part in interpolate(word.text, word.start, word.end)]
    found: list[Span | None] = [None] * len(given)
    matcher = SequenceMatcher(None, given, [_spelling(part.text) for part in parts], autojunk=False)
    for block in matcher.get_matching_blocks():
        for i in range(block.size):
            part = parts[block.b + i]
            found[block.a + i] = (part.start, part.end)
    return found


def fill_in(text: str, start: int, end: int, found: Sequence[Span | None], source: str) -> tuple[UnitWord, ...]:
    """The words of `text` inside `[start, end)`: timed where `found` has a span, shared out by letters in between.

    Times outside the utterance are moved to its edge.
    """
    spans = split_words(text)
    words: list[UnitWord] = []
    earliest = start
    for known, run in groupby(range(len(spans)), key=lambda i: found[i] is not None):
        places = list(run)
        if known:
            for i in places:
                span = found[i]
                assert span is not None, "grouped by it"
                first, last = (min(max(at, start), end) for at in span)
                words.append(UnitWord(text[spans[i][0] : spans[i][1]], *spans[i], first, last, source))
            earliest = words[-1].end
            continue
        after = found[places[-1] + 1] if places[-1] + 1 < len(spans) else None
        latest = end if after is None else min(max(after[0], earliest), end)
        a, b = spans[places[0]][0], spans[places[-1]][1]
        words += [
            UnitWord(word.text, word.char_start + a, word.char_end + a, word.start, word.end, INTERPOLATED)
            for word in interpolate(text[a:b], min(earliest, latest), latest)
        ]
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

    def take(self, text: str, start: int, end: int) -> tuple[UnitWord, ...] | None:
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
                UnitWord(text[a:b], a, b, max(0, word.start), max(0, word.end), GIVEN)
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
