"""Verify the SHA-256 of the recordings that are still where the build found them."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sca.data.duplex.model.session import SessionPaths
from sca.data.duplex.storage.tracks import StoredTrack
from sca.data.runs.files import sha256_of

__all__ = ["RecordingsFound", "find_recordings"]


@dataclass(slots=True)
class RecordingsFound:
    """The recordings of tracks.

    Attributes:
        tracks: Tracks with a recording that was looked for.
        at_hand: Tracks with a recording that still exists.
        changed: Tracks with a recording that was replaced after the build.
        problems: Recordings with another SHA-256 than their tracks, although the files did not change.
    """

    tracks: int = 0
    at_hand: int = 0
    changed: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, other: "RecordingsFound") -> None:
        """Add the counts of `other`."""
        self.tracks += other.tracks
        self.at_hand += other.at_hand
        self.changed += other.changed


def find_recordings(root: Path, tracks: Sequence[StoredTrack]) -> RecordingsFound:
    """Compare the recordings of a session with its provenance.

    The record of the build in `.sca` has the paths, sizes and times of the recordings; a copy of the data set has none.

    Args:
        root: The data set.
        tracks: The tracks of a session.
    """
    found = RecordingsFound(tracks=len(tracks))
    first = tracks[0].record
    origin = first["augmented"]["from"] if first["augmented"] else first["session_id"]
    files = {path.name: (path, size, time) for path, size, time in _recorded_files(root, origin)}
    digests: dict[Path, str] = {}
    for track in tracks:
        provenance = track.record["provenance"]
        if provenance["audio"] not in files:
            continue
        path, size, time = files[provenance["audio"]]
        try:
            stat = path.stat()
            digest = digests.setdefault(path, digests.get(path) or sha256_of(path))
        except OSError:
            continue  # not at hand any more
        found.at_hand += 1
        if digest == provenance["sha256"]:
            continue
        if (stat.st_size, stat.st_mtime_ns) == (size, time):
            speaker = track.record["speaker_id"]
            found.problems.append(
                f"{speaker}: its recording {path} has the SHA-256 {digest[:16]}…, recorded is another"
            )
        else:
            found.changed += 1
    return found


def _recorded_files(root: Path, session_id: str) -> Iterator[tuple[Path, int, int]]:
    """Yield path, size and time of the files that the build of a session read."""
    try:
        document = json.loads(SessionPaths(root, session_id).record.read_text(encoding="utf-8"))
        entries = list(document["stat"])
    except (OSError, ValueError, KeyError, TypeError):
        return
    for entry in entries:
        match entry:
            case [str(path), int(size), int(time)] if Path(path).is_absolute():
                yield Path(path), size, time
