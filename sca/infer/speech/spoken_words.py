"""Which word of a text each phoneme of espeak-ng belongs to.

A word of the text is a stretch without white space. espeak-ng reports where the word of a phoneme starts, so numbers
and abbreviations need no rules here. It speaks some pairs as one word ("of the"): these are divided at the phoneme
where the second word, spoken alone, would start.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sca.infer.speech.espeak_library import Phone

__all__ = ["TextWord", "assign_phones", "is_latin_language", "only_latin"]

# fmt: off
_NOT_LATIN = {
    "am", "ar", "as", "ba", "be", "bg", "bn", "bpy", "chr", "cmn", "cv", "el", "fa", "grc", "gu", "hak", "he", "hi",
    "hy", "hyw", "ja", "ka", "kk", "kn", "ko", "kok", "ky", "mk", "ml", "mr", "mt", "my", "ne", "nog", "or", "pa",
    "ru", "sd", "shn", "si", "sr", "ta", "te", "th", "tt", "ug", "uk", "ur", "yue",
}
# fmt: on
_STRESS = str.maketrans("", "", "ˈˌ ")


@dataclass(frozen=True, slots=True)
class TextWord:
    """A word of a text.

    Attributes:
        text: The word with its punctuation.
        start_char: Where it starts.
        first_phone: Its first phoneme.
        end_phone: The phoneme after its last one; equal to `first_phone` if the word is not spoken.
    """

    text: str
    start_char: int
    first_phone: int
    end_phone: int

    @property
    def is_spoken(self) -> bool:
        """Whether it has phonemes."""
        return self.end_phone > self.first_phone

    @property
    def is_skipped(self) -> bool:
        """Whether it is not spoken, though it is more than punctuation."""
        return not self.is_spoken and any(c.isalnum() or unicodedata.category(c) == "So" for c in self.text)


def is_latin_language(language: str) -> bool:
    """Return whether a language code of espeak-ng names a language that is written in Latin letters."""
    return language.split("-")[0].split("+")[0] not in _NOT_LATIN


def only_latin(text: str) -> str:
    """Replace letters of other scripts, which a voice would spell or not speak, by spaces of the same number."""
    return "".join(" " if c.isalpha() and not c.isascii() and not _is_latin(c) else c for c in text)


def _is_latin(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith(("LATIN", "MODIFIER", "FEMININE", "MASCULINE", "MICRO"))


def assign_phones(text: str, phones: Sequence[Phone], phonemes: Callable[[str], str]) -> list[TextWord]:
    """Return the words of a text with their phonemes.

    Args:
        text: The text.
        phones: Its phonemes in order. Those without a symbol are pauses.
        phonemes: Returns the phonemes of a word that is spoken alone, in IPA.
    """
    words = [(found[0], found.start()) for found in re.finditer(r"\S+", text)]
    ends, at = [], 0
    for number in range(len(words)):
        until = words[number + 1][1] if number + 1 < len(words) else len(text) + 1
        # A pause before the first word can have a position in the text that was spoken before.
        while at < len(phones) and (_is_pause(phones[at]) or phones[at].start_char < until):
            at += 1
        ends.append(at)
    firsts = [0, *ends[:-1]]
    for number in range(len(words)):
        if firsts[number] == ends[number]:
            _divide(words, number, firsts, ends, phones, phonemes)
    return [TextWord(*word, *_trimmed(phones, *span)) for word, *span in zip(words, firsts, ends, strict=True)]


def _divide(
    words: Sequence[tuple[str, int]],
    number: int,
    firsts: list[int],
    ends: list[int],
    phones: Sequence[Phone],
    phonemes: Callable[[str], str],
) -> None:
    """Give a word without phonemes its part of the word before it, if espeak-ng has joined them."""
    alone = phonemes(words[number][0]).translate(_STRESS)
    if not alone or not number:
        return
    first, end = _trimmed(phones, firsts[number - 1], ends[number - 1])
    before = phonemes(words[number - 1][0]).translate(_STRESS)
    if end - first < 2:
        return
    letters = [len(phone.symbol) for phone in phones[first:end]]
    wanted = sum(letters) * len(before) / max(len(before) + len(alone), 1)
    cut = min(range(first + 1, end), key=lambda at: abs(sum(letters[: at - first]) - wanted))
    firsts[number], ends[number] = cut, ends[number - 1]
    ends[number - 1] = cut


def _trimmed(phones: Sequence[Phone], first: int, end: int) -> tuple[int, int]:
    """Leave out the pauses around the phonemes of a word."""
    while first < end and _is_pause(phones[first]):
        first += 1
    while end > first and _is_pause(phones[end - 1]):
        end -= 1
    return first, end


def _is_pause(phone: Phone) -> bool:
    return not phone.symbol.strip("_ ")
