"""An opened data set: its tracks, rows and words in order, and whether they are what its report says.

Reads the Arrow folder that `sca build-duplex` made; one session's audio is mapped at a time.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from sca.data.duplex.storage.build_settings import read_settings, settings_of
from sca.data.duplex.storage.detect import EXPORT_FILE, splits_of
from sca.data.duplex.storage.digests import chain, digest_of
from sca.data.duplex.storage.tracks import StoredTrack, stored_tracks
from sca.data.duplex.storage.writer import iter_rows, open_split
from sca.errors import InputError, VerificationError
from sca.units import Grid

__all__ = ["DatasetReader", "Rows", "open_source"]


@dataclass(frozen=True, slots=True)
class Rows:
    """Where a session's rows are: rows `[first, last)` of a split."""

    split: str
    first: int
    last: int


@dataclass(frozen=True)
class DatasetReader:
    """An opened data set.   report: `report.json`.   sessions: id → storage file, in order.   splits: those of rows."""

    root: Path
    made: dict[str, Any]
    report: dict[str, Any]
    grid: Grid
    sessions: dict[str, Path]
    splits: list[str]
    _tables: dict[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What content this is."""
        return {key: self.report[key] for key in ("made_with", "storage_digest", "rows_digest")}

    def table(self, split: str) -> Any:
        """The rows of a split as a mapped Arrow table."""
        import pyarrow as pa

        if split not in self._tables:
            batches = [batch for file in open_split(self.root, split) for batch in iter_rows(file)]
            self._tables[split] = pa.Table.from_batches(batches) if batches else None
        return self._tables[split]

    def batches(self) -> Iterator[Any]:
        """All rows of all splits as Arrow batches."""
        return (batch for split in self.splits for file in open_split(self.root, split) for batch in iter_rows(file))

    def count(self, split: str) -> int:
        """How many rows a split has."""
        table = self.table(split)
        return 0 if table is None else int(table.num_rows)

    def rows(self, split: str, first: int, last: int) -> Iterator[dict[str, Any]]:
        """Rows `[first, last)` of a split, one at a time."""
        for at in range(first, last):
            yield self.table(split).slice(at, 1).to_pylist()[0]

    @cached_property
    def rows_of(self) -> dict[str, Rows]:
        """Where each session's rows are. A session's rows follow each other in one split."""
        found: dict[str, Rows] = {}
        for split in self.splits:
            if not self.count(split):
                continue
            ids = self.table(split).column("session_id").to_pylist()
            at = 0
            for session_id, members in groupby(ids):
                end = at + sum(1 for _ in members)
                found[session_id] = Rows(split, at, end)
                at = end
        return found

    def tracks(self, session_id: str) -> list[StoredTrack]:
        """A session's speakers with their mapped audio, in order."""
        return stored_tracks(self.sessions[session_id])

    def prove(self, on_session: Callable[[str, float], None]) -> None:
        """Hold every stored value against the digests of the report. Raises `VerificationError`: broken data is not spread."""
        storage = []
        for session_id in self.sessions:
            tracks = self.tracks(session_id)
            storage += [digest_of(track.record, *track.cells) for track in tracks]
            on_session(session_id, tracks[0].record["duration_samples"] / 16_000 if tracks else 0.0)
        # In the order of sessions, as the builder counted them, whatever split they are in.
        places = [self.rows_of[session_id] for session_id in self.sessions if session_id in self.rows_of]
        rows = (digest_of(row) for place in places for row in self.rows(place.split, place.first, place.last))
        for name, digest in (("storage_digest", chain(storage)), ("rows_digest", chain(rows))):
            if digest != self.report[name]:
                raise VerificationError(
                    f"{self.root} is not what its report.json says: its {name} is {digest}, not {self.report[name]}",
                    hint="sca verify says what is broken; nothing was exported",
                )


def open_source(root: Path) -> DatasetReader:
    """Open the data set at `root`. Raises `InputError` when it is none, is unfinished, broken or of another schema version."""
    if (root / EXPORT_FILE).exists():
        raise InputError(
            f"{root} is an export already", hint="give the data set that it was made from; it has the whole of it"
        )
    made = read_settings(root)
    splits = splits_of(root, None)
    try:
        report = json.loads((root / "report.json").read_text(encoding="utf-8"))
        _ = [report[key] for key in ("made_with", "storage_digest", "rows_digest")]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{root / 'report.json'} cannot be read: {error}", hint="sca verify says what is broken"
        ) from error
    sessions = {file.stem: file for file in open_split(root, "storage")}
    return DatasetReader(root, made, report, settings_of(made).grid, sessions, splits)
