"""What the server of `sca browse` answers: rows, distributions, one row, and marks."""

from collections.abc import Sequence
from difflib import get_close_matches
from threading import Lock
from typing import Any, Literal, get_args

import numpy as np

from sca.browse.columns import Column
from sca.browse.compare import AGAINST, CHANGES, changes, count_changes
from sca.browse.data_set import DataSet
from sca.browse.marks import Marks
from sca.browse.messages import Filter, MarkRequest, RowsRequest
from sca.browse.row import row_view
from sca.browse.table import NONE, Table
from sca.data.duplex.inspect.html import opus, view_data
from sca.data.duplex.inspect.view import View
from sca.data.duplex.model.row_names import stored_row_id, typed_row_id
from sca.data.duplex.report.verdict import verdict_of
from sca.data.duplex.storage.drops import Mark
from sca.errors import UsageError
from sca.textutil import command_line, counted

__all__ = ["Browser", "Build"]

Build = Literal["here", "there"]
"""The data set, or the one that it is compared with."""

_MARK = Column("mark", "choice", "Mark", "rows to drop, and rows to look at again")
_KEPT_VIEWS = 4
_SEARCHED = 2000  # ids that are compared with a wrong one


class Browser:
    """A data set, the one that it is compared with, and the marks of its rows. Its methods may run in several threads."""

    def __init__(self, data: DataSet, table: Table, marks: Marks, other: "tuple[DataSet, Table] | None" = None) -> None:
        """Prepare the tables.

        Args:
            data: The data set.
            table: Its table.
            marks: Its marks.
            other: The data set to compare with, and its table.
        """
        self._marks = marks
        self._data: dict[Build, DataSet] = {"here": data}
        self._tables: dict[Build, Table] = {"here": table}
        self._changes: dict[str, int] | None = None
        if other is not None:
            self._data["there"], self._tables["there"] = other
            self._compare(table, other[1])
        # Row sources are made for one thread.
        self._reading = Lock()
        self._views: dict[tuple[Build, str], View] = {}
        self._update_marks()

    def _compare(self, here: Table, there: Table) -> None:
        there.use_bins_of(here)
        found = changes(here, there)
        for table, codes in zip((here, there), found, strict=True):
            table.set_choice(AGAINST, CHANGES, codes)
        self._changes = count_changes(*found)

    def info(self) -> dict[str, Any]:
        """Return what the page shows once: names, columns and their bins, and the marks."""
        table = self._tables["here"]
        other = self._data.get("there")
        against = None if other is None else {"name": other.name, "changes": self._changes}
        return {
            "name": self._data["here"].name,
            "summary": self._summary(),
            "columns": table.plots(),
            "against": against,
            "marks": self.marks(),
        }

    def _summary(self) -> str:
        data = self._data["here"]
        parts = [f"{counted(len(self._tables['here']), 'row')} in {counted(len(data.splits), 'split')}"]
        if self._changes is not None:
            parts.append(", ".join(f"{number} {name}" for name, number in self._changes.items()))
        if data.report:
            verdict = verdict_of(data.report)
            parts.append(f"Report: {verdict.sentence}")
        return ". ".join(parts)

    def rows(self, request: RowsRequest) -> dict[str, Any]:
        """Return a part of the sorted table, and how many rows match.

        Raises:
            UsageError: A column does not exist, or there is no other build.
        """
        table = self._table(request.build)
        selected = table.select(request.filter)
        numbers = table.order(selected, request.sort, descending=request.descending)
        shown = table.rows(numbers[request.offset : request.offset + request.limit])
        marks = self._marks.of if request.build == "here" else {}
        for row in shown:
            row["mark"] = marks.get(row["row_id"], NONE)
        if self._changes is not None:
            for row, change in zip(shown, table.texts_of(AGAINST, [row["row_id"] for row in shown]), strict=True):
                row[AGAINST.name] = change
        seconds = float(table.seconds[selected].sum())
        return {"matching": int(selected.sum()), "total": len(table), "seconds": seconds, "rows": shown}

    def histograms(self, chosen: Filter) -> dict[str, Any]:
        """Return the distributions of the rows that a filter selects, of both builds. Names are those of this build.

        Raises:
            UsageError: A column does not exist.
        """
        here = self._tables["here"]
        there = self._tables.get("there")
        return {
            "here": here.histograms(chosen),
            "there": None if there is None else there.histograms_like(here, chosen),
        }

    def row(self, build: Build, row_id: str) -> dict[str, Any]:
        """Return one row for the player.

        Raises:
            UsageError: The row does not exist.
            InputError: It cannot be read.
        """
        table, number = self._place(build, row_id)
        view = self._view(build, row_id)
        (row,) = table.rows(np.asarray([number]))
        other: Build = "there" if build == "here" else "here"
        facts = [
            f"split {row['split']}",
            f"{row['seconds']:.2f} s from {row['start_s']:.2f} s of session {row['session']}",
            f"{row['listener']} is heard",
            f"word times {row['align_source']}",
            *([f"flags: {', '.join(row['flags'])}"] if row["flags"] else []),
        ]
        return {
            "view": view_data(view),
            "facts": ", ".join(facts),
            "mark": self._marks.of.get(row_id),
            "in_other": other in self._tables and row_id in self._tables[other].number_of,
        }

    def sound(self, build: Build, row_id: str) -> bytes:
        """Return the audio of a row as stereo Ogg Opus.

        Raises:
            UsageError, InputError: As for `row`.
        """
        self._place(build, row_id)
        view = self._view(build, row_id)
        return opus(view)

    def marks(self, changed: Sequence[str] = ()) -> dict[str, Any]:
        """Return the state of the marks.

        Args:
            changed: Ids of rows whose marks are returned too.
        """
        of = self._marks.of
        kinds = list(of.values())
        drops = command_line("build-duplex", "CORPUS", "--output", "DIR", "--drops", self._marks.path)
        return {
            "path": str(self._marks.path),
            "command": drops,
            "drop": kinds.count("drop"),
            "look": kinds.count("look"),
            "can_undo": self._marks.can_undo,
            "changed": [[row_id, of.get(row_id)] for row_id in changed],
        }

    def mark(self, request: MarkRequest) -> dict[str, Any]:
        """Mark rows, and return the state of the marks.

        Raises:
            UsageError: A row does not exist, or neither rows nor a filter are given.
            InputError, OutputError: The list cannot be read or written.
        """
        table = self._tables["here"]
        if bool(request.rows) == (request.filter is not None):
            raise UsageError("a mark is for rows or for a filter")
        if request.filter is not None:
            numbers = np.flatnonzero(table.select(request.filter)).tolist()
            rows = [table.ids[number] for number in numbers]
        else:
            rows = list(request.rows)
            for row_id in rows:
                self._place("here", row_id)
        self._marks.set(rows, request.mark)
        self._update_marks()
        return self.marks(rows)

    def undo(self) -> dict[str, Any]:
        """Undo the last change of marks, and return their state.

        Raises:
            InputError, OutputError: The list cannot be read or written.
        """
        rows = self._marks.undo()
        self._update_marks()
        return self.marks(rows)

    def find(self, row_id: str) -> str:
        """Return the id of a row as stored.

        Args:
            row_id: The id, also as commands print it.

        Raises:
            UsageError: The row does not exist. The hint suggests similar ids.
        """
        table = self._tables["here"]
        for known in (row_id, stored_row_id(row_id)):
            if known in table.number_of:
                return known
        similar = get_close_matches(stored_row_id(row_id), table.ids[:_SEARCHED], n=3, cutoff=0.0)
        raise UsageError(
            f"{self._data['here'].name} has no row {row_id}", hint=f"similar: {', '.join(map(typed_row_id, similar))}"
        )

    def _update_marks(self) -> None:
        names = (NONE, *get_args(Mark))
        of = self._marks.of
        for build, table in self._tables.items():
            codes = np.zeros(len(table), np.int64)
            for row_id, mark in of.items() if build == "here" else ():
                number = table.number_of.get(row_id)
                if number is not None:  # the list may be older than the data set
                    codes[number] = names.index(mark)
            table.set_choice(_MARK, names, codes)

    def _table(self, build: Build) -> Table:
        if build not in self._tables:
            raise UsageError("no other build is open", hint="start sca browse with --against DATA")
        return self._tables[build]

    def _place(self, build: Build, row_id: str) -> tuple[Table, int]:
        table = self._table(build)
        if row_id not in table.number_of:
            raise UsageError(f"{self._data[build].name} has no row {row_id}")
        return table, table.number_of[row_id]

    def _view(self, build: Build, row_id: str) -> View:
        with self._reading:
            key = (build, row_id)
            if key not in self._views:
                table, number = self._place(build, row_id)
                split, own, near = table.neighbours(number)
                self._views[key] = row_view(self._data[build], split, own, near)
                for old in list(self._views)[:-_KEPT_VIEWS]:
                    del self._views[old]
            return self._views[key]
