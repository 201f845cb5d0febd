"""The C API of libespeak-ng: its structures and constants, the file of the library, and the events of a callback.

`sca.infer.speech.espeak_library` speaks with it, and `scripts/make_demo.py` makes the demo corpus with it.
Source of the constants and structures: speak_lib.h of espeak-ng 1.51, which are unchanged since 1.48.
"""

import ctypes
from collections.abc import Iterator
from contextlib import suppress

from sca.errors import MissingToolError

__all__ = [
    "CHARS_UTF8",
    "END_PAUSE",
    "IPA",
    "PHONEME",
    "SYNCHRONOUS",
    "WORD",
    "EspeakEvent",
    "OnAudio",
    "VoiceEntry",
    "declared",
    "events_of",
    "open_espeak",
]

_FILES = ("libespeak-ng.so.1", "libespeak-ng.so", "libespeak-ng.1.dylib", "libespeak-ng.dylib", "libespeak-ng.dll")
SYNCHRONOUS = 2
CHARS_UTF8, END_PAUSE = 0x1, 0x1000
IPA = 0x2
WORD, PHONEME = 1, 7
"""Kinds of events."""


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class EspeakEvent(ctypes.Structure):
    """`espeak_EVENT`."""

    _fields_ = (
        ("kind", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # in characters, from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # milliseconds
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


class VoiceEntry(ctypes.Structure):
    """The first fields of `espeak_VOICE`."""

    _fields_ = (("name", ctypes.c_char_p), ("languages", ctypes.c_void_p), ("identifier", ctypes.c_char_p))


OnAudio = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(EspeakEvent))
"""The callback of `espeak_SetSynthCallback`: samples, their number, events; it returns 0 to continue."""


def events_of(events: "ctypes.Array[EspeakEvent]") -> Iterator[EspeakEvent]:
    """Yield the events of a callback, which end with one of the kind 0."""
    at = 0
    while events[at].kind:
        yield events[at]
        at += 1


def open_espeak() -> ctypes.CDLL:
    """Load the library, with the types of its functions.

    Raises:
        MissingToolError: It is not installed.
    """
    for file in _FILES:
        with suppress(OSError):
            return declared(ctypes.CDLL(file))
    raise MissingToolError(
        "espeak-ng is not installed",
        hint="apt-get install espeak-ng (Debian, Ubuntu) or brew install espeak-ng (macOS)",
    )


def declared(handle: ctypes.CDLL) -> ctypes.CDLL:
    """Declare the types of the functions of a loaded library that ctypes would guess wrong; return the library."""
    uint, size, pointer = ctypes.c_uint, ctypes.c_size_t, ctypes.c_void_p
    handle.espeak_Synth.argtypes = (ctypes.c_char_p, size, uint, ctypes.c_int, uint, uint, pointer, pointer)
    handle.espeak_Info.restype = ctypes.c_char_p
    handle.espeak_TextToPhonemes.restype = ctypes.c_char_p
    handle.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(VoiceEntry))
    return handle
