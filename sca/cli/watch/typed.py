"""Instructions that are typed while `sca watch` runs: a line sets the instruction, an empty line clears it."""

import sys
import threading
from collections.abc import Callable, Iterable

from sca.cli.shared.console import print_note
from sca.config.sections.watch import MAX_INSTRUCTION_CHARS

__all__ = ["follow_typed", "take_lines"]


def follow_typed(source: str, set_instruction: Callable[[str], None]) -> bool:
    """Take instructions from the terminal in a thread, if standard input is one and not the video.

    Args:
        source: The address of the video.
        set_instruction: Receives each instruction; empty text clears it.

    Returns:
        Whether instructions are taken.
    """
    if source == "-" or not sys.stdin.isatty():
        return False
    # A daemon, because a read of a terminal cannot be interrupted.
    threading.Thread(target=take_lines, args=(sys.stdin, set_instruction), name="sca watch typed", daemon=True).start()
    return True


def take_lines(lines: Iterable[str], set_instruction: Callable[[str], None]) -> None:
    """Hand each line on as an instruction; one that is too long is refused in one line."""
    for line in lines:
        text = line.strip()
        if len(text) > MAX_INSTRUCTION_CHARS:
            print_note(f"sca watch: an instruction has at most {MAX_INSTRUCTION_CHARS} characters, got {len(text)}")
        else:
            set_instruction(text)
