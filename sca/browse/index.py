"""The index of a data set: one line per row with the columns of the table, computed once and stored in the cache.

Rows are read as Arrow columns, and no audio is read.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sca.browse.data_set import DataSet
from sca.data.runs.files import atomic_write
from sca.distribution import __version__
from sca.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["NOT_COLUMNS", "open_index"]

NOT_COLUMNS = ("row_id", "session", "listener", "start_s", "number", "text", "digest")
"""What the index has besides the columns of the table. `number` is that of the row in its split."""

_VERSION = 1
_KINDS = ("turn", "backchannel", "interruption")
_COUNTS = ("turns", "backchannels", "interruptions")
_WORD_FIELDS = ("start_s", "end_s", "chunk", "k", "n_tokens")


def open_index(data: DataSet, cache_dir: Path) -> "pa.Table":
    """Return the index of a data set from the cache, or compute and store it.

    Args:
        data: The data set.
        cache_dir: The folder of caches.

    Raises:
        InputError: The data set is damaged.
        OutputError: The cache cannot be written.
    """
    import pyarrow as pa

    key = "\n".join([str(_VERSION), __version__, data.name, *data.identity()])
    path = cache_dir / "browse" / f"{_place(data)}.arrow"
    try:
        with pa.memory_map(str(path)) as file:
            stored = pa.ipc.open_file(file).read_all()
        if (stored.schema.metadata or {}).get(b"key") == key.encode():
            return stored
    except (OSError, pa.ArrowInvalid):
        pass
    index = _make_index(data).replace_schema_metadata({"key": key})
    with (
        atomic_write(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, index.schema) as writer,
    ):
        writer.write_table(index)
    return index


def _place(data: DataSet) -> str:
    """Return the name of the index of a data set. A changed data set has the same name, so its old index is replaced."""
    name = data.name if data.folder.local is None else str(data.folder.local.resolve())
    return blake2b(name.encode(), digest_size=10).hexdigest()


def _make_index(data: DataSet) -> "pa.Table":
    import pyarrow as pa

    measured = _Measured(data.report, data.chunk_s)
    parts = []
    for split, source in data.splits.items():
        first = 0
        for table in source.tables():
            if table.num_rows:
                parts.append(_part(table.combine_chunks(), split, first, data.chunk_s, measured))
            first += table.num_rows
    if not parts:
        raise InputError(f"{data.name} has no rows")
    return pa.concat_tables(parts).combine_chunks()


def _part(table: "pa.Table", split: str, first: int, chunk_s: float, measured: "_Measured") -> "pa.Table":
    """Return the index of consecutive rows of a split."""
    import pyarrow as pa

    count = table.num_rows
    column = partial(_numbers, table)
    chunks = np.maximum(column("n_chunks"), 1)
    sessions, speakers, ids = (table.column(name).to_pylist() for name in ("session_id", "speaker", "row_id"))
    start_s = column("start_chunk") * chunk_s
    segments = _Segments(table)
    findings = measured.findings_of(sessions, speakers, start_s, start_s + chunks * chunk_s)
    values: dict[str, Any] = {
        "row_id": ids,
        "session": sessions,
        "listener": table.column("listener"),
        "start_s": start_s,
        "number": np.arange(first, first + count),
        "text": segments.texts(),
        "split": [split] * count,
        "speaker": speakers,
        "seconds": chunks * chunk_s,
        "words": segments.sums("n_words"),
        "speech": np.minimum(segments.durations() / (chunks * chunk_s), 1.0),
        **segments.kinds(),
        "overlap": segments.overlap(),
        "lag_s": segments.lag() * chunk_s,
        "flags": table.column("flags"),
        "findings": findings,
        "align_source": table.column("align_source"),
        "words_in_speech": [measured.words_in_speech.get(pair) for pair in zip(sessions, speakers, strict=True)],
        "bleed": [measured.bleed_of(session) for session in sessions],
        "unlabelled": _unlabelled(table) / chunks,
        "left_out": _List(table, "dropped").sums("n_tokens"),
    }
    values["digest"] = _digests(values, segments)
    types = {
        "findings": pa.list_(pa.string()),
        "flags": pa.list_(pa.string()),
        "words_in_speech": pa.float64(),
        "bleed": pa.float64(),
    }
    return pa.table({name: _array(value, types.get(name)) for name, value in values.items()})


def _array(values: Any, type_: "pa.DataType | None") -> "pa.Array | pa.ChunkedArray":
    import pyarrow as pa

    return values if isinstance(values, pa.ChunkedArray) else pa.array(values, type_)


def _numbers(table: "pa.Table", name: str) -> NDArray[np.float64]:
    found: NDArray[np.float64] = table.column(name).to_numpy().astype(np.float64)
    return found


class _List:
    """A column of lists, as one array for each field with the numbers of the rows."""

    def __init__(self, table: "pa.Table", name: str) -> None:
        import pyarrow as pa

        self._count = table.num_rows
        if name in table.column_names:
            lists = table.column(name).combine_chunks()
            lists = pa.concat_arrays(lists.chunks) if isinstance(lists, pa.ChunkedArray) else lists
            self.items = lists.flatten()
            sizes = lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        else:
            self.items, sizes = None, np.zeros(self._count, np.int64)
        self.row_of = np.repeat(np.arange(self._count), sizes)

    def field(self, name: str) -> NDArray[np.float64]:
        """Return a field of all items."""
        if self.items is None:
            return np.zeros(0)
        found: NDArray[np.float64] = self.items.field(name).to_numpy(zero_copy_only=False).astype(np.float64)
        return found

    def sums(self, name: str) -> NDArray[np.float64]:
        """Return the sum of a field in each row."""
        return self.total(self.field(name))

    def total(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return the sum of the values of the items of each row."""
        return np.bincount(self.row_of, values, self._count).astype(np.float64)


def _unlabelled(table: "pa.Table") -> NDArray[np.float64]:
    ranges = _List(table, "unlabelled")
    return ranges.total(ranges.field("end") - ranges.field("first"))


class _Segments(_List):
    """The segments of rows."""

    def __init__(self, table: "pa.Table") -> None:
        super().__init__(table, "segments")
        self._seconds = self.field("end_s") - self.field("start_s")

    def texts(self) -> list[str]:
        """Return the text of each row."""
        texts: list[list[str]] = [[] for _ in range(self._count)]
        for row, text in zip(self.row_of.tolist(), self.items.field("text").to_pylist(), strict=True):
            texts[row].append(text.strip())
        return [" ".join(own) for own in texts]

    def durations(self) -> NDArray[np.float64]:
        """Return the seconds that segments cover."""
        return self.total(self._seconds)

    def kinds(self) -> dict[str, Any]:
        """Return how many segments of each kind the rows have, and which kinds."""
        kinds = np.asarray(self.items.field("kind").to_pylist(), object)
        counts = {
            name: self.total((kinds == kind).astype(np.float64)) for name, kind in zip(_COUNTS, _KINDS, strict=True)
        }
        present = np.stack(list(counts.values()), axis=1) > 0
        return {
            **counts,
            "kinds": [[kind for kind, there in zip(_KINDS, row, strict=True) if there] for row in present],
        }

    def overlap(self) -> NDArray[np.float64]:
        """Return the share of the segments, by time, that overlaps."""
        seconds = np.maximum(self._seconds, 1e-3)
        return self.total(self.field("overlap") * seconds) / np.maximum(self.total(seconds), 1e-3)

    def lag(self) -> NDArray[np.float64]:
        """Return the largest delay of a token, in chunks."""
        lags = np.zeros(self._count)
        np.maximum.at(lags, self.row_of, self.field("lag_chunks"))
        return lags

    def words(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Return times and places of all words as integers `(words, 5)`, and the row of each."""
        if self.items is None:
            return np.zeros((0, len(_WORD_FIELDS)), np.uint64), np.zeros(0, np.int64)
        words = self.items.field("words")
        sizes = words.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        flat = words.flatten()
        fields = [flat.field(name).to_numpy(zero_copy_only=False).astype(np.float64) for name in _WORD_FIELDS]
        # Rounded to a tenth of a millisecond: what another computation of the same time may differ by.
        numbers = np.stack([np.round(values * 1e4) for values in fields], axis=1) if fields else np.zeros((0, 5))
        return numbers.astype(np.int64).astype(np.uint64), np.repeat(self.row_of, sizes)


def _digests(values: Mapping[str, Any], segments: _Segments) -> NDArray[np.uint64]:
    """Return a number for each row that differs if its text, times, places of tokens, flags or length differ."""
    words, row_of = segments.words()
    weights = np.asarray(
        [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5, 0x85EBCA77C2B2AE63]
    )
    mixed = (words * weights.astype(np.uint64)).sum(axis=1, dtype=np.uint64)
    position = np.arange(len(row_of)) - np.searchsorted(row_of, row_of) if len(row_of) else np.zeros(0, np.int64)
    mixed = (mixed ^ (mixed >> np.uint64(29))) * (2 * position.astype(np.uint64) + 1)
    sums = np.zeros(len(values["row_id"]), np.uint64)
    np.add.at(sums, row_of, mixed)
    others = zip(
        values["text"],
        values["seconds"].tolist(),
        values["left_out"].tolist(),
        values["flags"].to_pylist(),
        strict=True,
    )
    rest = [int.from_bytes(blake2b(repr(other).encode(), digest_size=8).digest(), "big") for other in others]
    return sums ^ np.asarray(rest, np.uint64)


class _Measured:
    """What the report has about sessions and tracks."""

    def __init__(self, report: Mapping[str, Any], chunk_s: float) -> None:
        evidence = report.get("evidence") or {}
        self.words_in_speech = {
            (track["session"], track["speaker"]): track["words_in_own"] for track in evidence.get("tracks") or ()
        }
        self._findings: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for finding in evidence.get("findings") or ():
            self._findings[finding["session"]].append(finding)
        sessions = (report.get("bleed") or {}).get("sessions")
        self._bleed = None if sessions is None else {one["session"]: one["share"] for one in sessions}

    def bleed_of(self, session: str) -> float | None:
        """Return the share of cross-talk of a session; None if it was not reported by session."""
        return None if self._bleed is None else self._bleed.get(session, 0.0)

    def findings_of(
        self, sessions: Sequence[str], speakers: Sequence[str], starts: NDArray[np.float64], ends: NDArray[np.float64]
    ) -> list[list[str]]:
        """Return the kinds of findings in each row."""
        rows = zip(sessions, speakers, starts.tolist(), ends.tolist(), strict=True)
        return [sorted(set(self._in_row(*row))) for row in rows]

    def _in_row(self, session: str, speaker: str, start_s: float, end_s: float) -> Iterator[str]:
        for finding in self._findings.get(session, ()):
            if finding["speaker"] in ("", speaker) and start_s <= finding["at_s"] < end_s:
                yield finding["kind"].replace("_", " ")
