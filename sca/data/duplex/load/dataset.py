"""Read a duplex data set row by row: tokens, the audio heard and the audio spoken.

On disk, tables are memory-mapped and the audio of a row is found by seeking, so the cost is that of the row, not of its
session.
"""

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import overload

import numpy as np
from numpy.typing import NDArray

from sca.audio.resample import resample
from sca.control_tokens import Grammar, control_tokens_of
from sca.data.datasets.folder import DataFolder
from sca.data.duplex.audio.stored_samples import chunked
from sca.data.duplex.load.heard_words import unlabelled_within, words_within
from sca.data.duplex.load.row_source import PerProcess
from sca.data.duplex.load.sources import open_source, read_build_settings
from sca.data.duplex.model.records import RowRecord, SegmentRecord, WordRecord
from sca.data.duplex.storage.build_settings import settings_of
from sca.data.duplex.storage.control_tokens import PlacedControlToken, decode_controls
from sca.display.blocks import block, summary_line, table
from sca.display.sound import MAX_SOUND_S, player
from sca.textutil import counted
from sca.units import HEARD_HZ, SPOKEN_HZ, Grid

__all__ = ["DuplexDataset", "DuplexRow", "load"]


@dataclass(frozen=True, slots=True)
class DuplexRow:
    """A training row with its audio.

    Attributes:
        row_id: `SESSION:LISTENER>SPEAKER:START_CHUNK`. The listener of a mix is the names of all others, joined by `+`.
        input_ids: int32 `(tokens,)`; audio tokens are `placeholder`.
        heard: float32 `(n_chunks, 5120)`: the audio of the listener, 16 kHz; the sum of the tracks of several
            listeners, clipped to [-1, 1].
        spoken: float32 `(n_chunks, 7680)`: the audio of the speaker in the same chunks, 24 kHz. Zeros past the end of
            the recording.
        segments: Segments of the speaker as stored; times count from the start of the row.
        speaker_embedding: float32 `(192,)`; None if the data set has none for the speaker.
        placeholder: Id of the audio tokens.
        silence_id: Id of the silence token.
        listener_words: Words of the listener that start and end within the row; times count from its start. Those of
            several listeners are in the order in which they end. None if the words of all listeners are unknown.
        controls: Control tokens in `input_ids`, in order; silence is not a control token.
        codes: int16 `(n_chunks, 16, frames)`: `spoken` as codec codes, -1 past the end of the recording; None if the
            data set has no codes.
        unlabelled: Ranges `[first, end)` of chunks whose tokens are not labels, because the words of the
            speaker are unknown there.
        listener_unlabelled: Where the words of a listener are unknown, in seconds from the start of the row.
    """

    row_id: str
    input_ids: NDArray[np.int32]
    heard: NDArray[np.float32]
    spoken: NDArray[np.float32]
    segments: list[SegmentRecord]
    speaker_embedding: NDArray[np.float32] | None
    placeholder: int
    silence_id: int
    listener_words: list[WordRecord] | None
    controls: tuple[PlacedControlToken, ...] = ()
    codes: NDArray[np.int16] | None = None
    unlabelled: tuple[tuple[int, int], ...] = ()
    listener_unlabelled: tuple[tuple[float, float], ...] = ()

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.heard.size / HEARD_HZ

    def __repr__(self) -> str:
        tokens, segments = counted(self.input_ids.size, "token"), counted(len(self.segments), "segment")
        return summary_line("DuplexRow", self.row_id, f"{self.duration_s:.2f} s", tokens, segments)

    def _repr_html_(self) -> str:
        """Return a block for notebooks: what is heard on the left, what is spoken on the right, and the segments."""
        facts = {"length": f"{self.duration_s:.2f} s", "chunks": len(self.heard), "tokens": self.input_ids.size}
        # One second more than is played: the end of a resampled signal is not that of the whole.
        spoken = resample(self.spoken.ravel()[: (MAX_SOUND_S + 1) * SPOKEN_HZ], SPOKEN_HZ, HEARD_HZ)
        lines = [(one["kind"], f"{one['start_s']:.2f}", f"{one['end_s']:.2f}", one["text"]) for one in self.segments]
        segments = table(("kind", "start (s)", "end (s)", "text"), lines, len(lines))
        return block(self.row_id, facts, player(self.heard.ravel(), spoken), segments)


def load(
    path: str | os.PathLike[str], split: str = "train", *, storage_options: Mapping[str, object] | None = None
) -> "DuplexDataset":
    """Open a split of a duplex data set that `sca build-duplex` wrote, or of its export to Parquet or WebDataset.

    The result is a map-style data set of `DuplexRow`, for iteration and for `torch.utils.data.DataLoader`. The rows of
    a data set and of its exports are equal. Audio is read only for the rows that are accessed.

    Args:
        path: Folder of the data set, or its URL: `hf://datasets/owner/name`, `s3://bucket/name`, or any other URL of
            fsspec.
        split: `train` or `validation`.
        storage_options: Arguments of the file system of a URL, such as keys and endpoints.

    Returns:
        The data set.

    Raises:
        InputError: `path` is not a duplex data set, has another schema version, or has no such split.
        MissingToolError: The package of the URL's file system is not installed.
        UpstreamError: The URL cannot be read.

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
    return DuplexDataset(DataFolder(path, storage_options), split)


class DuplexDataset:
    """A map-style data set of `DuplexRow`: `len(data)`, `data[i]`, `data[i:j]` and iteration. Made by `load`.

    It can be pickled to data-loader workers; each worker opens the files itself.

    Attributes:
        root: Folder or URL of the data set.
        split: The split.
        grid: The grid of the rows.
        placeholder: Id of the audio tokens in `input_ids`.
        silence_id: Id of the silence token.
        grammar: The silence token and the control tokens.
        not_text: Ids of silence and of the control tokens.
        sessions: Session of each row. The rows of a session are consecutive.
    """

    def __init__(self, folder: DataFolder, split: str = "train") -> None:
        settings = settings_of(read_build_settings(folder))
        self.root = folder.name if folder.local is None else folder.local
        self.split = split
        self.grid: Grid = settings.grid
        self.placeholder: int = settings.duplex.audio_placeholder
        self.silence_id: int = settings.duplex.silence_token_id
        self.grammar = Grammar(self.silence_id, control_tokens_of(settings.duplex))
        self._control_names = self.grammar.controls.names
        self.not_text = self.grammar.not_text
        self._source = PerProcess(partial(open_source, folder, split))
        # Decoding runs outside the interpreter's lock, so a second core decodes the second track.
        self._decoder = PerProcess(partial(ThreadPoolExecutor, 1, "sca-decode"))
        self._lengths: list[int] | None = None
        self.sessions: list[str] = self._source.get().session_ids()

    def __len__(self) -> int:
        return len(self.sessions)

    def __repr__(self) -> str:
        rows, sessions = counted(len(self), "row"), counted(len(set(self.sessions)), "session")
        return summary_line("DuplexDataset", self.root, self.split, f"{rows} of {sessions}")

    def _repr_html_(self) -> str:
        """Return a block for notebooks: the numbers, and the first row with its sound."""
        facts = {"split": self.split, "rows": len(self), "sessions": len(set(self.sessions))}
        return block(str(self.root), facts, self[0]._repr_html_() if len(self) else "")

    def __iter__(self) -> Iterator[DuplexRow]:
        return (self[i] for i in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> DuplexRow: ...
    @overload
    def __getitem__(self, index: slice) -> list[DuplexRow]: ...
    def __getitem__(self, index: int | slice) -> DuplexRow | list[DuplexRow]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        row = self.record(index)
        sides = self._source.get().sides(index % len(self), row)
        speaker, first, n = sides.speaker, sides.first_chunk, row["n_chunks"]
        start_s, end_s = (float(chunk * self.grid.chunk_s) for chunk in (row["start_chunk"], row["start_chunk"] + n))
        embedding = speaker.record["speaker_embedding"]
        spoken = self._decoder.get().submit(chunked, [speaker.spoken], first, n, self.grid.spoken_samples, SPOKEN_HZ)
        return DuplexRow(
            row_id=row["row_id"],
            input_ids=np.asarray(row["input_ids"], np.int32),
            heard=chunked(sides.heard, first, n, self.grid.heard_samples, HEARD_HZ),
            spoken=spoken.result(),
            segments=row["segments"],
            speaker_embedding=None if embedding is None else np.asarray(embedding, np.float32),
            placeholder=self.placeholder,
            silence_id=self.silence_id,
            listener_words=words_within(sides.listeners, start_s, end_s),
            controls=tuple(decode_controls(row["input_ids"], self._control_names, self.placeholder, self.grid)),
            codes=speaker.chunk_codes(first, n),
            unlabelled=tuple((part["first"], part["end"]) for part in row["unlabelled"]),
            listener_unlabelled=unlabelled_within(sides.listeners, start_s, end_s),
        )

    @property
    def lengths(self) -> list[int]:
        """Number of tokens of each row, for grouping rows of similar length. Reads no audio."""
        if self._lengths is None:
            self._lengths = self._source.get().lengths()
        return self._lengths

    def record(self, index: int) -> RowRecord:
        """Return a row as stored, without audio."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        return self._source.get().record(index % len(self))

    def words(self, session_id: str, speaker_id: str) -> list[WordRecord]:
        """Return the words of a speaker in a session, as stored; times count from the start of the session."""
        return self._source.get().track(session_id, speaker_id).record["words"]
