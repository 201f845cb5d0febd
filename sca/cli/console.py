"""Where commands print: results to stdout, everything else to stderr; a live display only when a person watches."""

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["emit_json", "out", "stderr"]


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
