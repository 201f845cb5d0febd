"""The table of rows in memory: filters, sorting and distributions over the columns of an index.

Texts of choices and sets are stored as numbers, so that a filter is a comparison of arrays.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sca.browse.columns import BY_NAME, COLUMNS, Column
from sca.browse.messages import Filter
from sca.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["NONE", "Table"]

NONE = ""
"""The value of a choice or set column for rows without any."""

_BINS = 24

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Number:
    """A number column: float64, NaN where the value is unknown, and the edges of its bins."""

    values: NDArray[np.float64]
    edges: NDArray[np.float64]

    def select(self, least: float | None, most: float | None) -> Mask:
        found = np.ones(len(self.values), bool)
        if least is not None:
            found &= self.values >= least
        if most is not None:
            found &= self.values < most
        return found

    def histogram(self, rows: Mask) -> list[int]:
        values = self.values[rows]
        inside = np.clip(values[~np.isnan(values)], self.edges[0], self.edges[-1])
        counts: list[int] = np.histogram(inside, self.edges)[0].tolist()
        return counts


@dataclass(frozen=True, slots=True)
class _Choice:
    """A choice or set column: `(row, code)` of every value, in the order of rows, and the texts of the codes."""

    rows: NDArray[np.int64]
    codes: NDArray[np.int64]
    names: tuple[str, ...]
    count: int

    def select(self, wanted: Iterable[str]) -> Mask:
        numbers = {name: code for code, name in enumerate(self.names)}
        codes = [numbers[name] for name in wanted if name in numbers]
        found = np.zeros(self.count, bool)
        found[self.rows[np.isin(self.codes, codes)]] = True
        return found

    def histogram(self, rows: Mask) -> list[int]:
        counts: list[int] = np.bincount(self.codes[rows[self.rows]], minlength=len(self.names)).tolist()
        return counts


class Table:
    """A table of rows.

    Attributes:
        index: The index; its rows are the rows of the table.
        columns: The columns that have values.
    """

    def __init__(self, index: "pa.Table") -> None:
        """Prepare the columns of an index."""
        self.index = index
        self._data: dict[str, _Number | _Choice] = {}
        self.columns: list[Column] = []
        for column in COLUMNS:
            if column.kind == "number":
                values = index.column(column.name).to_numpy().astype(np.float64)
                if not np.isnan(values).all():
                    self._add(column, _Number(values, _edges(values, share=column.unit == "%")))
            else:
                self._add(column, _choice(index.column(column.name)))

    def __len__(self) -> int:
        return int(self.index.num_rows)

    def set_choice(self, column: Column, names: Sequence[str], codes: NDArray[np.int64]) -> None:
        """Add a choice column that is not in the index, or replace its values.

        Args:
            column: The column.
            names: All names in their order.
            codes: The number of the name of each row.
        """
        if column.name not in self._data:
            self.columns.insert(0, column)
        self._data[column.name] = _Choice(np.arange(len(self)), codes, tuple(names), len(self))

    def use_bins_of(self, other: "Table") -> None:
        """Use the bins of another table, so that the distributions of both can be compared."""
        for name, data in self._data.items():
            there = other._data.get(name)
            if isinstance(data, _Number) and isinstance(there, _Number):
                self._data[name] = _Number(data.values, there.edges)

    def select(self, chosen: Filter, without: str | None = None) -> Mask:
        """Return which rows a filter selects.

        Args:
            chosen: The filter.
            without: A column whose part of the filter is ignored.

        Raises:
            UsageError: The filter names a column that does not exist, or is not of its kind.
        """
        found = np.ones(len(self), bool)
        for name, (least, most) in chosen.ranges.items():
            if self._lacks(name):
                found[:] = False
            elif name != without:
                found &= self._number(name).select(least, most)
        for name, wanted in chosen.choices.items():
            if name != without:
                found &= self._of_choice(name).select(wanted)
        if chosen.text.strip():
            found &= self._matches(chosen.text.strip())
        return found

    def order(self, rows: Mask, sort: str | None, *, descending: bool) -> NDArray[np.int64]:
        """Return the numbers of selected rows in the order of a column; unknown values come last.

        Raises:
            UsageError: The column does not exist.
        """
        numbers = np.flatnonzero(rows)
        if sort is None:
            return numbers[::-1] if descending else numbers
        keys = self._sort_keys(sort)[numbers]
        known = ~np.isnan(keys)
        order = np.argsort(-keys[known] if descending else keys[known], kind="stable")
        return np.concatenate([numbers[known][order], numbers[~known]])

    def histograms(self, chosen: Filter) -> dict[str, list[int]]:
        """Return the counts of every column: of bins, or of names. A column's own part of the filter does not count.

        Raises:
            UsageError: As for `select`.
        """
        everything = self.select(chosen)
        filtered = {*chosen.ranges, *chosen.choices}
        return {
            name: data.histogram(self.select(chosen, without=name) if name in filtered else everything)
            for name, data in self._data.items()
        }

    def histograms_like(self, other: "Table", chosen: Filter) -> dict[str, list[int]]:
        """Return the counts for the bins and names of another table. Columns that only the other one has are left out.

        Raises:
            UsageError: The filter names a column that this table does not have.
        """
        found = {}
        for name, counts in self.histograms(chosen).items():
            own, theirs = self._data[name], other._data.get(name)
            if isinstance(own, _Choice) and isinstance(theirs, _Choice):
                number = dict(zip(own.names, counts, strict=True))
                found[name] = [number.get(text, 0) for text in theirs.names]
            elif isinstance(own, _Number) and isinstance(theirs, _Number):
                found[name] = counts
        return found

    def plots(self) -> list[dict[str, Any]]:
        """Return the columns with the bins or names of their distributions."""
        return [
            {
                "name": column.name,
                "kind": column.kind,
                "label": column.label,
                "note": column.note,
                "unit": column.unit,
                "shown": column.shown,
                **self._bins(column.name),
            }
            for column in self.columns
        ]

    def rows(self, numbers: NDArray[np.int64]) -> list[dict[str, Any]]:
        """Return rows of the index by their numbers, without digest; unknown values are None."""
        taken: list[dict[str, Any]] = self.index.drop_columns(["digest"]).take(numbers).to_pylist()
        return taken

    def texts_of(self, column: Column, rows: Sequence[str]) -> list[str]:
        """Return the values of a choice column for rows, given by their ids."""
        data = self._of_choice(column.name)
        return [data.names[data.codes[self.number_of[row_id]]] for row_id in rows]

    def neighbours(self, number: int) -> tuple[str, int, list[int]]:
        """Return the split of a row, its number there, and the numbers of the rows of its session and time, in order."""
        (row,) = self.rows(np.asarray([number]))
        end_s = row["start_s"] + row["seconds"]
        near = [
            other["number"]
            for other in self.rows(np.asarray(self._sessions[row["session"]]))
            if other["split"] == row["split"]
            and other["start_s"] < end_s
            and other["start_s"] + other["seconds"] > row["start_s"]
        ]
        return row["split"], row["number"], near

    @cached_property
    def _sessions(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for number, session in enumerate(self.index.column("session").to_pylist()):
            found.setdefault(session, []).append(number)
        return found

    @property
    def seconds(self) -> NDArray[np.float64]:
        """The length of each row."""
        return self._number("seconds").values

    @cached_property
    def ids(self) -> list[str]:
        """The ids of all rows."""
        ids: list[str] = self.index.column("row_id").to_pylist()
        return ids

    @cached_property
    def number_of(self) -> dict[str, int]:
        """The number of each row by its id."""
        return {row_id: number for number, row_id in enumerate(self.ids)}

    def _add(self, column: Column, data: "_Number | _Choice") -> None:
        self._data[column.name] = data
        self.columns.append(column)

    def _bins(self, name: str) -> dict[str, Any]:
        data = self._data[name]
        if isinstance(data, _Number):
            return {"edges": data.edges.tolist(), "more": bool(np.nanmax(data.values) > data.edges[-1])}
        return {"names": list(data.names)}

    def _lacks(self, name: str) -> bool:
        """Return whether a column has no known value here. The build that this one is compared with may have some."""
        return name in BY_NAME and BY_NAME[name].kind == "number" and name not in self._data

    def _number(self, name: str) -> _Number:
        data = self._data.get(name)
        if not isinstance(data, _Number):
            raise UsageError(f"no column of numbers is called {name}")
        return data

    def _of_choice(self, name: str) -> _Choice:
        data = self._data.get(name)
        if not isinstance(data, _Choice):
            raise UsageError(f"no column of names is called {name}")
        return data

    def _sort_keys(self, name: str) -> NDArray[np.float64]:
        if name == "row_id":
            return self._id_ranks
        if self._lacks(name):
            return np.full(len(self), np.nan)
        data = self._data.get(name)
        if data is None:
            raise UsageError(f"no column is called {name}")
        if isinstance(data, _Number):
            return data.values
        # Codes are in the order of frequency, names are sorted by text; a set sorts by its first name.
        ranks = np.argsort(np.argsort(np.asarray(data.names, object)))
        keys = np.full(len(self), np.nan)
        texts = np.asarray([name != NONE for name in data.names])
        named = texts[data.codes]
        keys[data.rows[named][::-1]] = ranks[data.codes[named]][::-1]
        return keys

    @cached_property
    def _id_ranks(self) -> NDArray[np.float64]:
        ranks = np.empty(len(self))
        ranks[np.argsort(np.asarray(self.ids, object), kind="stable")] = np.arange(len(self))
        return ranks

    def _matches(self, text: str) -> Mask:
        import pyarrow.compute as pc

        found = [pc.match_substring(self._folded[name], text.casefold()) for name in ("text", "row_id")]
        either: Mask = pc.or_(*found).to_numpy(zero_copy_only=False)
        return either

    @cached_property
    def _folded(self) -> "dict[str, pa.Array]":
        import pyarrow as pa

        return {
            name: pa.array([text.casefold() for text in self.index.column(name).to_pylist()])
            for name in ("text", "row_id")
        }


def _choice(values: "pa.ChunkedArray | pa.Array", names: Sequence[str] | None = None) -> _Choice:
    """Return the column of texts, or of lists of texts. Names are in the given order, or sorted by their frequency."""
    import pyarrow as pa

    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    count, rows = len(array), np.arange(len(array))
    empty = np.zeros(0, np.int64)
    if pa.types.is_list(array.type):
        sizes = array.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        rows, empty, array = np.repeat(rows, sizes), np.flatnonzero(sizes == 0), array.flatten()
    encoded = array.fill_null(NONE).dictionary_encode()
    found = [*encoded.dictionary.to_pylist(), NONE]
    codes = np.concatenate([encoded.indices.to_numpy(zero_copy_only=False), np.full(len(empty), len(found) - 1)])
    codes = codes.astype(np.int64)
    rows = np.concatenate([rows, empty])
    counts = np.bincount(codes, minlength=len(found))
    if names is None:
        named = {name: int(number) for name, number in zip(found, counts, strict=True) if number}
        names = sorted(named, key=lambda name: (-named[name], name))
    place = {name: number for number, name in enumerate(names)}
    order = np.argsort(rows, kind="stable")
    return _Choice(rows[order], np.asarray([place.get(name, 0) for name in found])[codes][order], tuple(names), count)


def _edges(values: NDArray[np.float64], *, share: bool) -> NDArray[np.float64]:
    """Return the edges of bins: round numbers; the last bin has what is above the 99.5th percentile.

    Args:
        values: The values.
        share: Whether they are shares of 1.
    """
    known = values[~np.isnan(values)]
    low, high = float(known.min()), float(np.percentile(known, 99.5))
    if low >= 0 and low < 0.25 * max(high, 1e-9):
        low = 0.0
    if np.array_equal(known, np.round(known)) and high - low < _BINS:  # one bin for each whole number
        return np.arange(low, max(high, low + 1) + 1.5)
    step = _round_step((high - low) / _BINS)
    low = float(np.floor(low / step)) * step
    count = max(2, int(np.ceil((high - low) / step)) + 2)
    edges = np.asarray(low + step * np.arange(count), np.float64)
    inside = edges[edges < 1.0 - 1e-9]
    return np.append(inside, 1.0) if share and len(inside) < len(edges) else edges


def _round_step(least: float) -> float:
    """Return the smallest of 1, 2, 2.5 and 5 times a power of ten that is at least as large."""
    if least <= 0:
        return 1.0
    power: float = 10.0 ** np.floor(np.log10(least))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least * (1 - 1e-9))
