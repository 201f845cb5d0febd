"""Read a show data set line by line: a line's columns, and its sound by seeking in the mapped file. Nothing else is decoded.

An object of this module can be pickled to data-loader workers; each opens the files for itself.
"""

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sca.data.datasets.arrow import iter_rows, open_split
from sca.data.duplex.audio.stored_samples import read_samples
from sca.data.runs.files import read_json
from sca.data.shows.layout import file_stem
from sca.data.shows.store import MADE_BY, SCHEMA_VERSION, SHOWS
from sca.errors import InputError
from sca.units import HEARD_HZ, SPOKEN_HZ, seconds_to_samples

__all__ = ["ShowDataset", "ShowLine"]

_OPEN_SHOWS = 32


@dataclass(frozen=True, slots=True)
class _Show:
    """A show's row of storage: its sound as mapped buffers."""

    audio: Any
    clean: Any
    embedding: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class ShowLine:
    """One line of `train` with its sound.

    columns: as stored.   before: float32 `(n,)`, 16 kHz, what was heard before the target.   heard: float32 `(n,)`, 16 kHz, all of
    the line.   spoken: float32 `(n,)`, 24 kHz, the target.   speaker_embedding: float32 `(192,)` or None.
    """

    columns: dict[str, Any]
    before: NDArray[np.float32]
    heard: NDArray[np.float32]
    spoken: NDArray[np.float32]
    speaker_embedding: NDArray[np.float32] | None


class ShowDataset:
    """A map-style data set of `ShowLine`. Raises `InputError` when `root` is not one."""

    def __init__(self, root: Path, split: str = "train") -> None:
        self.root = root
        _open = partial(open_split, kind=SHOWS, made_by=MADE_BY)
        self._row_files = _open(root, split)
        self._files = {file.stem: file for file in _open(root, "storage")}
        made = read_json(root / "settings.json")
        if made.get("schema_version") != SCHEMA_VERSION:
            raise InputError(
                f"{root} has schema version {made.get('schema_version')}, this sca reads {SCHEMA_VERSION}",
                hint="convert it again",
            )
        self.settings: dict[str, Any] = made["convert"]
        self._rows: Any = None
        self._shows: OrderedDict[str, _Show] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_rows": None, "_shows": OrderedDict()}

    def __len__(self) -> int:
        return int(self._table().num_rows)

    def __getitem__(self, index: int) -> ShowLine:
        columns = self.columns(index)
        show = self._show(columns["session_id"])
        start, target, end = (columns[name] for name in ("start_sec", "target_start_sec", "end_sec"))
        heard = _slice(show.audio, start, end, HEARD_HZ)
        before = seconds_to_samples(target, HEARD_HZ) - seconds_to_samples(start, HEARD_HZ)
        return ShowLine(
            columns=columns,
            before=heard[:before],
            heard=heard,
            spoken=_slice(show.clean, target, columns["target_end_sec"], SPOKEN_HZ),
            speaker_embedding=show.embedding,
        )

    def columns(self, index: int) -> dict[str, Any]:
        """A line as it is stored, without sound."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"line {index} of {len(self)}")
        plain: dict[str, Any] = self._table().slice(index % len(self), 1).to_pylist()[0]
        return plain

    def _table(self) -> Any:
        if self._rows is None:
            import pyarrow as pa

            batches = [batch for file in self._row_files for batch in iter_rows(file)]
            self._rows = pa.Table.from_batches(batches)
        return self._rows

    def _show(self, name: str) -> _Show:
        if name not in self._shows:
            file = self._files.get(file_stem(name))
            if file is None:
                raise InputError(f"{self.root}: show {name} has no sound in storage", hint=f"run {MADE_BY} again")
            batch = next(iter(iter_rows(file)))
            audio, clean = (batch.column(column).field("bytes")[0].as_buffer() for column in ("audio", "clean_audio"))
            voice = batch.column("speaker_embedding")[0].as_py()
            self._shows[name] = _Show(audio, clean, None if voice is None else np.asarray(voice, np.float32))
            while len(self._shows) > _OPEN_SHOWS:
                self._shows.popitem(last=False)
        self._shows.move_to_end(name)
        return self._shows[name]


def _slice(audio: Any, start_s: float, end_s: float, rate_hz: int) -> NDArray[np.float32]:
    start = seconds_to_samples(start_s, rate_hz)
    samples = read_samples(audio, start, seconds_to_samples(end_s, rate_hz) - start, rate_hz)
    return samples.astype(np.float32) / np.float32(32768)
