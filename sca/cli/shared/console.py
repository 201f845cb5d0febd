"""Output of the commands: results go to stdout, everything else to stderr."""

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from sca.errors import ScaError

__all__ = ["CommandInterrupt", "emit_json", "out", "print_notes", "report", "stderr"]

_NOTES_SHOWN = 8


class CommandInterrupt(KeyboardInterrupt):
    """An interrupt of a command that does not continue where it was.

    Attributes:
        remains: What the interrupt leaves, for the line on stderr.
    """

    def __init__(self, remains: str) -> None:
        super().__init__(remains)
        self.remains = remains


def stderr() -> "Console":
    """Return a console for progress, notices and errors.

    Created at each call, so that a redirected stream is respected.
    """
    from rich.console import Console

    return Console(stderr=True, soft_wrap=True, highlight=False)


def out() -> "Console":
    """Return a console for results. In a pipe it prints plain text without wrapping."""
    from rich.console import Console

    return Console(soft_wrap=not sys.stdout.isatty(), highlight=False)


def emit_json(document: object) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")


def report(error: "ScaError") -> int:
    """Print an error as one line and its hint, and return its exit code."""
    sys.stderr.write(f"sca: {error.message}\n")
    if error.hint:
        sys.stderr.write(f"     {error.hint}\n")
    return error.exit_code


def print_notes(notes: Sequence[str], rest: str = "") -> None:
    """Print notes on single items on stderr: the first few, and the number of the others.

    Args:
        notes: One line each.
        rest: Where the others are, such as ` in ledger.jsonl`.
    """
    console = stderr()
    for note in notes[:_NOTES_SHOWN]:
        console.print(f"sca: {note}", markup=False)
    if len(notes) > _NOTES_SHOWN:
        console.print(f"sca: … and {len(notes) - _NOTES_SHOWN} more{rest}", markup=False)
