"""Words of which some have no times: recognisers such as whisperX return none for numbers and other words."""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from sca.data.corpora.segments.model import Word

__all__ = ["WrittenWord", "time_of", "with_times"]

_LETTER_S = 0.08  # about the length of a spoken letter


class WrittenWord(NamedTuple):
    """A word of a file, with its times in seconds if the file has them."""

    text: str
    start_s: float | None
    end_s: float | None

    @property
    def is_timed(self) -> bool:
        """Whether the file has times that are a length of time."""
        return self.start_s is not None and self.end_s is not None and self.start_s <= self.end_s


def time_of(value: object, unit: int = 1) -> float | None:
    """Return a time of a document in seconds; None if it is not one.

    Args:
        value: The number.
        unit: The units in a second.
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return value / unit if math.isfinite(value) and value >= 0 else None


def with_times(words: Sequence[WrittenWord]) -> tuple[Word, ...]:
    """Return the words of one speaker, in the order of speech, with times.

    Words without times share the time between the words before and after them in proportion to their letters, at most
    `_LETTER_S` a letter.

    Returns:
        The words; nothing if no word has times.
    """
    if not any(word.is_timed for word in words):
        return ()
    timed: list[Word] = []
    for has_times, run in groupby(enumerate(words), key=lambda numbered: numbered[1].is_timed):
        numbered = list(run)
        if has_times:
            timed += [Word(word.text, word.start_s or 0.0, word.end_s or 0.0) for _, word in numbered]
            continue
        following = numbered[-1][0] + 1
        after = words[following].start_s if following < len(words) else None
        timed += _between([word.text for _, word in numbered], timed[-1].end_s if timed else None, after)
    return tuple(timed)


def _between(texts: Sequence[str], before_s: float | None, after_s: float | None) -> Iterator[Word]:
    """Yield words in the time between two others, of which one can be missing."""
    letters = [max(1, len(text)) for text in texts]
    length = _LETTER_S * sum(letters)
    first = max(0.0, (after_s or 0.0) - length) if before_s is None else before_s
    last = first + length if after_s is None else max(first, min(first + length, after_s))
    done = 0
    for text, count in zip(texts, letters, strict=True):
        start = first + (last - first) * done / sum(letters)
        done += count
        yield Word(text, start, first + (last - first) * done / sum(letters), given=False)
