"""Ids of rows in a spelling without characters that a shell acts on.

The id in a data set is `SESSION:LISTENER>SPEAKER:START_CHUNK`. In a shell, `>` redirects the output to a file. Commands
therefore print `SESSION:LISTENER..SPEAKER:START_CHUNK`, in which other such characters are `%` and their UTF-8 bytes in
hexadecimal, as in a URL, and read both spellings.
"""

import re
from urllib.parse import unquote

__all__ = ["row_id_of", "stored_row_id", "typed_row_id"]

_ARROW = ">"
_DOTS = ".."
_PLAIN = "_-+:./"
_AMBIGUOUS_DOT = re.compile(r"\.(?=[.>])|(?<=[.>])\.")
"""A dot beside another or beside the arrow could be read as a part of the dots that replace the arrow."""


def row_id_of(session_id: str, listener: str, speaker: str, first_chunk: int) -> str:
    """Return the id of a row, as data sets store it."""
    return f"{session_id}:{listener}>{speaker}:{first_chunk:06d}"


def typed_row_id(row_id: str) -> str:
    """Return the spelling of a row's id, or of a session's, that every shell leaves alone."""
    text = _AMBIGUOUS_DOT.sub("%2E", row_id.replace("%", "%25"))
    text = "".join(c if c.isalnum() or c in _PLAIN or c in ("%", _ARROW) else _quoted(c) for c in text)
    text = re.sub(r"^-", "%2D", text)  # it would be an option
    return text.replace(_ARROW, _DOTS)


def stored_row_id(typed: str) -> str:
    """Return the id that `typed_row_id` spelled."""
    return unquote(typed.replace(_DOTS, _ARROW))


def _quoted(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())
