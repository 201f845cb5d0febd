"""Read a duplex data set row by row: tokens, the chunks heard, the chunks spoken. Costs what the row costs, not the session.

Tables are memory-mapped and a row's audio is found by seeking, so nothing else is decoded. An object of this module can be
pickled to data-loader workers; each opens the files for itself.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sca.control_tokens import controls_of
from sca.data.duplex.audio.stored_samples import chunked
from sca.data.duplex.storage.build_settings import read_settings, settings_of
from sca.data.duplex.storage.control_tokens import PlacedControlToken, decode_controls
from sca.data.duplex.storage.tracks import StoredTrack, codes_of, stored_tracks
from sca.data.duplex.storage.writer import open_split
from sca.errors import InputError
from sca.units import HEARD_HZ, SPOKEN_HZ, Grid

__all__ = [
    "DuplexDataset",
    "DuplexRow",
    "load",
]

_OPEN_SESSIONS = 32


@dataclass(frozen=True, slots=True)
class DuplexRow:
    """One training row.

    input_ids: int32 `(tokens,)`, audio tokens as `placeholder`.
    heard: float32 `(n_chunks, 5120)`, what the listener says, 16 kHz.
    spoken: float32 `(n_chunks, 7680)`, what the speaker says, 24 kHz, on the same chunks (past the recording's end: zeros).
    segments: as stored, times from the row's start.   speaker_embedding: float32 `(192,)` or None.
    controls: the control tokens in `input_ids`, by name, in order; silence is not one of them.
    codes: int16 `(n_chunks, 16, frames)`, what the speaker says as codes of the codec, -1 past the recording's end; None where the
    data set has none.
    """

    row_id: str
    input_ids: NDArray[np.int32]
    heard: NDArray[np.float32]
    spoken: NDArray[np.float32]
    segments: list[dict[str, Any]]
    speaker_embedding: NDArray[np.float32] | None
    placeholder: int
    controls: tuple[PlacedControlToken, ...] = ()
    codes: NDArray[np.int16] | None = None


def load(path: str | Path, split: str = "train") -> "DuplexDataset":
    """Open a split of a data set. Raises `InputError` when `path` is not one."""
    return DuplexDataset(Path(path), split)


class DuplexDataset:
    """A map-style data set: `len`, `[i]` and iteration; `[i]` reads only that row's audio."""

    def __init__(self, root: Path, split: str = "train") -> None:
        self.root = root
        self.split = split
        settings = settings_of(read_settings(root))
        self.grid: Grid = settings.grid
        self.placeholder: int = settings.duplex.audio_placeholder
        self._control_names = controls_of(settings.duplex).names
        self.not_text = frozenset({settings.duplex.silence_token_id, *self._control_names})
        self._rows: Any = None
        self._sessions: OrderedDict[str, dict[str, StoredTrack]] = OrderedDict()
        self._beside: tuple[int, ThreadPoolExecutor] | None = None
        self._files = {file.stem: file for file in open_split(root, "storage")}
        self._row_files = open_split(root, split)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_rows": None, "_sessions": OrderedDict(), "_beside": None}

    def __len__(self) -> int:
        return int(self._table().num_rows)

    def __iter__(self) -> Iterator[DuplexRow]:
        return (self[i] for i in range(len(self)))

    def record(self, index: int) -> dict[str, Any]:
        """A row as it is stored, without audio."""
        table = self._table()
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        plain: dict[str, Any] = table.slice(index % len(self), 1).to_pylist()[0]
        return plain

    def words(self, session_id: str, speaker_id: str) -> list[dict[str, Any]]:
        """A speaker's words in a session: word, start and end in seconds of the session, source of the times."""
        words: list[dict[str, Any]] = self._tracks(session_id)[speaker_id].record["words"]
        return words

    def __getitem__(self, index: int) -> DuplexRow:
        row = self.record(index)
        tracks = self._tracks(row["session_id"])
        first, n = row["start_chunk"], row["n_chunks"]
        speaker = tracks[row["speaker"]]
        embedding = speaker.record["speaker_embedding"]
        spoken = self._thread().submit(chunked, speaker.spoken, first, n, self.grid.spoken_samples, SPOKEN_HZ)
        return DuplexRow(
            row_id=row["row_id"],
            input_ids=np.asarray(row["input_ids"], np.int32),
            heard=chunked(tracks[row["listener"]].heard, first, n, self.grid.heard_samples, HEARD_HZ),
            spoken=spoken.result(),
            segments=row["segments"],
            speaker_embedding=None if embedding is None else np.asarray(embedding, np.float32),
            placeholder=self.placeholder,
            controls=tuple(decode_controls(row["input_ids"], self._control_names, self.placeholder, self.grid)),
            codes=codes_of(speaker, first, n),
        )

    def _thread(self) -> ThreadPoolExecutor:
        """A thread for the second decoder. One a process: a forked loader worker has none of its parent's threads."""
        if self._beside is None or self._beside[0] != os.getpid():
            self._beside = (os.getpid(), ThreadPoolExecutor(1, "sca-decode"))
        return self._beside[1]

    def _table(self) -> Any:
        if self._rows is None:
            import pyarrow as pa

            tables = []
            for file in self._row_files:
                with pa.memory_map(str(file), "r") as source:
                    tables.append(pa.ipc.open_stream(source).read_all())
            self._rows = pa.concat_tables(tables)
        return self._rows

    def _tracks(self, session_id: str) -> dict[str, StoredTrack]:
        if session_id not in self._sessions:
            if session_id not in self._files:
                raise InputError(
                    f"{self.root}: session {session_id} has no audio in storage", hint="sca verify says what is broken"
                )
            self._sessions[session_id] = {t.record["speaker_id"]: t for t in stored_tracks(self._files[session_id])}
            while len(self._sessions) > _OPEN_SESSIONS:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(session_id)
        return self._sessions[session_id]
