"""Text helpers for messages: counts with their nouns, and exceptions on one line."""

__all__ = ["counted", "first_line", "one_line"]


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
