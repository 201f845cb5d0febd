"""Text helpers for messages: commands, counts with their nouns, exceptions on one line, and similar names."""

import difflib
import os
import shlex
import subprocess
from collections.abc import Iterable
from pathlib import Path

__all__ = ["command_line", "counted", "did_you_mean", "first_line", "one_line"]


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
    texts = ["sca"]
    for word in words:
        is_dashed = isinstance(word, Path) and str(word).startswith("-")
        texts.append(f"{os.curdir}{os.sep}{word}" if is_dashed else str(word))
    return subprocess.list2cmdline(texts) if os.name == "nt" else shlex.join(texts)


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or the name of its type if it has no message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def one_line(text: str) -> str:
    """Return a text, such as a file name, as valid UTF-8 on one line: characters that do not print are escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


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
