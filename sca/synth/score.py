"""Compare recognized words with the truth: the word error rate, and the errors of the times of equal words."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

__all__ = ["HeardWord", "WordScore", "paired", "plain", "score"]

HeardWord = tuple[str, float, float]
"""A word with its start and end in seconds."""


@dataclass(slots=True)
class WordScore:
    """Sums over recordings. Times are heard minus true, in seconds.

    Attributes:
        words: Words of the truth.
        replaced: Words that were recognized as another word.
        missing: Words that were not recognized.
        added: Recognized words that are not in the truth.
        starts_s: Errors of the starts of equal words.
        ends_s: Errors of their ends.
    """

    words: int = 0
    replaced: int = 0
    missing: int = 0
    added: int = 0
    starts_s: list[float] = field(default_factory=list)
    ends_s: list[float] = field(default_factory=list)

    @property
    def error_rate(self) -> float:
        """The word error rate."""
        return (self.replaced + self.missing + self.added) / max(self.words, 1)

    def document(self) -> dict[str, object]:
        """Return the numbers as JSON values."""
        return {
            "words": self.words,
            "word_error_rate": round(self.error_rate, 4),
            "replaced": self.replaced,
            "missing": self.missing,
            "added": self.added,
            "start": _times(self.starts_s),
            "end": _times(self.ends_s),
        }


def score(pairs: Iterable[tuple[Sequence[HeardWord], Sequence[HeardWord]]]) -> WordScore:
    """Compare pairs of (true, recognized) words, one per recording.

    Words are compared without case and punctuation, and aligned with the fewest replaced, missing and added words.
    """
    found = WordScore()
    for truth, heard in pairs:
        _add(found, _plain(truth), _plain(heard))
    return found


def _plain(words: Sequence[HeardWord]) -> list[HeardWord]:
    return [word for word in words if plain(word[0])]


def plain(word: str) -> str:
    """Return a word without case and punctuation, as words are compared."""
    return re.sub(r"[^\w']+", "", word).casefold()


def paired(truth: Sequence[str], heard: Sequence[str]) -> list[tuple[int | None, int | None]]:
    """Align words with the fewest replaced, missing and added ones.

    Args:
        truth: The true words.
        heard: The recognized words.

    Returns:
        The indices of each pair in order: (true, heard) for equal and replaced words, (true, None) for a missing one,
        (None, heard) for an added one. Words without a letter or digit are in no pair.
    """
    rows, columns = ([(at, word) for at, word in enumerate(map(plain, words)) if word] for words in (truth, heard))
    costs = np.zeros((len(rows) + 1, len(columns) + 1), np.int32)
    costs[:, 0], costs[0, :] = np.arange(len(rows) + 1), np.arange(len(columns) + 1)
    for n, (_, word) in enumerate(rows, 1):
        row, above = costs[n], costs[n - 1]
        for m, (_, other) in enumerate(columns, 1):
            row[m] = min(above[m - 1] + (word != other), above[m] + 1, row[m - 1] + 1)
    pairs: list[tuple[int | None, int | None]] = []
    n, m = len(rows), len(columns)
    while n or m:
        is_equal = bool(n and m) and rows[n - 1][1] == columns[m - 1][1]
        if n and m and costs[n, m] == costs[n - 1, m - 1] + (not is_equal):
            n, m = n - 1, m - 1
            pairs.append((rows[n][0], columns[m][0]))
        elif n and costs[n, m] == costs[n - 1, m] + 1:
            n -= 1
            pairs.append((rows[n][0], None))
        else:
            m -= 1
            pairs.append((None, columns[m][0]))
    return pairs[::-1]


def _add(found: WordScore, truth: list[HeardWord], heard: list[HeardWord]) -> None:
    found.words += len(truth)
    for n, m in reversed(paired([word[0] for word in truth], [word[0] for word in heard])):
        if n is None or m is None:
            found.missing += m is None
            found.added += n is None
        elif plain(truth[n][0]) == plain(heard[m][0]):
            found.starts_s.append(heard[m][1] - truth[n][1])
            found.ends_s.append(heard[m][2] - truth[n][2])
        else:
            found.replaced += 1


def _times(errors_s: list[float]) -> dict[str, float]:
    if not errors_s:
        return {}
    errors = np.array(errors_s)
    size = np.abs(errors)
    return {
        "bias_s": round(float(errors.mean()), 4),
        "mean_abs_s": round(float(size.mean()), 4),
        "p95_abs_s": round(float(np.quantile(size, 0.95)), 4),
        "max_abs_s": round(float(size.max()), 4),
    }
