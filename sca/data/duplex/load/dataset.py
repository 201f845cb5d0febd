"""Read a duplex data set row by row: tokens, the audio heard and the audio spoken.

Tables are memory-mapped and the audio of a row is found by seeking, so the cost is that of the row, not of its session.
"""

import os
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sca.control_tokens import control_tokens_of
from sca.data.duplex.audio.stored_samples import chunked
from sca.data.duplex.model.records import RowRecord, SegmentRecord, WordRecord
from sca.data.duplex.storage.build_settings import read_settings, settings_of
from sca.data.duplex.storage.control_tokens import PlacedControlToken, decode_controls
from sca.data.duplex.storage.tracks import StoredTrack, stored_tracks
from sca.data.duplex.storage.writer import open_split
from sca.errors import InputError
from sca.units import HEARD_HZ, SPOKEN_HZ, Grid

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["DuplexDataset", "DuplexRow", "load"]

_OPEN_SESSIONS = 32


@dataclass(frozen=True, slots=True)
class DuplexRow:
    """A training row with its audio.

    Attributes:
        row_id: `SESSION:LISTENER>SPEAKER:START_CHUNK`.
        input_ids: int32 `(tokens,)`; audio tokens are `placeholder`.
        heard: float32 `(n_chunks, 5120)`: the audio of the listener, 16 kHz.
        spoken: float32 `(n_chunks, 7680)`: the audio of the speaker in the same chunks, 24 kHz. Zeros past the end of
            the recording.
        segments: Segments of the speaker as stored; times count from the start of the row.
        speaker_embedding: float32 `(192,)`; None if the data set has none for the speaker.
        placeholder: Id of the audio tokens.
        controls: Control tokens in `input_ids`, in order; silence is not a control token.
        codes: int16 `(n_chunks, 16, frames)`: `spoken` as codec codes, -1 past the end of the recording; None if the
            data set has no codes.
    """

    row_id: str
    input_ids: NDArray[np.int32]
    heard: NDArray[np.float32]
    spoken: NDArray[np.float32]
    segments: list[SegmentRecord]
    speaker_embedding: NDArray[np.float32] | None
    placeholder: int
    controls: tuple[PlacedControlToken, ...] = ()
    codes: NDArray[np.int16] | None = None


def load(path: str | Path, split: str = "train") -> "DuplexDataset":
    """Open a split of a duplex data set that `sca build-duplex` wrote.

    The result is a map-style data set of `DuplexRow`, for iteration and for `torch.utils.data.DataLoader`. Audio is
    read from disk only for the rows that are accessed.

    Args:
        path: Folder of the data set.
        split: `train` or `validation`.

    Returns:
        The data set.

    Raises:
        InputError: `path` is not a duplex data set, has another schema version, or has no such split.

    Example:
        >>> import sca
        >>> rows = sca.load("my_data")
        >>> row = rows[0]
        >>> len(row.heard) == len(row.spoken)  # the same chunks, at two rates
        True
        >>> row.heard.shape[1:], row.spoken.shape[1:], row.heard.dtype
        ((5120,), (7680,), dtype('float32'))
        >>> sorted({segment["kind"] for row in rows for segment in row.segments})
        ['backchannel', 'interruption', 'turn']
    """
    return DuplexDataset(Path(path), split)


class DuplexDataset:
    """A map-style data set of `DuplexRow`: `len(data)`, `data[i]` and iteration. Made by `load`.

    It can be pickled to data-loader workers; each worker opens the files itself.

    Attributes:
        root: Folder of the data set.
        split: The split.
        grid: The grid of the rows.
        placeholder: Id of the audio tokens in `input_ids`.
        not_text: Ids of silence and of the control tokens.
    """

    def __init__(self, root: Path, split: str = "train") -> None:
        settings = settings_of(read_settings(root))
        self.root = root
        self.split = split
        self.grid: Grid = settings.grid
        self.placeholder: int = settings.duplex.audio_placeholder
        self._control_names = control_tokens_of(settings.duplex).names
        self.not_text = frozenset({settings.duplex.silence_token_id, *self._control_names})
        self._rows: pa.Table | None = None
        self._sessions: OrderedDict[str, dict[str, StoredTrack]] = OrderedDict()
        self._decoder: tuple[int, ThreadPoolExecutor] | None = None
        self._files = {file.stem: file for file in open_split(root, "storage")}
        self._row_files = open_split(root, split)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_rows": None, "_sessions": OrderedDict(), "_decoder": None}

    def __len__(self) -> int:
        return int(self._table().num_rows)

    def __iter__(self) -> Iterator[DuplexRow]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> DuplexRow:
        row = self.record(index)
        tracks = self._tracks(row["session_id"])
        listener, speaker = tracks[row["listener"]], tracks[row["speaker"]]
        first, n = row["start_chunk"], row["n_chunks"]
        embedding = speaker.record["speaker_embedding"]
        # Decoding runs outside the interpreter's lock, so a second core decodes the second track.
        spoken = self._thread().submit(chunked, speaker.spoken, first, n, self.grid.spoken_samples, SPOKEN_HZ)
        return DuplexRow(
            row_id=row["row_id"],
            input_ids=np.asarray(row["input_ids"], np.int32),
            heard=chunked(listener.heard, first, n, self.grid.heard_samples, HEARD_HZ),
            spoken=spoken.result(),
            segments=row["segments"],
            speaker_embedding=None if embedding is None else np.asarray(embedding, np.float32),
            placeholder=self.placeholder,
            controls=tuple(decode_controls(row["input_ids"], self._control_names, self.placeholder, self.grid)),
            codes=speaker.chunk_codes(first, n),
        )

    def record(self, index: int) -> RowRecord:
        """Return a row as stored, without audio."""
        table = self._table()
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        record: RowRecord = table.slice(index % len(self), 1).to_pylist()[0]
        return record

    def words(self, session_id: str, speaker_id: str) -> list[WordRecord]:
        """Return the words of a speaker in a session, as stored; times count from the start of the session."""
        return self._tracks(session_id)[speaker_id].record["words"]

    def _thread(self) -> ThreadPoolExecutor:
        """Return the thread of the second decoder.

        It is one per process: a forked worker has no threads of its parent.
        """
        if self._decoder is None or self._decoder[0] != os.getpid():
            self._decoder = (os.getpid(), ThreadPoolExecutor(1, "sca-decode"))
        return self._decoder[1]

    def _table(self) -> "pa.Table":
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
                    f"{self.root}: session {session_id} has no audio in storage", hint="sca verify lists what is broken"
                )
            tracks = stored_tracks(self._files[session_id])
            self._sessions[session_id] = {track.record["speaker_id"]: track for track in tracks}
            while len(self._sessions) > _OPEN_SESSIONS:
                self._sessions.popitem(last=False)
        self._sessions.move_to_end(session_id)
        return self._sessions[session_id]
