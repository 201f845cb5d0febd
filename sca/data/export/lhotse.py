"""lhotse: one recording per session with one channel per speaker, and cuts with supervisions and word alignments.

The manifests are written directly, so lhotse (which needs torch) does not have to be installed. The audio is the stored
24 kHz track, unchanged. Paths are relative to the folder: `CutSet.from_file(...).with_recording_path_prefix(folder)`.
Format: lhotse 1.33, `MultiCut`, `Recording`, `SupervisionSegment` and `AlignmentItem` as their `to_dict` writes them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from typing_extensions import override

from sca.data.datasets.card import CardConfig
from sca.data.duplex.model.records import DroppedRecord, SegmentRecord, WordRecord
from sca.data.duplex.storage.reader import DatasetReader
from sca.data.duplex.storage.tracks import StoredTrack
from sca.data.export.base import STORAGE, Exporter, Shard, ShardResult, join_file_name, pack, shard_result
from sca.data.export.tracks import track_blocks, track_samples
from sca.data.runs.files import atomic_write, write_json_lines
from sca.units import SPOKEN_HZ, samples_to_seconds

__all__ = ["CUTS_FILE", "LhotseExporter"]

CUTS_FILE = "cuts.jsonl.gz"

AlignmentItem = tuple[str, float, float, None]
"""A word, its start and its duration in seconds, and no score."""


class _Source(TypedDict):
    type: str
    channels: list[int]
    source: str


class _Recording(TypedDict):
    id: str
    sources: list[_Source]
    sampling_rate: int
    num_samples: int
    duration: float
    channel_ids: list[int]


class _Supervision(TypedDict):
    id: str
    recording_id: str
    start: float
    duration: float
    channel: int
    text: str
    speaker: str
    alignment: dict[str, list[AlignmentItem]]


class _Cut(TypedDict):
    id: str
    start: float
    duration: float
    channel: list[int]
    supervisions: list[_Supervision]
    recording: _Recording
    type: str


class LhotseExporter(Exporter):
    """Writes `recordings/*/*.flac` (or .wav, as stored) and `cuts.jsonl.gz`."""

    index_files = (CUTS_FILE,)

    @override
    def plan(self, dataset: DatasetReader, shard_bytes: int) -> list[Shard]:
        sizes = {name: sum(track.spoken.size for track in dataset.tracks(name)) for name in dataset.sessions}
        groups = pack(dataset.sessions, sizes.__getitem__, shard_bytes)
        return [Shard(f"recordings/{n:05d}", STORAGE, tuple(sessions)) for n, sessions in enumerate(groups)]

    @override
    def write_shard(self, dataset: DatasetReader, root: Path, shard: Shard) -> ShardResult:
        paths: list[Path] = []
        cuts: list[_Cut] = []
        for session_id in shard.sessions:
            tracks = dataset.tracks(session_id)
            files = [_write_track(root / shard.name, track) for track in tracks]
            paths += files
            names = [str(file.relative_to(root)) for file in files]
            cuts.append(_cut(session_id, tracks, names, _supervisions(dataset, session_id, tracks)))
        audio_s = sum(cut["duration"] for cut in cuts)
        return shard_result(root, shard, items=len(cuts), audio_s=audio_s, paths=paths, lines=cuts)

    @override
    def finish(self, dataset: DatasetReader, root: Path, results: Sequence[ShardResult]) -> Sequence[CardConfig]:
        write_json_lines(root / CUTS_FILE, (line for result in results for line in result.lines))
        return ()

    @override
    def usage(self, splits: Sequence[str]) -> str:
        return """
```python
import lhotse

cuts = lhotse.CutSet.from_file("PATH/cuts.jsonl.gz").with_recording_path_prefix("PATH")
```

One cut per conversation, one channel per speaker (24 kHz), one supervision per segment with its words aligned. The
export does not contain the grid.
"""


def _write_track(folder: Path, track: StoredTrack) -> Path:
    """Write the stored audio of a track to a file and return its path."""
    for _ in track_blocks(track):  # decoding it once proves that it is intact
        pass
    suffix = "wav" if track.spoken[:4].to_pybytes() == b"RIFF" else "flac"
    path = folder / f"{join_file_name(track.record['session_id'], track.record['speaker_id'])}.{suffix}"
    with atomic_write(path) as temporary, temporary.open("wb") as out:
        out.write(track.spoken)
    return path


def _cut(
    session_id: str, tracks: Sequence[StoredTrack], files: Sequence[str], supervisions: list[_Supervision]
) -> _Cut:
    samples = track_samples(tracks[0])
    duration, channels = samples_to_seconds(samples, SPOKEN_HZ), list(range(len(tracks)))
    return {
        "id": session_id,
        "start": 0.0,
        "duration": duration,
        "channel": channels,
        "supervisions": supervisions,
        "recording": {
            "id": session_id,
            "sources": [{"type": "file", "channels": [n], "source": file} for n, file in enumerate(files)],
            "sampling_rate": SPOKEN_HZ,
            "num_samples": samples,
            "duration": duration,
            "channel_ids": channels,
        },
        "type": "MultiCut",
    }


def _supervisions(dataset: DatasetReader, session_id: str, tracks: Sequence[StoredTrack]) -> list[_Supervision]:
    supervisions = [
        _supervision(f"{session_id}-{track.record['speaker_id']}-{n:05d}", channel, track, segment)
        for channel, track in enumerate(tracks)
        for n, segment in enumerate(_segments(dataset, session_id, track.record["speaker_id"]))
    ]
    return sorted(supervisions, key=lambda supervision: supervision["start"])


def _segments(dataset: DatasetReader, session_id: str, speaker: str) -> list[SegmentRecord | DroppedRecord]:
    """Return all segments of a speaker in the order of their words, including those that were dropped from the rows."""
    location = dataset.row_ranges.get(session_id)
    rows = dataset.rows(location.split, location.first, location.last) if location is not None else ()
    rows_of_speaker = [row for row in rows if row["speaker"] == speaker]
    # With three or more speakers, the rows for every listener contain the same words, divided differently: one listener
    # suffices.
    segments = [
        segment
        for row in rows_of_speaker
        if row["listener"] == rows_of_speaker[0]["listener"]
        for segment in (*row["segments"], *row["dropped"])
    ]
    return sorted((s for s in segments if s["n_words"]), key=lambda segment: segment["first_word"])


def _supervision(
    supervision_id: str, channel: int, track: StoredTrack, segment: SegmentRecord | DroppedRecord
) -> _Supervision:
    words = track.record["words"][segment["first_word"] :][: segment["n_words"]]
    start, end = words[0]["start"], max(word["end"] for word in words)
    return {
        "id": supervision_id,
        "recording_id": track.record["session_id"],
        "start": start,
        "duration": round(end - start, 8),
        "channel": channel,
        "text": segment["text"],
        "speaker": track.record["speaker_id"],
        "alignment": {"word": [_alignment_item(word) for word in words]},
    }


def _alignment_item(word: WordRecord) -> AlignmentItem:
    return word["word"], word["start"], round(word["end"] - word["start"], 8), None
