"""Verify that the ledger has the sessions of the data set, and as many dropped and failed ones as the report."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from sca.data.runs.ledger import Ledger
from sca.errors import InputError

__all__ = ["ledger_problems"]


def ledger_problems(root: Path, sessions: Collection[str], report: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield what is wrong with `ledger.jsonl`. An export and a copy from the hub have none.

    Args:
        root: The data set.
        sessions: The sessions of `storage`.
        report: The content of `report.json`; None if it cannot be read.
    """
    ledger = Ledger(root / "ledger.jsonl")
    if not ledger.path.exists():
        return
    try:
        entries = ledger.entries()
    except InputError as error:
        yield error.message
        return
    kept = {entry.item for entry in entries.values() if entry.status == "kept"}
    for name in sorted(set(sessions) - kept):
        status = entries[name].status if name in entries else "missing"
        yield f"ledger.jsonl: session {name} is {status}, but it is in storage"
    for name in sorted(kept - set(sessions)):
        yield f"ledger.jsonl: session {name} is kept, but it is not in storage"
    counts = Counter(entry.status for entry in entries.values())
    for status in ("dropped", "failed") if report else ():
        recorded = report["sessions"][status] if report else 0
        if counts[status] != recorded:
            yield f"ledger.jsonl: {counts[status]} sessions are {status}, report.json has {recorded}"
