"""The engine piper: neural voices of Piper, run with onnxruntime, with phonemes from espeak-ng.

The code of Piper (GPL-3) is not used. A voice is a model of the catalogue (`sca models get piper-joe`) or the path of an
ONNX file in the format of Piper.
"""

import difflib
from collections.abc import Sequence
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.errors import InputError, UsageError
from sca.infer.speech.base import SpeechEngine, SpeechVoice, UnitSound, UnitVoice, VoiceInfo, WordTime
from sca.infer.speech.espeak_library import EspeakLibrary, Phone, load_library
from sca.infer.speech.piper_model import PiperModel
from sca.infer.speech.spoken_words import TextWord, assign_phones, is_latin_language, only_latin
from sca.models import models, resolve

__all__ = ["PiperEngine", "load"]

_DEFAULT_VOICE = "piper-joe"
_PREFIX, _SUFFIX = "piper-", ".onnx"
_SPOKEN_PUNCTUATION = ".,;:!?"
_SENTENCE_PAUSE_MS, _CLAUSE_PAUSE_MS = 250, 100
_NOT_SOUNDS = "ˈˌ "


def load() -> "PiperEngine":
    """Return the engine; a model is loaded when a voice is opened."""
    return PiperEngine()


class PiperEngine(SpeechEngine):
    """Voices in the format of Piper."""

    name = "piper"

    @override
    def voices(self) -> Sequence[VoiceInfo]:
        found = [model for name, model in models().items() if name.startswith(_PREFIX)]
        return [VoiceInfo(model.name, "en-us", model.title) for model in found]

    @override
    def open(self, voice: str | None = None) -> SpeechVoice:
        name = voice or _DEFAULT_VOICE
        library = load_library()
        if name.endswith(_SUFFIX):
            if not Path(name).is_file():
                raise InputError(f"{name} does not exist", hint="give the path of a Piper voice in ONNX")
            return _PiperVoice(library, PiperModel(Path(name)))
        names = [info.name for info in self.voices()]
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise UsageError(f"the engine piper has no voice {name}", hint=f"{hint}available: {', '.join(names)}")
        folder = resolve(f"pkg:{name}")
        assert folder is not None
        return _PiperVoice(library, PiperModel(next(folder.glob(f"*{_SUFFIX}"))))


class _PiperVoice(UnitVoice):
    def __init__(self, library: EspeakLibrary, model: PiperModel) -> None:
        super().__init__(model.sample_rate, sentences=True)
        self._library = library
        self._model = model

    @override
    def synthesise(self, text: str) -> UnitSound:
        speakable = self._speakable(text)
        phones = self._library.speak(speakable, self._model.language).phones
        words = assign_phones(text, phones, self._alone)
        skipped = tuple(word.text for word in words if word.is_skipped)
        symbols, owners = _symbols(words, phones, self._alone(speakable))
        if not symbols:
            return UnitSound(np.zeros(0, np.float32), (), skipped)
        audio, starts = self._model.synthesise(symbols)
        is_sentence = text.rstrip(" \n\t\"'”’)]").endswith((".", "!", "?", "…"))
        pause_ms = _SENTENCE_PAUSE_MS if is_sentence else _CLAUSE_PAUSE_MS
        samples = np.concatenate([audio, np.zeros(self.sample_rate * pause_ms // 1000, np.float32)])
        return UnitSound(samples, _word_times(words, owners, starts), skipped)

    def _speakable(self, text: str) -> str:
        return only_latin(text) if is_latin_language(self._model.language) else text

    def _alone(self, text: str) -> str:
        speakable = self._speakable(text)
        return self._library.phonemes(speakable, self._model.language) if speakable.strip() else ""


def _symbols(words: Sequence[TextWord], phones: Sequence[Phone], stressed: str) -> tuple[list[str], list[int]]:
    """Return the symbols for the model, and the word that each one belongs to: -1 for spaces and punctuation.

    Args:
        words: The words with their phonemes.
        phones: The phonemes, without stress.
        stressed: The same phonemes with stress marks and spaces.
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
        if word >= 0 and rest != word and (mark := _mark(words[word].text)):
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


def _mark(word: str) -> str:
    """Return the punctuation after a word that the model knows."""
    last = word.rstrip("\"'”’)]")[-1:]
    return last if last and last in _SPOKEN_PUNCTUATION else ""


def _word_times(words: Sequence[TextWord], owners: Sequence[int], starts: NDArray[np.int64]) -> tuple[WordTime, ...]:
    owned = np.array(owners)
    times = []
    for number, word in enumerate(words):
        (found,) = np.nonzero(owned == number)
        if len(found):
            first, end = int(starts[found[0]]), int(starts[found[-1] + 1])
            times.append(WordTime(word.text, word.start_char, word.start_char + len(word.text), first, end))
    return tuple(times)
