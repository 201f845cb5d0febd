"""Where commands print: results to stdout, everything else to stderr; a live display only when a person watches."""

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["emit_json", "out", "say_notes", "stderr"]

_NOTES_SHOWN = 8


def stderr() -> "Console":
    """The console for progress, notices and errors. Made anew so that a redirected stream is respected."""
    from rich.console import Console

    return Console(stderr=True, soft_wrap=True, highlight=False)


def out() -> "Console":
    """The console for results. Piped, it prints plain text without wrapping."""
    from rich.console import Console

    return Console(soft_wrap=not sys.stdout.isatty(), highlight=False)


def emit_json(document: Any) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")


def say_notes(notes: Sequence[str], rest: str = "") -> None:
    """Print what a person should know of single items on stderr: the first few, and how many more.   rest: where those are."""
    console = stderr()
    for note in notes[:_NOTES_SHOWN]:
        console.print(f"sca: {note}", markup=False)
    if len(notes) > _NOTES_SHOWN:
        console.print(f"sca: … and {len(notes) - _NOTES_SHOWN} more{rest}", markup=False)
