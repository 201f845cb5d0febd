"""The runs that `scripts/chaos_scale.py` disturbs: items with an output each, written slowly."""

import os
import time
from functools import partial
from pathlib import Path

from sca.data.runs.executor import Executor
from sca.data.runs.files import atomic_write
from sca.data.runs.incremental import IncrementalRun, Item, longest_first
from sca.data.runs.ledger import Ledger, LedgerEntry, lock_dir
from sca.data.runs.summary import Outcome

__all__ = ["main", "work"]

_PIECES = 3


def work(job: tuple[str, int], out: str, seconds: float, log: str) -> str:
    """Write the output of an item in pieces, slowly; note the process and its times in the file `log`."""
    name, size = job
    begin = time.time()
    with atomic_write(Path(out, name)) as temporary, temporary.open("wb") as file:
        for piece in range(size):
            file.write(f"{name} {piece}\n".encode() * 50)
            file.flush()
            time.sleep(seconds)
    if log:
        with Path(log).open("a", encoding="utf-8") as lines:
            lines.write(f"{os.getpid()} {begin} {time.time()}\n")
    return name


def main(out: Path, count: int, seconds: float, executor: Executor, log: str = "", long: int = 0) -> None:
    """Make the missing items of a run, and print how many were made, were there, and failed.

    Args:
        out: The output folder.
        count: The number of items.
        seconds: Seconds of each piece of an item.
        executor: Where the work is done.
        log: Where the processes note their times; empty for nowhere.
        long: Pieces of the first item; 0 for as many as the others have.
    """
    sizes = [long or _PIECES, *[_PIECES] * (count - 1)]
    items = [Item(f"i{n:05}", (f"i{n:05}", size), f"key {n}", float(size)) for n, size in enumerate(sizes)]
    with lock_dir(out):
        run = IncrementalRun(Ledger(out / "ledger.jsonl"), None, retry_failed=True)
        todo = run.plan(items, lambda item: (out / item.name).exists())
        done = partial(work, out=str(out), seconds=seconds, log=log)
        run.execute(longest_first(todo), done, _record, executor=executor)
        run.settle()
    print(run.summary.made, run.summary.already, len(run.summary.failed), flush=True)


def _record(item: Item[tuple[str, int]], _: str) -> Outcome:
    return Outcome(LedgerEntry(item.name, item.key, "kept"), 1.0)
