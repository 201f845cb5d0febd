"""Text helpers for messages: counts with their nouns, exceptions on one line, and similar names."""

import difflib
from collections.abc import Iterable

__all__ = ["counted", "did_you_mean", "first_line", "one_line"]


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Format a count with its noun: `1 row`, `2 rows`.

    Args:
        count: The number of things.
        noun: The singular.
        plural: The plural, if it is not the noun with an s.
    """
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


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
