"""Text helpers for messages: commands, counts with their nouns, exceptions on one line, and similar names."""

import difflib
import json
import os
import re
import shlex
import subprocess
import unicodedata
from collections.abc import Callable, Iterable
from pathlib import Path

from sca.distribution import program

__all__ = ["command_line", "counted", "did_you_mean", "first_line", "json_text", "one_line", "printable", "whole_word"]

_CONTROL_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"  # they join or separate the letters of a word, and move nothing


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Format a count with its noun: `1 row`, `2 rows`.

    Args:
        count: The number of things.
        noun: The singular.
        plural: The plural, if it is not the noun with an s.
    """
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def command_line(*words: object) -> str:
    """Return a command of sca as one types it: words that the shell of this system divides or expands are in quotes.

    Args:
        words: The words after `sca`. A path that begins with a dash gets `./`, because it is no option.
    """
    texts = program()
    for word in words:
        is_dashed = isinstance(word, Path) and str(word).startswith("-")
        texts.append(f"{os.curdir}{os.sep}{word}" if is_dashed else str(word))
    return subprocess.list2cmdline(texts) if os.name == "nt" else shlex.join(texts)


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or the name of its type if it has no message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def one_line(text: str) -> str:
    """Return a text, such as a file name, as valid UTF-8 on one line: characters that do not print are escaped."""
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def printable(text: str, *, escape: Callable[[str], str] = _escape) -> str:
    r"""Return a text, such as a title, as one line that a terminal, a log or a card can show.

    Control and format characters, line breaks and marks that change the direction of writing become escapes such as
    `\x1b`. Spaces and joiners of all scripts stay, unlike in `one_line`, whose results identify files in ledgers.

    Args:
        text: The text.
        escape: What replaces one such character.
    """
    if text.isprintable():
        return text
    return "".join(
        escape(c) if unicodedata.category(c) in _CONTROL_CATEGORIES and c not in _JOINERS else c for c in text
    )


def json_text(document: object, *, indent: int | None = None, ascii_only: bool = False, compact: bool = False) -> str:
    """Return a JSON document in which control characters and what `printable` escapes are escapes of JSON.

    Args:
        document: The document.
        indent: Spaces per level; None gives one line.
        ascii_only: Whether all other characters are escapes as well.
        compact: Whether to leave out the spaces after commas and colons.
    """
    separators = (",", ":") if compact else None
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent, separators=separators)
    return "\n".join(printable(line, escape=_json_escape) for line in text.split("\n"))


def _json_escape(character: str) -> str:
    escaped = json.dumps(character)[1:-1]
    return f"\\u{ord(character):04x}" if escaped == character else escaped  # `json` leaves DEL as it is


def did_you_mean(name: str, known: Iterable[str], *, most: int = 1, cutoff: float = 0.6) -> str:
    """Return a question with the most similar names and a space after it, for the start of a hint; empty without any.

    Args:
        name: The unknown name.
        known: The names that exist.
        most: The largest number of names.
        cutoff: The smallest similarity, from 0 to 1 (`difflib.get_close_matches`).
    """
    near = difflib.get_close_matches(name, list(known), most, cutoff)
    return f"did you mean {' or '.join(near)}? " if near else ""


def whole_word(word: str) -> str:
    """Return a pattern of a regular expression for a word or words that are not a part of a longer one."""
    start = r"\b" if word[0].isalnum() else ""
    end = r"\b" if word[-1].isalnum() else ""
    return f"{start}{re.escape(word)}{end}"
