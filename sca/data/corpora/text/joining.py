"""Joining words to a text, with spaces where the script has them."""

import re
from collections.abc import Iterable

__all__ = ["join_words"]

# Thai, Lao, Burmese, Khmer, CJK punctuation, kana, Chinese characters, full-width forms.
_NO_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff01-\uff9f\U00020000-\U0003ffff"
)
_BETWEEN = re.compile(rf"(?<=[{_NO_SPACES}]) (?=[{_NO_SPACES}])")


def join_words(words: Iterable[str]) -> str:
    """Join words by spaces, but not between two characters of a script that is written without spaces."""
    return _BETWEEN.sub("", " ".join(words))
