"""Breaks commands at every step of their work, and shows which survive what.

    python scripts/chaos.py --matrix [COMMAND ...] [--fault kill|ENOSPC|EIO|EMFILE|memory|replaced|rewritten|link|stranger]
        [--fault 'power cut'] [--every K]

A step is an operation on a file: open, read, create, write, sync, rename, unlink, mkdir (see `scripts/faults/steps.py`).
Each fault acts at each step in turn; then the command is run again without a fault, and what it wrote is compared byte
for byte with an unbroken run.

    kill       SIGKILL; half of a write is done
    ENOSPC     the disk is full from this step on
    EIO        the drive fails once; half of a write is done
    EMFILE     a file cannot be opened, once
    memory     MemoryError, once
    replaced   the inputs are replaced by others (rename); the other run must give the results of the new ones
    rewritten  the inputs are overwritten in place
    power cut  what was never synced is lost, in three ways (`scripts/faults/power.py`)
    link       a link to a file or folder of others is where an output belongs
    stranger   a file of others is where an output belongs, or in its folder

A cell: runs that ended well, runs that ended with one clear line, or FAIL with the number of runs. The exit code is 7 if
a cell fails. The last line is JSON.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.faults.cells import FAULTS, Cell, Lab
from scripts.faults.commands import COMMANDS, Command
from scripts.faults.forks import cpu_s, now_s

_MEMORY = Path("/dev/shm")  # where a sync costs nothing


def main() -> None:
    options = _options()
    begin_s = now_s()
    table: dict[str, dict[str, Cell]] = {}
    for name in options.commands or COMMANDS:
        table[name] = _row(COMMANDS[name], options.fault or FAULTS, options.every)
    _show(table)
    failed = sum(len(cell.failed) for row in table.values() for cell in row.values())
    report = {
        "failed": failed,
        "every": options.every,
        "wall_s": round(now_s() - begin_s, 1),
        "cpu_s": round(cpu_s(), 1),
        "cells": {name: {fault: vars(cell) for fault, cell in row.items()} for name, row in table.items()},
    }
    print(json.dumps(report))
    sys.exit(7 if failed else 0)


def _row(command: Command, faults: Sequence[str], every: int) -> dict[str, Cell]:
    # No TemporaryDirectory: it would be removed when the first fork ends.
    base = Path(tempfile.mkdtemp(prefix="sca-chaos-", dir=_MEMORY if _MEMORY.is_dir() else None))
    row: dict[str, Cell] = {}
    lab = None
    try:
        lab = Lab(command, base)
        print(f"{command.name}: {len(lab.steps)} steps", file=sys.stderr, flush=True)
        for fault in faults:
            begin_s = now_s()
            row[fault] = lab.cell(fault, every)
            print(f"  {fault}: {row[fault].text()} ({now_s() - begin_s:.0f} s)", file=sys.stderr, flush=True)
            for line in row[fault].failed:
                print(f"    {line}", file=sys.stderr, flush=True)
    finally:
        if lab is not None:
            lab.close()
        shutil.rmtree(base, ignore_errors=True)
    return row


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--matrix", action="store_true", required=True, help="run the matrix of commands and faults")
    parser.add_argument("commands", nargs="*", metavar="COMMAND", help=f"all, or some of: {', '.join(COMMANDS)}")
    parser.add_argument("--fault", action="append", choices=FAULTS, help="only this fault; may be repeated")
    parser.add_argument("--every", type=int, default=1, metavar="K", help="break only every K-th step")
    options = parser.parse_args()
    if unknown := set(options.commands) - set(COMMANDS):
        parser.error(f"no such command: {', '.join(sorted(unknown))}")
    if options.every < 1:
        parser.error("--every must be at least 1")
    return options


def _show(table: dict[str, dict[str, Cell]]) -> None:
    faults = list(next(iter(table.values())))
    rows = [["command", *faults], *([name, *(cell.text() for cell in row.values())] for name, row in table.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    main()
