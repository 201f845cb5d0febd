"""The interface of the places that rows are read from."""

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from typing_extensions import override

from sca.data.duplex.model.heard import heard_speakers
from sca.data.duplex.model.records import RowRecord
from sca.data.duplex.storage.tracks import StoredTrack

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["PerProcess", "Recent", "RowSource", "SessionRows", "Sides"]

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Sides:
    """The tracks of a row.

    Attributes:
        listeners: The tracks of the speakers that are heard.
        heard: Audio files at 16 kHz, whose mix is heard.
        speaker: The track with the audio spoken.
        first_chunk: Where the row starts in the audio of all.
    """

    listeners: tuple[StoredTrack, ...]
    heard: "tuple[pa.Buffer, ...]"
    speaker: StoredTrack
    first_chunk: int


class RowSource(Protocol):
    """A split of a data set: records of rows by their number, and tracks. Used by one process only."""

    def session_ids(self) -> list[str]:
        """Return the session of each row. The rows of a session are consecutive."""
        ...

    def lengths(self) -> list[int]:
        """Return the number of tokens of each row."""
        ...

    def record(self, index: int) -> RowRecord:
        """Return a row as stored."""
        ...

    def tables(self) -> "Iterator[pa.Table]":
        """Iterate over all rows in order as Arrow tables, without `input_ids`. Reads no audio.

        Files of earlier versions lack the column `unlabelled`.
        """
        ...

    def sides(self, index: int, row: RowRecord) -> Sides:
        """Return the tracks of a row with their audio. `row` is its record."""
        ...

    def track(self, session_id: str, speaker_id: str) -> StoredTrack:
        """Return a track. Its audio can be empty (WebDataset)."""
        ...


class Recent(Generic[Key, Value]):
    """The values that were made last, by their keys."""

    def __init__(self, make: Callable[[Key], Value], size: int) -> None:
        """Create an empty store.

        Args:
            make: Makes the value of a key.
            size: Number of values to keep.
        """
        self._make = make
        self._size = size
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def __getitem__(self, key: Key) -> Value:
        if key not in self._values:
            self._values[key] = self._make(key)
            while len(self._values) > self._size:
                self._values.popitem(last=False)
        self._values.move_to_end(key)
        return self._values[key]


class SessionRows(RowSource):
    """A split whose tracks are read session by session."""

    _sessions: Recent[str, dict[str, StoredTrack]]
    """The tracks of a session by their speakers."""

    @override
    def sides(self, index: int, row: RowRecord) -> Sides:
        tracks = self._sessions[row["session_id"]]
        listeners = tuple(tracks[name] for name in heard_speakers(row["listener"], row["speaker"], list(tracks)))
        heard = tuple(track.heard for track in listeners)
        return Sides(listeners, heard, tracks[row["speaker"]], row["start_chunk"])

    @override
    def track(self, session_id: str, speaker_id: str) -> StoredTrack:
        return self._sessions[session_id][speaker_id]


class PerProcess(Generic[Value]):
    """An object that every process makes for itself: files and threads are not shared after a fork or a pickle."""

    def __init__(self, make: Callable[[], Value]) -> None:
        """Store how the object is made.

        Args:
            make: Makes the object. Must be picklable.
        """
        self._make = make
        self._made: tuple[int, Value] | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"_make": self._make, "_made": None}

    def get(self) -> Value:
        """Return the object of this process."""
        if self._made is None or self._made[0] != os.getpid():
            self._made = (os.getpid(), self._make())
        return self._made[1]
