"""moshi-finetune: a stereo WAV file and a JSON file of words per side of a conversation, their list, and arguments.

The left channel is the speaker to learn (SPEAKER_MAIN), the right channel the other speaker, or the mix of all others,
as in the rows. Paths in the list are relative to it. If there are splits beside `train`, each has a list of its own.
Format: kyutai-labs/moshi-finetune, README "Prepare your dataset" and annotate.py.
"""

import wave
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
from typing_extensions import override

from sca.data.datasets.card import CardConfig
from sca.data.duplex.audio.stored_samples import mix
from sca.data.duplex.model.heard import heard_groups
from sca.data.duplex.storage.build_settings import settings_of
from sca.data.duplex.storage.reader import DatasetReader
from sca.data.duplex.storage.tracks import StoredTrack
from sca.data.export.base import STORAGE, Exporter, Shard, ShardResult, join_file_name, pack, shard_result
from sca.data.export.moshi_args import moshi_args
from sca.data.export.tracks import track_blocks, track_samples
from sca.data.runs.files import atomic_write, write_json, write_json_lines
from sca.units import SPOKEN_HZ, samples_to_seconds

__all__ = ["ARGS_FILE", "LIST_FILE", "MAIN", "OTHER", "MoshiExporter"]

LIST_FILE = "data.jsonl"
ARGS_FILE = "train.yaml"
MAIN, OTHER = "SPEAKER_MAIN", "SPEAKER_OTHER"

_SPLITS = _TRAIN, _VALIDATION = "train", "validation"

_BYTES_PER_FRAME = 4  # two channels of 16 bits

Alignment = tuple[str, tuple[float, float], str]
"""A word, its start and end in seconds, and its speaker."""


class _ListLine(TypedDict):
    path: str
    duration: float
    split: str


class MoshiExporter(Exporter):
    """Writes `audio/*/*.wav`, the words beside each file, `data.jsonl`, the list of each split, and `train.yaml`."""

    index_files = (LIST_FILE, ARGS_FILE, *(f"{split}.jsonl" for split in _SPLITS))

    @override
    def plan(self, dataset: DatasetReader, shard_bytes: int) -> list[Shard]:
        sizes = {session_id: _wav_bytes(dataset, session_id) for session_id in dataset.sessions}
        groups = pack(dataset.sessions, sizes.__getitem__, shard_bytes)
        return [Shard(f"audio/{n:05d}", STORAGE, tuple(sessions)) for n, sessions in enumerate(groups)]

    @override
    def write_shard(self, dataset: DatasetReader, root: Path, shard: Shard) -> ShardResult:
        paths: list[Path] = []
        lines: list[_ListLine] = []
        for session_id in shard.sessions:
            # A session without rows is in no split; its recordings are good for training.
            split = dataset.row_ranges[session_id].split if session_id in dataset.row_ranges else _TRAIN
            for speaker, listeners in _sides(dataset, session_id):
                # All others are not named: there can be many, and the name of a file is short.
                heard = [listeners[0].record["speaker_id"]] if len(listeners) == 1 else []
                name = join_file_name(session_id, speaker.record["speaker_id"], *heard)
                wav = root / shard.name / f"{name}.wav"
                _write_stereo(wav, speaker, listeners)
                write_json(wav.with_suffix(".json"), {"alignments": _alignments(speaker, listeners)})
                paths += [wav, wav.with_suffix(".json")]
                duration = samples_to_seconds(track_samples(speaker), SPOKEN_HZ)
                lines.append({"path": str(wav.relative_to(root)), "duration": duration, "split": split})
        audio_s = sum(line["duration"] for line in lines)
        return shard_result(root, shard, items=len(lines), audio_s=audio_s, paths=paths, lines=lines)

    @override
    def finish(self, dataset: DatasetReader, root: Path, results: Sequence[ShardResult]) -> Sequence[CardConfig]:
        lines = [line for result in results for line in result.lines]
        _write_list(root / LIST_FILE, lines)
        lists = {split: [line for line in lines if line["split"] == split] for split in dataset.splits}
        if len(lists) > 1:
            for split, found in lists.items():
                _write_list(root / f"{split}.jsonl", found)
        with atomic_write(root / ARGS_FILE) as temporary:
            temporary.write_text(_args(lists if len(lists) > 1 else {"data": lines}), encoding="utf-8")
        return ()

    @override
    def usage(self, splits: Sequence[str]) -> str:
        return """
For moshi-finetune: `data.jsonl` lists all recordings, and `train.yaml` has the arguments of its `train.py`. Start it in
this folder: `PYTHONPATH=MOSHI_FINETUNE torchrun --nproc-per-node 1 -m train train.yaml`. The left channel is the speaker
to learn (`SPEAKER_MAIN`), the right channel the other speaker or speakers (`SPEAKER_OTHER`); every conversation is there
once per side. The words are in the JSON file beside each WAV file. The export does not contain the grid.
"""


def _write_list(path: Path, lines: Sequence[Mapping[str, object]]) -> None:
    write_json_lines(path, ({"path": line["path"], "duration": line["duration"]} for line in lines))


def _args(lists: Mapping[str, Sequence[Mapping[str, object]]]) -> str:
    """Return the arguments of moshi-finetune for the lists of the splits, or for one list of all recordings."""
    named = {
        f"{name}.jsonl": [float(str(line["duration"])) for line in lines] for name, lines in lists.items() if lines
    }
    evaluation = f"{_VALIDATION}.jsonl" if f"{_VALIDATION}.jsonl" in named else ""
    train = next((name for name in named if name != evaluation), LIST_FILE)
    return moshi_args(ARGS_FILE, train, named.get(train, ()), evaluation, named.get(evaluation, ()))


def _sides(dataset: DatasetReader, session_id: str) -> list[tuple[StoredTrack, list[StoredTrack]]]:
    """Return each speaker of a session with those that are heard, as in the rows."""
    tracks = {track.record["speaker_id"]: track for track in dataset.tracks(session_id)}
    mixes = settings_of(dataset.build_settings).duplex.others == "mix"
    return [
        (speaker, [tracks[other] for other in heard])
        for name, speaker in tracks.items()
        for heard in heard_groups(name, list(tracks), mixes=mixes)
        if speaker.has_transcript
    ]


def _wav_bytes(dataset: DatasetReader, session_id: str) -> int:
    """Return the size of the WAV files of a session."""
    return sum(_BYTES_PER_FRAME * track_samples(speaker) for speaker, _ in _sides(dataset, session_id))


def _alignments(speaker: StoredTrack, listeners: Sequence[StoredTrack]) -> list[Alignment]:
    """Return the words of all tracks, sorted by start, because moshi-finetune searches them by bisection."""
    alignments: list[Alignment] = [
        (word["word"], (word["start"], word["end"]), label)
        for track, label in ((speaker, MAIN), *((listener, OTHER) for listener in listeners))
        for word in track.record["words"]
    ]
    return sorted(alignments, key=lambda alignment: alignment[1][0])


def _write_stereo(path: Path, left: StoredTrack, right: Sequence[StoredTrack]) -> None:
    # Not through libsndfile: its errors do not contain the reason, such as a full disk.
    with atomic_write(path) as temporary, wave.open(str(temporary), "wb") as out:
        out.setparams((2, 2, SPOKEN_HZ, 0, "NONE", "not compressed"))
        for left_block, *heard in zip(track_blocks(left), *map(track_blocks, right), strict=True):
            out.writeframes(np.stack((left_block, mix(heard)), axis=1).astype("<i2").tobytes())
