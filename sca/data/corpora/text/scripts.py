"""What differs between writing systems: words without spaces, and the spoken length of a character.

Pure functions over strings. There is no dictionary: the same text gives the same words on every machine, and the
syllable is a finer unit of time than the word.
"""

import re
from collections.abc import Iterable

__all__ = ["WORD", "counts_as_syllable", "join_words", "joint", "starts_with_space", "weight"]

# Chinese characters and kana. Texts in these scripts have no spaces at all.
_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_KANA = "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9d"
_CJK = _HAN + _KANA
_CJK_MARKS = "\u3000-\u303f\uff00-\uff65"  # punctuation and full-width forms
# Thai and Lao, Burmese, Khmer. Spaces separate phrases, not words.
_PHRASE = "\u0e00-\u0eff\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f\u1780-\u17ff"

# A syllable as it is written: a consonant with the vowels and marks around it. A final consonant of Thai, Lao and Khmer
# is a part of its own, because only a dictionary can distinguish it from an initial one.
_THAI_MARKS = "\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece"
_THAI_LETTERS = "\u0e01-\u0e2e\u0e81-\u0eae\u0edc-\u0edf"
_THAI = (
    rf"[\u0e40-\u0e44\u0ec0-\u0ec4]?[{_THAI_LETTERS}][{_THAI_MARKS}]*"
    rf"(?:[\u0e30\u0e32\u0e33\u0e45\u0eb0\u0eb2\u0eb3][{_THAI_MARKS}]*)*(?:[\u0e01-\u0e2e][\u0e34\u0e38]?\u0e4c)*"
)
# A letter under U+1039 or before an asat (U+103A) belongs to the syllable before it (the rule of sylbreak).
_BURMESE = (
    r"[\u1000-\u102a\u103f\u104e]"
    r"(?:\u1039[\u1000-\u102a]|[\u102b-\u1038\u103a-\u103e]|[\u1000-\u102a](?=\u1037?\u103a|\u1039))*"
)
_KHMER = r"[\u1780-\u17b3](?:\u17d2[\u1780-\u17b3]|[\u17b4-\u17d1\u17d3\u17dd])*"
# Indic scripts: letters joined by a virama are one syllable.
_VIRAMA = "\u094d\u09cd\u0a4d\u0acd\u0b4d\u0bcd\u0c4d\u0ccd\u0d4d\u0dca"
_INDIC = rf"(?:[^\W\d_][\u093c\u09bc\u0a3c\u0abc\u0b3c\u0cbc]?[{_VIRAMA}]\u200d?)*[^\W\d_]"

WORD = re.compile(rf"[^\w\s]*(?:{_THAI}|{_BURMESE}|{_KHMER}|[{_CJK}{_PHRASE}])[^\w\s{_PHRASE}]*|[^\s{_CJK}{_PHRASE}]+")
"""A word of text: between spaces, or a character or syllable of a script without spaces, with its punctuation."""

_UNSPACED = re.compile(rf"[{_CJK}{_PHRASE}]")
_BETWEEN = re.compile(rf"(?<=[{_CJK}{_CJK_MARKS}{_PHRASE}]) (?=[{_CJK}{_CJK_MARKS}{_PHRASE}])")
_CJK_JOINT = re.compile(rf"[{_CJK}{_CJK_MARKS}]{{2}}")
_SYLLABLE = re.compile(rf"(?:{_THAI}|{_BURMESE}|{_KHMER})(?P<phrase>)|{_INDIC}|[^\W_]")
_IS_INDIC = re.compile(r"[\u0900-\u0dff]")
_IS_SYLLABLE = re.compile(rf"[\uac00-\ud7a3{_HAN}]")
_IS_KANA = re.compile(rf"[{_KANA}]")
_SMALL_KANA = frozenset("ぁぃぅぇぉゃゅょゎァィゥェォャュョヮ")

# In letters of an alphabet: English has about three to a syllable. A kana is one mora, and two make a long syllable.
_SYLLABLE_WEIGHT, _MORA_WEIGHT = 3, 2


def weight(word: str) -> int:
    """Return how long a word is spoken, relative to others: in letters, of which a syllable sign counts as several."""
    if word.isascii():
        return max(1, sum(c.isalnum() for c in word))
    return max(1, sum(_part_weight(part.group(), part["phrase"] is not None) for part in _SYLLABLE.finditer(word)))


def _part_weight(part: str, phrase_script: bool) -> int:
    if phrase_script:
        # A letter without a vowel is a final consonant, part of a cluster, or a short syllable.
        return _SYLLABLE_WEIGHT if len(part) > 1 else 1
    if part in _SMALL_KANA:
        return 0  # part of the mora before it
    if _IS_KANA.match(part):
        return _MORA_WEIGHT
    if _IS_SYLLABLE.match(part) or _IS_INDIC.match(part):
        return _SYLLABLE_WEIGHT
    return 1


def counts_as_syllable(word: str) -> bool:
    """Return whether a word is a character or syllable of a script that is written without spaces."""
    return _UNSPACED.search(word) is not None


def join_words(words: Iterable[str]) -> str:
    """Join words by spaces, but not between two characters of a script that is written without spaces."""
    return _BETWEEN.sub("", " ".join(words))


def joint(before: str, after: str) -> str:
    """Return what separates two utterances that become one text: nothing between Chinese or Japanese, else a space."""
    return "" if _CJK_JOINT.fullmatch(before[-1:] + after[:1]) else " "


def starts_with_space(text: str) -> bool:
    """Return whether a text gets a leading space: not if its first letter is of a script without spaces."""
    first = next((c for c in text if c.isalnum()), "")
    return _UNSPACED.match(first) is None
