"""Stop ALSA and JACK from printing to the terminal when they look for devices that do not exist."""

import ctypes
import sys
from contextlib import suppress
from typing import Any

__all__ = ["silence_libraries"]

_ALSA = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p)
_JACK = ctypes.CFUNCTYPE(None, ctypes.c_char_p)
_NOTHING: list[Any] = [_ALSA(lambda *_: None), _JACK(lambda *_: None)]
"""The handlers, which must exist as long as the libraries use them."""


def silence_libraries() -> None:
    """Give the libraries that are installed a handler that drops their messages. Errors are returned as before."""
    if not sys.platform.startswith("linux"):
        return
    alsa, jack = _NOTHING
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(alsa)
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL("libjack.so.0")
        library.jack_set_error_function(jack)
        library.jack_set_info_function(jack)
