"""The engine espeak: formant voices of espeak-ng in many languages, some milliseconds after the text."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.config import Settings
from sca.errors import unknown_name
from sca.infer.speech.base import (
    RepeatableEngine,
    SpeechEngine,
    SpeechVoice,
    UnitSound,
    UnitVoice,
    VoiceInfo,
    WordTime,
)
from sca.infer.speech.espeak_library import EspeakLibrary, Phone, load_library, private_library
from sca.infer.speech.spoken_words import TextWord, assign_phones, is_latin_language, only_latin

__all__ = ["EspeakEngine", "load"]

_DEFAULT_VOICE = "en-us"
_SILENT = 0.003
"""Share of full scale below which the end of a word is a pause."""


def load(settings: Settings) -> "EspeakEngine":
    """Return the engine; the library is loaded when a voice is opened or listed."""
    return EspeakEngine()


class EspeakEngine(SpeechEngine, RepeatableEngine):
    """Voices of libespeak-ng.

    Args:
        library: Returns the library to use.
    """

    name = "espeak"
    default_voice = _DEFAULT_VOICE

    def __init__(self, library: Callable[[], EspeakLibrary] = load_library) -> None:
        self._library = library

    @contextmanager
    @override
    def repeatable(self) -> Iterator[SpeechEngine]:
        with private_library() as library:
            yield EspeakEngine(lambda: library)

    @override
    def voices(self) -> Sequence[VoiceInfo]:
        return [VoiceInfo(voice.language, voice.language, voice.title) for voice in self._library().voices()]

    def check(self) -> None:
        """Return if espeak-ng is installed; raise `MissingToolError` otherwise."""
        load_library()

    @override
    def open(self, voice: str | None = None) -> SpeechVoice:
        library, name = self._library(), voice or _DEFAULT_VOICE
        if not library.has_voice(name):
            names = [info.name for info in self.voices()]
            raise unknown_name(f"the engine espeak has no voice {name}", name, names, all_in="sca say --list")
        return _EspeakVoice(library, name)


class _EspeakVoice(UnitVoice):
    def __init__(self, library: EspeakLibrary, name: str) -> None:
        super().__init__(library.rate_hz, sentences=False)
        self._library = library
        self._name = name

    @override
    def synthesise(self, text: str) -> UnitSound:
        speakable = only_latin(text) if is_latin_language(self._name) else text
        spoken = self._library.speak(speakable, self._name)
        found = assign_phones(text, spoken.phones, lambda word: self._alone(word))
        words = _word_times(found, spoken.phones, spoken.samples)
        skipped = tuple(word.text for word in found if word.is_skipped)
        return UnitSound(spoken.samples if words else spoken.samples[:0], words, skipped)

    def _alone(self, word: str) -> str:
        speakable = only_latin(word) if is_latin_language(self._name) else word
        return self._library.phonemes(speakable, self._name) if speakable.strip() else ""


def _word_times(
    words: Sequence[TextWord], phones: Sequence[Phone], samples: NDArray[np.float32]
) -> tuple[WordTime, ...]:
    """Return the times of the spoken words: to the next word, or to where the sound stops before it."""
    spoken = [word for word in words if word.is_spoken]
    starts = [phones[word.first_phone].start_sample for word in spoken]
    if not spoken:
        return ()
    times = []
    for word, start, until in zip(spoken, starts, [*starts[1:], len(samples)], strict=True):
        loud = np.flatnonzero(np.abs(samples[start:until]) > _SILENT)
        end = start + int(loud[-1]) + 1 if len(loud) else until
        times.append(WordTime(word.text, word.start_char, word.start_char + len(word.text), start, end))
    return tuple(times)
