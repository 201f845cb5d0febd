"""A data set opened for reading: its tracks and rows in order, and a check against the digests of its report.

Reads the Arrow folder that `sca build-duplex` writes. The audio of one session is mapped at a time.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from sca.data.datasets.arrow import iter_batches
from sca.data.duplex.model.records import RowRecord
from sca.data.duplex.storage.build_settings import read_settings, settings_of
from sca.data.duplex.storage.detect import EXPORT_FILE, splits_of
from sca.data.duplex.storage.digests import chain_digests, record_digest, track_digest
from sca.data.duplex.storage.tracks import StoredTrack, stored_tracks
from sca.data.duplex.storage.writer import complete, features, open_split
from sca.errors import InputError, VerificationError
from sca.units import Grid

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["DatasetReader", "RowRange", "open_dataset"]


@dataclass(frozen=True, slots=True)
class RowRange:
    """The rows of a session: rows `[first, last)` of a split."""

    split: str
    first: int
    last: int


@dataclass(frozen=True)
class DatasetReader:
    """An opened data set. Made by `open_dataset`.

    Attributes:
        root: Its folder.
        build_settings: The content of `settings.json`.
        report: The content of `report.json`.
        grid: The grid of its rows.
        sessions: Storage file of each session, in order.
        splits: Splits of rows, in order.
    """

    root: Path
    build_settings: dict[str, object]
    report: dict[str, object]
    grid: Grid
    sessions: dict[str, Path]
    splits: list[str]
    _tables: "dict[str, pa.Table]" = field(default_factory=dict)

    @property
    def fingerprint(self) -> dict[str, object]:
        """The content of the data set: its settings and digests."""
        return {key: self.report[key] for key in ("made_with", "storage_digest", "rows_digest")}

    def table(self, split: str) -> "pa.Table":
        """Return the rows of a split as a mapped Arrow table."""
        import pyarrow as pa

        if split not in self._tables:
            files = open_split(self.root, split)
            batches = [complete(batch, "rows") for file in files for batch in iter_batches(file)]
            empty = not batches
            self._tables[split] = (
                features("rows").arrow_schema.empty_table() if empty else pa.Table.from_batches(batches)
            )
        return self._tables[split]

    def batches(self) -> "Iterator[pa.RecordBatch]":
        """Iterate over the rows of all splits as Arrow batches."""
        return (batch for split in self.splits for file in open_split(self.root, split) for batch in iter_batches(file))

    def count(self, split: str) -> int:
        """Return the number of rows in a split."""
        return int(self.table(split).num_rows)

    def rows(self, split: str, first: int, last: int) -> Iterator[RowRecord]:
        """Iterate over rows `[first, last)` of a split, one at a time."""
        for at in range(first, last):
            yield self.table(split).slice(at, 1).to_pylist()[0]

    @cached_property
    def row_ranges(self) -> dict[str, RowRange]:
        """The rows of each session. The rows of a session are consecutive rows of one split."""
        ranges: dict[str, RowRange] = {}
        for split in self.splits:
            if not self.count(split):
                continue
            ids = self.table(split).column("session_id").to_pylist()
            at = 0
            for session_id, members in groupby(ids):
                end = at + sum(1 for _ in members)
                ranges[session_id] = RowRange(split, at, end)
                at = end
        return ranges

    def tracks(self, session_id: str) -> list[StoredTrack]:
        """Return the tracks of a session in order, with mapped audio."""
        return stored_tracks(self.sessions[session_id])

    def check_digests(self) -> None:
        """Compare every stored value with the digests of the report, so that no damaged data is exported.

        Raises:
            VerificationError: The values are not those of the report.
        """
        track_digests: list[str] = []
        for session_id in self.sessions:
            track_digests += [track_digest(track.record, *track.cells) for track in self.tracks(session_id)]
        # In the order of the sessions, as the builder computed it, whatever their splits are.
        ranges = [self.row_ranges[session_id] for session_id in self.sessions if session_id in self.row_ranges]
        row_digests = (record_digest(row) for rows in ranges for row in self.rows(rows.split, rows.first, rows.last))
        for name, digest in (
            ("storage_digest", chain_digests(track_digests)),
            ("rows_digest", chain_digests(row_digests)),
        ):
            if digest != self.report[name]:
                raise VerificationError(
                    f"{self.root} does not match its report.json: its {name} is {digest}, not {self.report[name]}",
                    hint="sca verify lists what is broken; nothing was exported",
                )


def open_dataset(root: Path) -> DatasetReader:
    """Open the data set at `root`.

    Raises:
        InputError: `root` is not a data set, or is unfinished, broken or of another schema version.
    """
    if (root / EXPORT_FILE).exists():
        raise InputError(
            f"{root} is already an export", hint="give the data set that it was made from, which contains everything"
        )
    build_settings = read_settings(root)
    splits = splits_of(root, None)
    path = root / "report.json"
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        _ = [report[key] for key in ("made_with", "storage_digest", "rows_digest")]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read: {error}", hint="sca verify lists what is broken") from error
    sessions = {file.stem: file for file in open_split(root, "storage")}
    return DatasetReader(root, build_settings, report, settings_of(build_settings).grid, sessions, splits)
