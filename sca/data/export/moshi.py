"""moshi-finetune: a stereo WAV a side, its words in a JSON file beside it, and a JSONL that lists them.

Left is the speaker, the one to be learned (SPEAKER_MAIN); right is who it hears. Paths are relative to the JSONL.
Format: kyutai-labs/moshi-finetune, README "Prepare your dataset" and annotate.py.
"""

import wave
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from sca.data.duplex.storage.reader import DatasetReader
from sca.data.duplex.storage.tracks import StoredTrack, has_transcript
from sca.data.export.base import Made, Shard, file_name, packed
from sca.data.export.tracks import blocks, samples_of
from sca.data.runs.files import atomic_write, write_json, write_json_lines
from sca.units import SPOKEN_HZ

__all__ = ["LIST_FILE", "MAIN", "OTHER", "MoshiFormat"]

LIST_FILE = "data.jsonl"
MAIN, OTHER = "SPEAKER_MAIN", "SPEAKER_OTHER"


class MoshiFormat:
    """See `Format`."""

    name = "moshi"

    def plan(self, source: DatasetReader, shard_bytes: int) -> list[Shard]:
        """See `Format`."""
        sizes = {}
        for session_id in source.sessions:
            tracks = source.tracks(session_id)
            sides = sum(map(has_transcript, tracks)) * (len(tracks) - 1)
            sizes[session_id] = sides * 4 * samples_of(tracks[0]) if tracks else 0
        packs = packed(source.sessions, sizes.__getitem__, shard_bytes)
        return [Shard(f"audio/{n:05d}", "storage", tuple(names)) for n, names in enumerate(packs)]

    def make(self, source: DatasetReader, root: Path, shard: Shard) -> Made:
        """See `Format`."""
        paths: list[Path] = []
        lines: list[dict[str, Any]] = []
        for session_id in shard.sessions:
            for speaker, listener in permutations(source.tracks(session_id), 2):
                if not has_transcript(speaker):
                    continue
                name = file_name(session_id, speaker.record["speaker_id"], listener.record["speaker_id"])
                wav = root / shard.name / f"{name}.wav"
                _write_stereo(wav, speaker, listener)
                write_json(wav.with_suffix(".json"), {"alignments": alignments(speaker.record, listener.record)})
                paths += [wav, wav.with_suffix(".json")]
                lines.append({"path": str(wav.relative_to(root)), "duration": samples_of(speaker) / SPOKEN_HZ})
        return Made.of(root, shard, len(lines), sum(line["duration"] for line in lines), paths, lines)

    def finish(self, source: DatasetReader, root: Path, made: Sequence[Made]) -> dict[str, Any]:
        """See `Format`."""
        write_json_lines(root / LIST_FILE, (line for one in made for line in one.lines))
        return {}


def alignments(speaker: dict[str, Any], listener: dict[str, Any]) -> list[list[Any]]:
    """`[[word, [start_s, end_s], who], …]` of both tracks, by start: readers search it."""
    found = [
        [word["word"], [word["start"], word["end"]], who]
        for record, who in ((speaker, MAIN), (listener, OTHER))
        for word in record["words"]
    ]
    return sorted(found, key=lambda one: one[1][0])


def _write_stereo(path: Path, left: StoredTrack, right: StoredTrack) -> None:
    # Through Python's own files: what a full disk does to libsndfile's writing has no reason in it.
    with atomic_write(path) as temporary, wave.open(str(temporary), "wb") as out:
        out.setparams((2, 2, SPOKEN_HZ, 0, "NONE", "not compressed"))
        for one, other in zip(blocks(left), blocks(right), strict=True):
            out.writeframes(np.stack((one, other), axis=1).astype("<i2").tobytes())
