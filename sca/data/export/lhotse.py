"""lhotse: a recording a session with a channel a speaker, and cuts with supervisions and word alignments.

Written as plain manifests, so lhotse (and torch, which it brings) need not be installed. Audio is the stored 24 kHz track, byte for
byte. Paths are relative to the folder: `CutSet.from_file(...).with_recording_path_prefix(folder)`.
Format: lhotse 1.33, `MultiCut`, `Recording`, `SupervisionSegment` and `AlignmentItem` as their `to_dict` writes them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sca.data.duplex.storage.reader import DatasetReader
from sca.data.duplex.storage.tracks import StoredTrack
from sca.data.export.base import Made, Shard, file_name, packed
from sca.data.export.tracks import blocks, samples_of
from sca.data.runs.files import atomic_write, write_json_lines
from sca.units import SPOKEN_HZ

__all__ = ["CUTS_FILE", "LhotseFormat"]

CUTS_FILE = "cuts.jsonl.gz"


class LhotseFormat:
    """See `Format`."""

    name = "lhotse"

    def plan(self, source: DatasetReader, shard_bytes: int) -> list[Shard]:
        """See `Format`."""
        sizes = {name: sum(track.spoken.size for track in source.tracks(name)) for name in source.sessions}
        packs = packed(source.sessions, sizes.__getitem__, shard_bytes)
        return [Shard(f"recordings/{n:05d}", "storage", tuple(names)) for n, names in enumerate(packs)]

    def make(self, source: DatasetReader, root: Path, shard: Shard) -> Made:
        """See `Format`."""
        paths: list[Path] = []
        cuts: list[dict[str, Any]] = []
        for session_id in shard.sessions:
            tracks = source.tracks(session_id)
            files = [_write_track(root / shard.name, track) for track in tracks]
            paths += files
            cuts.append(_cut(source, session_id, tracks, [str(file.relative_to(root)) for file in files]))
        return Made.of(root, shard, len(cuts), sum(cut["duration"] for cut in cuts), paths, cuts)

    def finish(self, source: DatasetReader, root: Path, made: Sequence[Made]) -> dict[str, Any]:
        """See `Format`."""
        write_json_lines(root / CUTS_FILE, (line for one in made for line in one.lines))
        return {}


def _write_track(folder: Path, track: StoredTrack) -> Path:
    for _ in blocks(track):  # decodes to its end, or this raises
        pass
    kind = "wav" if track.spoken[:4].to_pybytes() == b"RIFF" else "flac"
    path = folder / f"{file_name(track.record['session_id'], track.record['speaker_id'])}.{kind}"
    with atomic_write(path) as temporary, temporary.open("wb") as out:
        out.write(track.spoken)
    return path


def _cut(source: DatasetReader, session_id: str, tracks: Sequence[StoredTrack], files: Sequence[str]) -> dict[str, Any]:
    samples = samples_of(tracks[0])
    seconds, channels = samples / SPOKEN_HZ, list(range(len(tracks)))
    words = {track.record["speaker_id"]: track.record["words"] for track in tracks}
    supervisions = [
        _supervision(session_id, n, channel, speaker, piece, words[speaker][piece["first_word"] :][: piece["n_words"]])
        for channel, speaker in enumerate(words)
        for n, piece in enumerate(_pieces(source, session_id, speaker))
    ]
    return {
        "id": session_id,
        "start": 0.0,
        "duration": seconds,
        "channel": channels,
        "supervisions": sorted(supervisions, key=lambda one: one["start"]),
        "recording": {
            "id": session_id,
            "sources": [{"type": "file", "channels": [n], "source": file} for n, file in enumerate(files)],
            "sampling_rate": SPOKEN_HZ,
            "num_samples": samples,
            "duration": seconds,
            "channel_ids": channels,
        },
        "type": "MultiCut",
    }


def _pieces(source: DatasetReader, session_id: str, speaker: str) -> list[dict[str, Any]]:
    """A speaker's segments in the order of words, those that were left out of the rows too."""
    place = source.rows_of.get(session_id)
    rows = source.rows(place.split, place.first, place.last) if place is not None else ()
    said = [row for row in rows if row["speaker"] == speaker]
    # With three and more speakers every listener has rows of the same words, cut elsewhere: those of one are all of them.
    pieces = [p for row in said if row["listener"] == said[0]["listener"] for p in row["segments"] + row["dropped"]]
    return sorted((p for p in pieces if p["n_words"]), key=lambda piece: int(piece["first_word"]))


def _supervision(
    session_id: str, n: int, channel: int, speaker: str, piece: dict[str, Any], words: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    start, end = words[0]["start"], max(word["end"] for word in words)
    return {
        "id": f"{session_id}-{speaker}-{n:05d}",
        "recording_id": session_id,
        "start": start,
        "duration": round(end - start, 8),
        "channel": channel,
        "text": piece["text"],
        "speaker": speaker,
        "alignment": {
            "word": [[word["word"], word["start"], round(word["end"] - word["start"], 8), None] for word in words]
        },
    }
