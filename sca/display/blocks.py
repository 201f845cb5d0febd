"""A line of text and blocks of HTML: numbers and tables. All text is escaped and bounded in length."""

import html
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from sca.textutil import printable

__all__ = ["block", "summary_line", "table"]

_MAX_ROWS = 20
_MAX_TEXT = 300


def summary_line(name: str, *facts: object) -> str:
    """Return the line that `repr` gives: the name of the class and the facts, without line breaks.

    Args:
        name: The class.
        facts: What it has, as texts.
    """
    return f"<{name}: {', '.join(printable(str(fact)) for fact in facts)}>"


def block(title: str, facts: Mapping[str, object], *parts: str) -> str:
    """Return a block of HTML.

    Args:
        title: The title, as text.
        facts: Names and values, as text.
        parts: HTML below them, such as a `player` or a `table`.
    """
    lines = "".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in facts.items())
    return f"<div><strong>{_text(title)}</strong><table>{lines}</table>{''.join(parts)}</div>"


def table(header: Sequence[str], rows: Iterable[Sequence[object]], count: int) -> str:
    """Return a table as HTML: the first 20 rows, and how many there are.

    Args:
        header: The names of the columns.
        rows: Values as text.
        count: The number of rows.
    """
    if not count:
        return ""
    head = "".join(f"<th>{_text(name)}</th>" for name in header)
    body = "".join(
        f"<tr>{''.join(f'<td>{_text(value)}</td>' for value in row)}</tr>" for row in islice(rows, _MAX_ROWS)
    )
    more = f"<p>the first {_MAX_ROWS} of {count}</p>" if count > _MAX_ROWS else ""
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _text(value: object) -> str:
    """Return a value as escaped text of bounded length on one line."""
    text = printable(str(value))
    return html.escape(text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…")
