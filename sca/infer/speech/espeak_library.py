"""libespeak-ng, through its C API: the speech of a short text with its phonemes, and the list of voices.

espeak-ng is free software under GPL-3. sca uses the library of the system, if there is one, and does not contain it.
The library has one global state, so calls are serialised by a lock of the process; a call takes some milliseconds. The
state also carries over: how a text sounds differs by a few samples with what was spoken before. `private_library` loads
a second copy with a state of its own, for speech that must be the same in every run.
"""

import _ctypes
import ctypes
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sca.audio.pcm import pcm16_samples
from sca.errors import MissingToolError, UsageError
from sca.infer.speech.espeak_api import (
    CHARS_UTF8,
    END_PAUSE,
    IPA,
    PHONEME,
    SYNCHRONOUS,
    EspeakEvent,
    OnAudio,
    VoiceEntry,
    declared,
    events_of,
    open_espeak,
)

__all__ = ["EspeakLibrary", "EspeakVoice", "Phone", "Utterance", "load_library", "private_library"]

T = TypeVar("T")

_OPTIONS = 0x1 | 0x2 | 0x8000  # phoneme events, in IPA; do not end the process if the data is missing
_BUFFER_MS = 60


class _Symbol(ctypes.Structure):
    """`Dl_info` of dladdr(3)."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


@dataclass(frozen=True, slots=True)
class EspeakVoice:
    """A voice of the library: its language code, its name in words, and its file."""

    language: str
    title: str
    file: str


@dataclass(frozen=True, slots=True)
class Phone:
    """A spoken phoneme.

    Attributes:
        symbol: The phoneme in IPA, without stress.
        start_char: Where the word that it belongs to starts in the text. For a number, a position inside it.
        start_sample: Where it starts in the sound.
    """

    symbol: str
    start_char: int
    start_sample: int


@dataclass(frozen=True, slots=True)
class Utterance:
    """The speech of a text: float32 mono `(n,)`, and its phonemes in order."""

    samples: NDArray[np.float32]
    phones: tuple[Phone, ...]


class EspeakLibrary:
    """The loaded library. Use `load_library`, because there can be only one in a process.

    Args:
        handle: The library.
        before: Called before every text.

    Attributes:
        rate_hz: The rate of its speech.
    """

    def __init__(self, handle: ctypes.CDLL, before: Callable[[], object] | None = None) -> None:
        self._library = handle
        self._before = before
        self._lock = threading.Lock()
        self._voice: str | None = None
        self._pcm: list[bytes] = []
        self._phones: list[Phone] = []
        self._callback = OnAudio(self._on_audio)  # stored, because the library does not hold a reference to it
        self.rate_hz = int(handle.espeak_Initialize(SYNCHRONOUS, _BUFFER_MS, None, _OPTIONS))
        if self.rate_hz <= 0:
            raise MissingToolError("libespeak-ng does not find its data", hint="install espeak-ng-data")
        handle.espeak_SetSynthCallback(self._callback)
        self._voices = list(_read_voices(handle.espeak_ListVoices(None)))
        self._files = {voice.language: voice.file for voice in reversed(self._voices)}

    def _on_audio(
        self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, events: "ctypes.Array[EspeakEvent]"
    ) -> int:
        if samples and count > 0:
            self._pcm.append(ctypes.string_at(samples, 2 * count))
        for event in events_of(events):
            if event.kind == PHONEME:
                symbol = bytes(event.id.string).decode(errors="ignore")
                self._phones.append(Phone(symbol, event.text_position - 1, event.sample))
        return 0

    def _select(self, voice: str) -> None:
        if voice != self._voice:
            language, plus, variant = voice.partition("+")
            # The library finds some languages ("en-gb") only by the file of their voice.
            name = f"{self._files.get(language, language)}{plus}{variant}"
            if self._library.espeak_SetVoiceByName(name.encode(errors="replace")) != 0:
                raise UsageError(f"espeak-ng has no voice {voice}")
            self._voice = voice

    def has_voice(self, voice: str) -> bool:
        """Return whether a name is accepted: a language code, with `+VARIANT` after it or not."""
        with self._lock:
            try:
                self._select(voice)
            except UsageError:
                return False
            return True

    def voices(self) -> list[EspeakVoice]:
        """Return one voice per language."""
        return self._voices

    def speak(self, text: str, voice: str) -> Utterance:
        """Return the speech of a text with its final pause.

        Args:
            text: The text. It should be short, because nothing else is spoken meanwhile.
            voice: A name that `has_voice` accepts.
        """
        return _outside_main_thread(lambda: self._speak(_encoded(text), voice))

    def _speak(self, raw: bytes, voice: str) -> Utterance:
        with self._lock:
            self._select(voice)
            self._pcm, self._phones = [], []
            if self._before is not None:
                self._before()
            self._library.espeak_Synth(raw, len(raw) + 1, 0, 1, 0, CHARS_UTF8 | END_PAUSE, None, None)
            return Utterance(pcm16_samples(b"".join(self._pcm)), tuple(self._phones))

    def phonemes(self, text: str, voice: str) -> str:
        """Return the phonemes of a text in IPA with stress marks, with a space between words."""
        raw = ctypes.create_string_buffer(_encoded(text))
        at = ctypes.c_void_p(ctypes.addressof(raw))
        clauses = []
        with self._lock:
            self._select(voice)
            while at.value:
                found = self._library.espeak_TextToPhonemes(ctypes.byref(at), CHARS_UTF8, IPA)
                clauses.append((found or b"").decode(errors="ignore").strip())
        return " ".join(clause for clause in clauses if clause)


def _outside_main_thread(work: Callable[[], T]) -> T:
    """Return the result of a call. Its callbacks must not run in the main thread, where an interrupt would raise in them.

    ctypes prints an exception of a callback and continues, so the interrupt would be lost.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    thread = threading.Thread(target=run, name="sca espeak", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _encoded(text: str) -> bytes:
    # A zero ends the text for the library; a lone surrogate is not text.
    return text.replace("\0", " ").encode(errors="replace")


def _read_voices(found: "ctypes._Pointer[ctypes._Pointer[VoiceEntry]]") -> Iterator[EspeakVoice]:
    at = 0
    while found[at]:
        voice = found[at].contents
        language = ctypes.string_at(voice.languages + 1).decode(errors="replace")  # after one byte of priority
        name, file = ((raw or b"").decode(errors="replace") for raw in (voice.name, voice.identifier))
        yield EspeakVoice(language, name, file)
        at += 1


@cache
def load_library() -> EspeakLibrary:
    """Return the library of this process.

    Raises:
        MissingToolError: It is not installed.
    """
    return EspeakLibrary(open_espeak())


@contextmanager
def private_library() -> Iterator[EspeakLibrary]:
    """Load a copy of the library with a state of its own, which ends with the block.

    The same calls in the same order return the same speech in every block, process and run of the same espeak-ng.
    Breathy voices draw their noise from `rand` of the C library, which is seeded before every text; another thread
    should not call it meanwhile.

    Yields:
        The library.

    Raises:
        MissingToolError: It is not installed.
    """
    symbol, process = _Symbol(), ctypes.CDLL(None)
    process.dladdr(ctypes.cast(open_espeak().espeak_Initialize, ctypes.c_void_p), ctypes.byref(symbol))
    # The loader recognises a library by its file, so only a copy of the file gets variables of its own.
    with tempfile.NamedTemporaryFile(suffix=".so") as copy:
        shutil.copyfile(symbol.file.decode(), copy.name)
        handle = declared(ctypes.CDLL(copy.name))
    try:
        yield EspeakLibrary(handle, before=lambda: process.srand(1))
    finally:
        handle.espeak_Terminate()  # ends its thread, whose code is unloaded next
        _ctypes.dlclose(handle._handle)
