"""Verify the files of a data set that are derived from its tables."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from sca.data.datasets.arrow import iter_batches
from sca.data.duplex.model.report import Report
from sca.data.duplex.report.survey import survey
from sca.data.duplex.storage.detect import Export, splits_of
from sca.data.duplex.storage.writer import open_split
from sca.data.duplex.verify.folder.arrow_folder import arrow_folder_problems
from sca.data.duplex.verify.folder.card import card_problems
from sca.data.duplex.verify.folder.page import page_problems
from sca.data.duplex.verify.folder.sessions_ledger import ledger_problems
from sca.errors import InputError

__all__ = ["folder_problems"]

_OF_STORED_REPORT = ("alignment", "evidence", "notices", "skipped", "skipped_first", "tags", "text_rate")
"""Sections that the card and the page show as `report.json` has them."""


def folder_problems(
    root: Path, export: Export | None, report: Report, chunk_s: float, sessions: Collection[str]
) -> Iterator[str]:
    """Yield what is wrong with the files beside the tables: lists of files, columns, card, page and ledger.

    Args:
        root: The data set.
        export: Its export record; None for an Arrow folder.
        report: The recomputed report.
        chunk_s: Length of a chunk in seconds.
        sessions: The sessions of `storage`.
    """
    stored = _stored_report(root)
    document = report.model_dump(mode="json")
    # Measurements can differ in the last digit on other processors; report.json is verified by itself.
    document |= {name: stored[name] for name in _OF_STORED_REPORT if stored and stored[name] is not None}
    if stored:
        if export is not None:
            # An export of a data set of an earlier version has a new card, which states that it was not measured.
            document["evidence"] = stored["evidence"]
        # The sessions that are not in the data set are known to its builder only.
        document["sessions"] |= {name: stored["sessions"][name] for name in ("dropped", "failed")}
    splits = splits_of(root, export)
    if export is None:
        yield from arrow_folder_problems(root, splits)
        yield from ledger_problems(root, sessions, stored)
        tables = {split: open_split(root, split) for split in ("storage", *splits)}
        try:
            batches = (batch for split in splits for file in tables[split] for batch in iter_batches(file))
            found = survey(batches, chunk_s, document)
        except InputError:
            return  # reported by the verification of the rows
        yield from page_problems(root, document, found)
    elif export.format == "parquet":
        tables = {split: export.shards(root, f"{split}/") for split in ("storage", *splits)}
    else:
        tables = {split: export.shards(root, f"{split}-") for split in splits}
    yield from card_problems(root, document, tables)


def _stored_report(root: Path) -> dict[str, Any] | None:
    """Return the content of `report.json`; None if it cannot be read, which another check reports.

    What a report of an earlier version does not have, such as the evidence, was not measured.
    """
    try:
        report = Report.model_validate_json((root / "report.json").read_bytes())
    except (OSError, ValueError):
        return None
    return report.model_dump(mode="json")
