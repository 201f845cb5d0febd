"""Reads a show data set row by row: the columns of a row, and its audio by seeking in the mapped file.

Only the audio of the row is decoded. Objects of this module can be pickled to data-loader workers; each worker opens
the files for itself.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sca.audio.pcm import int16_to_float32
from sca.data.datasets.arrow import iter_batches, open_split
from sca.data.duplex.audio.stored_samples import read_samples
from sca.data.runs.files import read_json
from sca.data.shows.model import TrainColumns
from sca.data.shows.paths import SETTINGS_FILE, show_file_stem
from sca.data.shows.storage import KIND, MADE_BY, SCHEMA_VERSION
from sca.errors import InputError
from sca.units import HEARD_HZ, SPOKEN_HZ, seconds_to_samples

if TYPE_CHECKING:
    from pyarrow import Buffer, Table

__all__ = ["Prompts", "ShowDataset", "ShowExample"]

_MAX_OPEN_SHOWS = 32


@dataclass(frozen=True, slots=True)
class _ShowAudio:
    """A row of `storage`; the audio is mapped from disk."""

    audio: "Buffer"
    clean_audio: "Buffer"
    embedding: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class Prompts:
    """The texts of a chat around the audio and the target, from the settings of the data set."""

    system_prompt: str
    instruction: str


@dataclass(frozen=True, slots=True)
class ShowExample:
    """A row of `train` with its audio.

    Attributes:
        columns: The stored columns.
        before: The context, before the target: float32 `(n,)`, 16 kHz.
        heard: The whole row: float32 `(n,)`, 16 kHz.
        spoken: The target speech: float32 `(n,)`, 24 kHz.
        speaker_embedding: float32 `(192,)`, or None.
    """

    columns: TrainColumns
    before: NDArray[np.float32]
    heard: NDArray[np.float32]
    spoken: NDArray[np.float32]
    speaker_embedding: NDArray[np.float32] | None


class ShowDataset:
    """A map-style data set of `ShowExample`.

    Args:
        root: The data set.
        split: The split with rows.

    Attributes:
        prompts: The texts of a chat.

    Raises:
        InputError: `root` is not a finished show data set of this schema version.
    """

    def __init__(self, root: Path, split: str = "train") -> None:
        open_files = partial(open_split, root, kind=KIND, made_by=MADE_BY)
        self._root = root
        self._row_files = open_files(split)
        self._storage_files = {file.stem: file for file in open_files("storage")}
        settings = read_json(root / SETTINGS_FILE)
        version = settings.get("schema_version")
        if version != SCHEMA_VERSION:
            raise InputError(
                f"{root} has schema version {version}, this version of sca reads {SCHEMA_VERSION}",
                hint=f"run {MADE_BY} again",
            )
        self.prompts = Prompts(settings["convert"]["system_prompt"], settings["convert"]["instruction"])
        self._rows: Table | None = None
        self._open_shows: OrderedDict[str, _ShowAudio] = OrderedDict()

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_rows": None, "_open_shows": OrderedDict()}

    def __len__(self) -> int:
        return int(self._table().num_rows)

    def __iter__(self) -> Iterator[ShowExample]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> ShowExample:
        columns = self.columns(index)
        show = self._show(columns["session_id"])
        start_s, target_s = columns["start_sec"], columns["target_start_sec"]
        heard = _read_span(show.audio, start_s, columns["end_sec"], HEARD_HZ)
        before = seconds_to_samples(target_s, HEARD_HZ) - seconds_to_samples(start_s, HEARD_HZ)
        return ShowExample(
            columns=columns,
            before=heard[:before],
            heard=heard,
            spoken=_read_span(show.clean_audio, target_s, columns["target_end_sec"], SPOKEN_HZ),
            speaker_embedding=show.embedding,
        )

    def columns(self, index: int) -> TrainColumns:
        """Return the stored columns of a row, without audio.

        Raises:
            IndexError: The row does not exist.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        columns: TrainColumns = self._table().slice(index % len(self), 1).to_pylist()[0]
        return columns

    def _table(self) -> "Table":
        if self._rows is None:
            import pyarrow as pa

            self._rows = pa.Table.from_batches([batch for file in self._row_files for batch in iter_batches(file)])
        return self._rows

    def _show(self, show_id: str) -> _ShowAudio:
        if show_id not in self._open_shows:
            self._open_shows[show_id] = self._open_show(show_id)
            while len(self._open_shows) > _MAX_OPEN_SHOWS:
                self._open_shows.popitem(last=False)
        self._open_shows.move_to_end(show_id)
        return self._open_shows[show_id]

    def _open_show(self, show_id: str) -> _ShowAudio:
        file = self._storage_files.get(show_file_stem(show_id))
        if file is None:
            raise InputError(f"{self._root}: show {show_id} has no audio in storage", hint=f"run {MADE_BY} again")
        batch = next(iter(iter_batches(file)))
        audio, clean_audio = (batch.column(name).field("bytes")[0].as_buffer() for name in ("audio", "clean_audio"))
        embedding = batch.column("speaker_embedding")[0].as_py()
        return _ShowAudio(audio, clean_audio, None if embedding is None else np.asarray(embedding, np.float32))


def _read_span(audio: "Buffer", start_s: float, end_s: float, rate_hz: int) -> NDArray[np.float32]:
    start = seconds_to_samples(start_s, rate_hz)
    return int16_to_float32(read_samples(audio, start, seconds_to_samples(end_s, rate_hz) - start, rate_hz))
