"""Phonemes of espeak-ng in the notation of Kokoro: diphthongs and affricates are one symbol, and some sounds merge.

Source of the replacements: `EspeakFallback` and `EspeakG2P` in `misaki/espeak.py` of hexgrad/misaki 0.9.4, the
phonemiser of Kokoro's training. There a tie joins the two letters of a sound; espeak-ng's phonemes without ties are
read as one sound where the two letters are adjacent in one word.
"""

from collections.abc import Mapping, Sequence

__all__ = ["notation"]

_ALL = {"aɪ": "I", "aʊ": "W", "dʒ": "ʤ", "eɪ": "A", "oʊ": "O", "tʃ": "ʧ", "ɔɪ": "Y"}
_ENGLISH = _ALL | {
    "e": "A",
    "r": "ɹ",
    "x": "k",
    "ç": "k",
    "ɐ": "ə",
    "ɬ": "l",
    "ʔ": "t",
    "ʲ": "",
    "o": "ɔ",
    "\u0329": "",
}
_AMERICAN = _ENGLISH | {"ɜːɹ": "ɜɹ", "ɜː": "ɜɹ", "ɚ": "əɹ", "ɪə": "iə", "ɾ": "T", "ː": ""}
_BRITISH = _ENGLISH | {"əʊ": "Q", "eə": "ɛː", "iə": "ɪə", "ɚ": "əɹ"}
_OTHERS = _ALL | {"dz": "ʣ", "ts": "ʦ", "əʊ": "Q"}
_TABLES: Mapping[str, Mapping[str, str]] = {"en-us": _AMERICAN, "en-gb": _BRITISH}


def notation(symbols: Sequence[str], owners: Sequence[int], language: str) -> tuple[list[str], list[int]]:
    """Return symbols in the notation of Kokoro, and the word of each one.

    Args:
        symbols: Phonemes in IPA, stress marks, spaces, punctuation, one character each.
        owners: The word of each symbol; -1 for spaces and punctuation.
        language: The voice of espeak-ng that gave the phonemes.
    """
    table = _TABLES.get(language, _OTHERS)
    longest = max(map(len, table))
    written: list[str] = []
    found: list[int] = []
    at = 0
    while at < len(symbols):
        for size in range(longest, 0, -1):
            letters = "".join(symbols[at : at + size])
            if letters in table and len(set(owners[at : at + size])) == 1:
                break
        written += table.get(letters, letters)
        found += [owners[at]] * len(table.get(letters, letters))
        at += size
    return written, found
