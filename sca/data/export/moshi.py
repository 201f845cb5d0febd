"""moshi-finetune: a stereo WAV file per side of a conversation, a JSON file of its words, and a JSONL list of both.

The left channel is the speaker to learn (SPEAKER_MAIN), the right channel the other speaker. Paths in the list
are relative to it.
Format: kyutai-labs/moshi-finetune, README "Prepare your dataset" and annotate.py.
"""

import wave
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import TypedDict

import numpy as np
from typing_extensions import override

from sca.data.datasets.card import CardConfig
from sca.data.duplex.storage.reader import DatasetReader
from sca.data.duplex.storage.tracks import StoredTrack
from sca.data.export.base import STORAGE, Exporter, Shard, ShardResult, join_file_name, pack, shard_result
from sca.data.export.tracks import track_blocks, track_samples
from sca.data.runs.files import atomic_write, write_json, write_json_lines
from sca.units import SPOKEN_HZ, samples_to_seconds

__all__ = ["LIST_FILE", "MAIN", "OTHER", "MoshiExporter"]

LIST_FILE = "data.jsonl"
MAIN, OTHER = "SPEAKER_MAIN", "SPEAKER_OTHER"

_BYTES_PER_FRAME = 4  # two channels of 16 bits

Alignment = tuple[str, tuple[float, float], str]
"""A word, its start and end in seconds, and its speaker."""


class _ListLine(TypedDict):
    path: str
    duration: float


class MoshiExporter(Exporter):
    """Writes `audio/*/*.wav`, the words beside each file, and `data.jsonl`."""

    index_files = (LIST_FILE,)

    @override
    def plan(self, dataset: DatasetReader, shard_bytes: int) -> list[Shard]:
        sizes = {session_id: _wav_bytes(dataset.tracks(session_id)) for session_id in dataset.sessions}
        groups = pack(dataset.sessions, sizes.__getitem__, shard_bytes)
        return [Shard(f"audio/{n:05d}", STORAGE, tuple(sessions)) for n, sessions in enumerate(groups)]

    @override
    def write_shard(self, dataset: DatasetReader, root: Path, shard: Shard) -> ShardResult:
        paths: list[Path] = []
        lines: list[_ListLine] = []
        for session_id in shard.sessions:
            for speaker, listener in permutations(dataset.tracks(session_id), 2):
                if not speaker.has_transcript:
                    continue
                name = join_file_name(session_id, speaker.record["speaker_id"], listener.record["speaker_id"])
                wav = root / shard.name / f"{name}.wav"
                _write_stereo(wav, speaker, listener)
                write_json(wav.with_suffix(".json"), {"alignments": _alignments(speaker, listener)})
                paths += [wav, wav.with_suffix(".json")]
                duration = samples_to_seconds(track_samples(speaker), SPOKEN_HZ)
                lines.append({"path": str(wav.relative_to(root)), "duration": duration})
        audio_s = sum(line["duration"] for line in lines)
        return shard_result(root, shard, items=len(lines), audio_s=audio_s, paths=paths, lines=lines)

    @override
    def finish(self, dataset: DatasetReader, root: Path, results: Sequence[ShardResult]) -> Sequence[CardConfig]:
        write_json_lines(root / LIST_FILE, (line for result in results for line in result.lines))
        return ()

    @override
    def usage(self, splits: Sequence[str]) -> str:
        return """
For moshi-finetune: `data.train_data` is `data.jsonl`. The left channel is the speaker to learn (`SPEAKER_MAIN`), the
right channel the other speaker (`SPEAKER_OTHER`); every conversation is there once per side. The words are in the JSON
file beside each WAV file. The export does not contain the grid.
"""


def _wav_bytes(tracks: Sequence[StoredTrack]) -> int:
    """Return the size of the WAV files of a session."""
    if not tracks:
        return 0
    sides = sum(track.has_transcript for track in tracks) * (len(tracks) - 1)
    return sides * _BYTES_PER_FRAME * track_samples(tracks[0])


def _alignments(speaker: StoredTrack, listener: StoredTrack) -> list[Alignment]:
    """Return the words of both tracks, sorted by start, because moshi-finetune searches them by bisection."""
    alignments: list[Alignment] = [
        (word["word"], (word["start"], word["end"]), label)
        for track, label in ((speaker, MAIN), (listener, OTHER))
        for word in track.record["words"]
    ]
    return sorted(alignments, key=lambda alignment: alignment[1][0])


def _write_stereo(path: Path, left: StoredTrack, right: StoredTrack) -> None:
    # Not through libsndfile: its errors do not contain the reason, such as a full disk.
    with atomic_write(path) as temporary, wave.open(str(temporary), "wb") as out:
        out.setparams((2, 2, SPOKEN_HZ, 0, "NONE", "not compressed"))
        for left_block, right_block in zip(track_blocks(left), track_blocks(right), strict=True):
            out.writeframes(np.stack((left_block, right_block), axis=1).astype("<i2").tobytes())
