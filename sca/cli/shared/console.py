"""Output of the commands: results go to stdout, everything else to stderr."""

import io
import logging
import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from typing_extensions import override

from sca.textutil import json_text, printable
from sca.urls.shown import forget_shown, with_urls

if TYPE_CHECKING:
    from sca.cli.shared.terminal import SafeConsole
    from sca.errors import ScaError

__all__ = [
    "CommandInterrupt",
    "begin_command",
    "emit_json",
    "hide_details",
    "out",
    "prepare_streams",
    "print_fields",
    "print_line",
    "print_note",
    "print_notes",
    "print_text",
    "report",
    "show_details",
    "stderr",
    "with_schema",
]

_NOTES_SHOWN = 8
_SCHEMA_VERSION = 1
_OTHER_NAMES = {"sca build-duplex-dataset": "sca build-duplex", "sca run-live": "sca live"}


_running = "sca"
_shows_details = False


def begin_command(path: str) -> None:
    """Tell this module which command runs, such as `sca turn ask`, for the schema of its results."""
    global _running
    _running = _OTHER_NAMES.get(path, path)
    forget_shown()


def show_details() -> None:
    """Print log messages of sca on stderr from now on, and the causes of an error below it."""
    global _shows_details
    _shows_details = True
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("sca")
    logger.handlers = [handler]
    logger.setLevel(logging.DEBUG)


def hide_details() -> None:
    """Print errors as one line again: another command begins in this process."""
    global _shows_details
    _shows_details = False


class _Lines(logging.Formatter):
    """One line per message, and one per line of a traceback."""

    @override
    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable(super().formatMessage(record))

    @override
    def formatException(self, ei: Any) -> str:
        return "\n".join(map(printable, super().formatException(ei).split("\n")))


class CommandInterrupt(KeyboardInterrupt):
    """An interrupt of a command that does not continue where it was.

    Attributes:
        remains: What the interrupt leaves, for the line on stderr.
    """

    def __init__(self, remains: str) -> None:
        super().__init__(remains)
        self.remains = remains


def stderr() -> "SafeConsole":
    """Return a console for progress, notices and errors.

    Created at each call, so that a redirected stream is respected.
    """
    from sca.cli.shared.terminal import SafeConsole

    return SafeConsole(to_stderr=True)


def out() -> "SafeConsole":
    """Return a console for results. In a pipe it prints plain text."""
    from sca.cli.shared.terminal import SafeConsole

    return SafeConsole()


def prepare_streams() -> None:
    """Let both streams print `?` for characters that their encoding lacks (cp1252, ASCII) in place of an exception."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def print_line(text: str = "", *, flush: bool = False) -> None:
    """Print one line of a result on stdout. Control characters in it become visible escapes."""
    _write_line(sys.stdout, text)
    if flush:
        sys.stdout.flush()


def print_fields(*fields: str) -> None:
    """Print one line of fields that are divided by tabs."""
    sys.stdout.write("\t".join(map(printable, fields)) + "\n")


def print_text(text: str) -> None:
    """Print a piece of a text on stdout at once. Its line breaks stay; other control characters become visible escapes."""
    sys.stdout.write("\n".join(map(printable, with_urls(text).split("\n"))))
    sys.stdout.flush()


def print_note(text: str) -> None:
    """Print one line on stderr. Control characters in it become visible escapes."""
    _write_line(sys.stderr, text)


def _write_line(stream: TextIO, text: str) -> None:
    stream.write(f"{printable(with_urls(text))}\n")


def with_schema(document: Mapping[str, object] | Sequence[object], part: str = "") -> dict[str, object]:
    """Return a result for programs, with the field `schema` first: the command and the version of its fields.

    Args:
        document: The fields; a list becomes the field `items`.
        part: What the command prints in place of its usual result, such as `list`.
    """
    name = ".".join([*_running.split(), *([part] if part else [])])
    fields = document if isinstance(document, Mapping) else {"items": list(document)}
    return {"schema": f"{name}/{_SCHEMA_VERSION}", **fields}


def emit_json(document: Mapping[str, object] | Sequence[object], part: str = "", *, indent: int | None = 2) -> None:
    """Print one JSON document on stdout, with its schema.

    Control characters, and what the encoding of stdout lacks, are written as escapes of JSON: the same document for a
    program, and harmless in a terminal.

    Args:
        document: The document; a list becomes an object with `items`.
        part: See `with_schema`.
        indent: Spaces per level; None prints one line.
    """
    is_unicode = (sys.stdout.encoding or "utf-8").lower().replace("-", "").startswith("utf")
    text = json_text(with_schema(document, part), indent=indent, ascii_only=not is_unicode)
    sys.stdout.write(with_urls(text) + "\n")


def report(error: "ScaError") -> int:
    """Print an error as one line and its hint, and return its exit code."""
    first, *others = error.lines or (error.message,)
    print_note(f"sca: {first}")
    for line in others:
        print_note(line)
    if error.hint:
        print_note(f"     {error.hint}")
    if _shows_details:
        for text in traceback.format_exception(error):
            for line in text.splitlines():
                print_note(line)
    return error.exit_code


def print_notes(notes: Sequence[str], rest: str = "") -> None:
    """Print notes on single items on stderr: the first few, and the number of the others.

    Args:
        notes: One line each.
        rest: Where the others are, such as ` in ledger.jsonl`.
    """
    for text in notes[:_NOTES_SHOWN]:
        print_note(f"sca: {text}")
    if len(notes) > _NOTES_SHOWN:
        print_note(f"sca: … and {len(notes) - _NOTES_SHOWN} more{rest}")
