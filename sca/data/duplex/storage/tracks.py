"""Stored tracks: one row of `storage` per speaker, audio mapped from disk."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sca.data.duplex.audio.codec_targets import CODEBOOKS, NO_CODE
from sca.data.duplex.storage.writer import iter_rows
from sca.errors import InputError

__all__ = ["StoredTrack", "codes_of", "has_transcript", "stored_tracks", "tracks_of_batch"]


@dataclass(frozen=True, slots=True)
class StoredTrack:
    """One speaker's storage row: its audio as mapped buffers, the rest as plain values.

    codes: `(n_chunks, 16 * frames)`, mapped; None where there are none.
    """

    heard: Any
    spoken: Any
    record: dict[str, Any]
    codes: NDArray[np.int16] | None = None

    @property
    def cells(self) -> list[list[Any]]:
        """The bytes that a digest of the track is made of, beside `record`."""
        codes = [] if self.codes is None else [[np.ascontiguousarray(self.codes).tobytes()]]
        return [[self.heard], [self.spoken], *codes]


def has_transcript(track: StoredTrack) -> bool:
    """Whether the track's words are known. Where they are not it is heard only, and no row has it as its speaker."""
    return track.record["provenance"]["transcript"] is not None


def stored_tracks(file: Path) -> list[StoredTrack]:
    """The tracks of a session's storage file. Audio stays on disk, mapped."""
    return [track for batch in iter_rows(file) for track in tracks_of_batch(batch)]


def tracks_of_batch(batch: Any) -> list[StoredTrack]:
    """The tracks of an Arrow batch of `storage`; their audio is its buffers, not copied."""
    tracks: list[StoredTrack] = []
    names = [name for name in batch.schema.names if not name.startswith("audio_") and name != "codes"]
    for i, record in enumerate(batch.select(names).to_pylist()):
        heard, spoken = (_cell(batch.column(name), i) for name in ("audio_16k", "audio_24k"))
        tracks.append(StoredTrack(heard, spoken, record, _codes(batch.column("codes")[i])))
    return tracks


def _codes(cell: Any) -> NDArray[np.int16] | None:
    """The codes of a track. Raises `InputError` where its chunks have not the same number of them."""
    if not cell.is_valid:
        return None
    chunks = cell.values
    codes: NDArray[np.int16] = chunks.flatten().to_numpy()
    if not len(chunks) or len(codes) % len(chunks) or len(set(chunks.value_lengths().to_pylist())) != 1:
        raise InputError(
            "a track's codec codes are torn: its chunks have different numbers of them", hint="build it again"
        )
    return codes.reshape(len(chunks), -1)


def _cell(column: Any, row: int) -> Any:
    return column.field("bytes")[row].as_buffer()


def codes_of(track: StoredTrack, first: int, n_chunks: int) -> NDArray[np.int16] | None:
    """The codes of chunks `[first, first + n_chunks)`, int16 `(n_chunks, 16, frames)`, -1 past the track's end; None without."""
    if track.codes is None:
        return None
    found = track.codes[first : first + n_chunks]
    chunks = np.full((n_chunks, track.codes.shape[1]), NO_CODE, np.int16)
    chunks[: len(found)] = found
    return chunks.reshape(n_chunks, CODEBOOKS, -1)
