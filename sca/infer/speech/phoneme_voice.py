"""Voices of models that take phonemes: text to phonemes with espeak-ng, and the times of phonemes to those of words."""

import threading
from abc import abstractmethod
from collections.abc import Generator, Sequence
from contextlib import suppress
from difflib import SequenceMatcher

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.infer.speech.base import UnitSound, UnitVoice, WordTime
from sca.infer.speech.espeak_library import EspeakLibrary, Phone
from sca.infer.speech.spoken_words import TextWord, assign_phones, is_latin_language, only_latin
from sca.onnx_session import StoppableRun, StoppedRunError

__all__ = ["PhonemeVoice", "Rendered", "symbols_of"]

_SENTENCE_PAUSE_MS, _CLAUSE_PAUSE_MS = 250, 100
_NOT_SOUNDS = "ˈˌ "

Rendered = tuple[NDArray[np.float32], NDArray[np.int64], Sequence[int]]
"""The audio `(n,)`, where each symbol starts and the last one ends `(count + 1,)`, and the word of each symbol."""


class PhonemeVoice(UnitVoice):
    """A voice whose model turns phonemes into audio and reports how long each one is.

    Args:
        library: espeak-ng, which gives the phonemes.
        language: The voice of espeak-ng for them.
        sample_rate: The rate of the audio, in Hz.
        marks: The punctuation that the model knows, one character each.

    Attributes:
        run: Runs the model for the unit in progress; `cancel` stops it.
    """

    def __init__(self, library: EspeakLibrary, language: str, sample_rate: int, *, marks: str) -> None:
        super().__init__(sample_rate, sentences=True)
        self._library = library
        self._language = language
        self._marks = marks
        self.run = StoppableRun()

    @abstractmethod
    def render(self, symbols: Sequence[str], owners: Sequence[int]) -> Rendered:
        """Return the audio of some symbols.

        Args:
            symbols: One character each: phonemes in IPA, stress marks, spaces, punctuation.
            owners: The word of each symbol; -1 for spaces and punctuation.
        """

    @override
    def cancel(self) -> None:
        super().cancel()
        self.run.stop()

    @override
    def pieces(self, text: str, cancelled: threading.Event) -> Generator[UnitSound, None, None]:
        self.run = StoppableRun()
        if cancelled.is_set():  # before there was something to stop
            return
        with suppress(StoppedRunError):
            yield self.synthesise(text)

    @override
    def synthesise(self, text: str) -> UnitSound:
        speakable = self._speakable(text)
        phones = self._library.speak(speakable, self._language).phones
        words = assign_phones(text, phones, self._alone)
        skipped = tuple(word.text for word in words if word.is_skipped)
        symbols, owners = symbols_of(words, phones, self._alone(speakable), self._marks)
        if not symbols:
            return UnitSound(np.zeros(0, np.float32), (), skipped)
        audio, starts, spoken = self.render(symbols, owners)
        is_sentence = text.rstrip(" \n\t\"'”’)]").endswith((".", "!", "?", "…"))
        pause_ms = _SENTENCE_PAUSE_MS if is_sentence else _CLAUSE_PAUSE_MS
        samples = np.concatenate([audio, np.zeros(self.sample_rate * pause_ms // 1000, np.float32)])
        return UnitSound(samples, _word_times(words, spoken, starts), skipped)

    def _speakable(self, text: str) -> str:
        return only_latin(text) if is_latin_language(self._language) else text

    def _alone(self, text: str) -> str:
        speakable = self._speakable(text)
        return self._library.phonemes(speakable, self._language) if speakable.strip() else ""


def symbols_of(
    words: Sequence[TextWord], phones: Sequence[Phone], stressed: str, marks: str
) -> tuple[list[str], list[int]]:
    """Return the symbols for the model, and the word that each one belongs to: -1 for spaces and punctuation.

    Args:
        words: The words with their phonemes.
        phones: The phonemes, without stress.
        stressed: The same phonemes with stress marks and spaces.
        marks: The punctuation that the model knows.
    """
    letters = _owners_of_letters(words, phones, stressed)
    symbols: list[str] = []
    owners: list[int] = []
    for at, letter in enumerate(stressed):
        following = next((owner for owner in letters[at:] if owner >= 0), -1)
        symbols.append(letter)
        owners.append(-1 if letter == " " else following if letters[at] < 0 else letters[at])
        word = letters[at]
        rest = next((owner for owner in letters[at + 1 :] if owner >= 0), -1)
        if word >= 0 and rest != word and (mark := _mark(words[word].text, marks)):
            symbols.append(mark)
            owners.append(-1)
    return symbols, owners


def _owners_of_letters(words: Sequence[TextWord], phones: Sequence[Phone], stressed: str) -> list[int]:
    """Return the word of each letter of `stressed`; -1 for stress marks and spaces."""
    plain, plain_owners = "", []
    for number, word in enumerate(words):
        spoken = "".join(phone.symbol.strip("_ ") for phone in phones[word.first_phone : word.end_phone])
        plain += spoken
        plain_owners += [number] * len(spoken)
    places = [at for at, letter in enumerate(stressed) if letter not in _NOT_SOUNDS]
    target = "".join(stressed[at] for at in places)
    found = [-1] * len(stressed)
    # The two are equal, except where the library reports a phoneme under another name.
    for first, second, size in SequenceMatcher(None, target, plain, autojunk=False).get_matching_blocks():
        for step in range(size):
            found[places[first + step]] = plain_owners[second + step]
    latest = next((owner for owner in found if owner >= 0), -1)
    for at in places:
        latest = found[at] = latest if found[at] < 0 else found[at]
    return found


def _mark(word: str, marks: str) -> str:
    """Return the punctuation after a word, if it is one of `marks`."""
    last = word.rstrip("\"'”’)]")[-1:]
    return last if last and last in marks else ""


def _word_times(words: Sequence[TextWord], owners: Sequence[int], starts: NDArray[np.int64]) -> tuple[WordTime, ...]:
    owned = np.array(owners)
    times = []
    for number, word in enumerate(words):
        (found,) = np.nonzero(owned == number)
        if len(found):
            first, end = int(starts[found[0]]), int(starts[found[-1] + 1])
            times.append(WordTime(word.text, word.start_char, word.start_char + len(word.text), first, end))
    return tuple(times)
