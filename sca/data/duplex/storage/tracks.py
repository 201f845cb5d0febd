"""Tracks as stored: one record of `storage` per speaker, with its audio mapped from disk."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sca.data.datasets.arrow import iter_batches
from sca.data.duplex.audio.codec_targets import CODEBOOKS, NO_CODE
from sca.data.duplex.model.records import TrackRecord
from sca.data.duplex.storage.writer import complete
from sca.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["StoredTrack", "stored_tracks", "tracks_of_batch"]


@dataclass(frozen=True, slots=True)
class StoredTrack:
    """A track: its audio as mapped buffers, everything else as plain values.

    Attributes:
        heard: Audio file at 16 kHz. Empty in a webdataset export, in which the rows carry the audio.
        spoken: Audio file at 24 kHz. Empty like `heard`.
        record: The plain columns.
        codes: Codec codes, int16 `(n_chunks, 16 * frames)`, mapped; None if the track has none.
    """

    heard: "pa.Buffer"
    spoken: "pa.Buffer"
    record: TrackRecord
    codes: NDArray[np.int16] | None = None

    @property
    def cells(self) -> "list[list[bytes | pa.Buffer]]":
        """The binary columns, for `record_digest`."""
        codes = [] if self.codes is None else [[np.ascontiguousarray(self.codes).tobytes()]]
        return [[self.heard], [self.spoken], *codes]

    @property
    def has_transcript(self) -> bool:
        """Whether the words of the speaker are known. A speaker without transcript is only listened to."""
        return self.record["provenance"]["transcript"] is not None

    def chunk_codes(self, first: int, n_chunks: int) -> NDArray[np.int16] | None:
        """Return the codes of chunks `[first, first + n_chunks)`.

        Returns:
            int16 `(n_chunks, 16, frames)`, -1 past the end of the track; None if the track has no codes.
        """
        if self.codes is None:
            return None
        found = self.codes[first : first + n_chunks]
        chunks = np.full((n_chunks, self.codes.shape[1]), NO_CODE, np.int16)
        chunks[: len(found)] = found
        return chunks.reshape(n_chunks, CODEBOOKS, -1)


def stored_tracks(file: Path) -> list[StoredTrack]:
    """Read the tracks of a session's storage file. Audio stays on disk, mapped."""
    return [track for batch in iter_batches(file) for track in tracks_of_batch(batch)]


def tracks_of_batch(batch: "pa.RecordBatch") -> list[StoredTrack]:
    """Return the tracks of an Arrow batch of `storage`. Their audio refers to the batch's buffers, without a copy."""
    tracks: list[StoredTrack] = []
    batch = complete(batch, "storage")
    names = [name for name in batch.schema.names if not name.startswith("audio_") and name != "codes"]
    for i, record in enumerate(batch.select(names).to_pylist()):
        heard, spoken = (batch.column(name).field("bytes")[i].as_buffer() for name in ("audio_16k", "audio_24k"))
        tracks.append(StoredTrack(heard, spoken, record, _codes(batch.column("codes")[i])))
    return tracks


def _codes(cell: "pa.ListScalar") -> NDArray[np.int16] | None:
    """Return the codes of a track. Raises `InputError` if its chunks have different numbers of codes."""
    if not cell.is_valid:
        return None
    chunks = cell.values
    codes: NDArray[np.int16] = chunks.flatten().to_numpy()
    if not len(chunks) or len(codes) % len(chunks) or len(set(chunks.value_lengths().to_pylist())) != 1:
        raise InputError(
            "the codec codes of a track are damaged: its chunks have different numbers of codes",
            hint="build the data set again",
        )
    return codes.reshape(len(chunks), -1)
