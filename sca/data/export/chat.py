"""Chat: message lists with audio files, for trainers of half-duplex models, one JSONL file per split of rows.

    {"messages": [{"role": "system", "content": "…"}, {"role": "user", "content": "<audio>"},
                  {"role": "assistant", "content": "…"}], "audios": ["audio/train-00000/000000000-00-00.wav"]}

Every `<audio>` is the next file of `audios`, WAV at 16 kHz; paths are relative to the folder. `dataset_info.json`
describes the files to LLaMA-Factory. Formats: "messages" with "audios" of ms-swift (Custom-dataset.md), "sharegpt" of
LLaMA-Factory (data/README.md, data/converter.py): users and assistants alternate, and the first message is the user's.
"""

import wave
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.data.datasets.card import CardConfig
from sca.data.duplex.audio.stored_samples import mixed_samples
from sca.data.duplex.model.heard import heard_speakers
from sca.data.duplex.model.records import RowRecord
from sca.data.duplex.storage.build_settings import settings_of
from sca.data.duplex.storage.reader import DatasetReader
from sca.data.duplex.storage.tracks import StoredTrack
from sca.data.export.base import Exporter, Shard, ShardResult, pack, shard_result
from sca.data.export.chat_turns import Exchange, conversations, heard_spans
from sca.data.runs.files import atomic_write, write_json, write_json_lines
from sca.units import HEARD_HZ, seconds_to_samples

__all__ = ["AUDIO_TAG", "INFO_FILE", "ChatExporter"]

AUDIO_TAG = "<audio>"
INFO_FILE = "dataset_info.json"

_BYTES_PER_SAMPLE = 2
_SPLITS = ("train", "validation")


class ChatExporter(Exporter):
    """Writes `audio/*/*.wav`, `SPLIT.jsonl` for every split with conversations, and `dataset_info.json`."""

    index_files = (INFO_FILE, *(f"{split}.jsonl" for split in _SPLITS))

    @override
    def plan(self, dataset: DatasetReader, shard_bytes: int) -> list[Shard]:
        row_bytes = _BYTES_PER_SAMPLE * dataset.grid.heard_samples
        shards = []
        for split in dataset.splits:
            if dataset.count(split):
                sizes = [n * row_bytes for n in dataset.table(split).column("n_chunks").to_pylist()]
                for n, rows in enumerate(pack(range(len(sizes)), sizes.__getitem__, shard_bytes)):
                    shards.append(Shard(f"audio/{split}-{n:05d}", split, first=rows[0], last=rows[-1] + 1))
        return shards

    @override
    def write_shard(self, dataset: DatasetReader, root: Path, shard: Shard) -> ShardResult:
        prompt = settings_of(dataset.build_settings).duplex.system_prompt
        paths: list[Path] = []
        lines: list[Mapping[str, object]] = []
        seconds = 0.0
        for index, row, heard in _rows(dataset, shard):
            start_s = row["start_chunk"] * float(dataset.grid.chunk_s)
            spans = heard_spans([t.record for t in heard], start_s, row["n_chunks"] * float(dataset.grid.chunk_s))
            for number, exchanges in enumerate(conversations(row, spans, dataset.grid)):
                files = [root / shard.name / f"{index:09d}-{number:02d}-{n:02d}.wav" for n in range(len(exchanges))]
                for file, exchange in zip(files, exchanges, strict=True):
                    sound = _sound(heard, start_s + exchange.start_s, start_s + exchange.end_s)
                    _write_wav(file, sound)
                    seconds += len(sound) / HEARD_HZ
                paths += files
                names = [file.relative_to(root).as_posix() for file in files]
                lines.append({"split": shard.split, "messages": _messages(prompt, exchanges), "audios": names})
        return shard_result(root, shard, items=len(lines), audio_s=seconds, paths=paths, lines=lines)

    @override
    def finish(self, dataset: DatasetReader, root: Path, results: Sequence[ShardResult]) -> Sequence[CardConfig]:
        lines = [line for result in results for line in result.lines]
        splits = [split for split in dataset.splits if any(line["split"] == split for line in lines)]
        for split in splits:
            chats = (line for line in lines if line["split"] == split)
            write_json_lines(root / f"{split}.jsonl", ({k: chat[k] for k in ("messages", "audios")} for chat in chats))
        write_json(root / INFO_FILE, {f"sca_{split}": _info(f"{split}.jsonl") for split in splits})
        return [CardConfig("default", {split: f"{split}.jsonl" for split in splits}, default=True)] if splits else []

    @override
    def usage(self, splits: Sequence[str]) -> str:
        return """
Each line of a JSONL file is a conversation: `messages`, and `audios`, the files that its `<audio>` tags stand for. LLaMA-Factory:
`dataset_dir: PATH`, `dataset: sca_train`. ms-swift: `--dataset train.jsonl` in this folder. `datasets`:

```python
import datasets

chats = datasets.load_dataset("json", data_files="PATH/train.jsonl", split="train")
```

The export does not contain the grid: nobody interrupts or listens while speaking, and backchannels are left out.
"""


def _rows(dataset: DatasetReader, shard: Shard) -> Iterator[tuple[int, RowRecord, list[StoredTrack]]]:
    """Yield each row of a shard with its index and the tracks that it hears."""
    session_id, tracks = "", dict[str, StoredTrack]()
    for index, row in enumerate(dataset.rows(shard.split, shard.first, shard.last), shard.first):
        if row["session_id"] != session_id:
            session_id = row["session_id"]
            tracks = {track.record["speaker_id"]: track for track in dataset.tracks(session_id)}
        names = heard_speakers(row["listener"], row["speaker"], list(tracks))
        yield index, row, [tracks[name] for name in names]


def _messages(prompt: str, exchanges: Sequence[Exchange]) -> list[dict[str, str]]:
    messages = [{"role": "system", "content": prompt}] if prompt else []
    for exchange in exchanges:
        messages.append({"role": "user", "content": AUDIO_TAG})
        messages.append({"role": "assistant", "content": exchange.text})
    return messages


def _sound(tracks: Sequence[StoredTrack], start_s: float, end_s: float) -> NDArray[np.int16]:
    """Read the mix of stored tracks from a start to an end in seconds of the session."""
    start = seconds_to_samples(start_s, HEARD_HZ)
    return mixed_samples(
        [track.heard for track in tracks], start, seconds_to_samples(end_s, HEARD_HZ) - start, HEARD_HZ
    )


def _write_wav(path: Path, samples: NDArray[np.int16]) -> None:
    # Not through libsndfile: its errors do not contain the reason, such as a full disk.
    with atomic_write(path) as temporary, wave.open(str(temporary), "wb") as out:
        out.setparams((1, _BYTES_PER_SAMPLE, HEARD_HZ, 0, "NONE", "not compressed"))
        out.writeframes(samples.astype("<i2").tobytes())


def _info(file: str) -> dict[str, object]:
    """Describe a file to LLaMA-Factory."""
    return {
        "file_name": file,
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "audios": "audios"},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
            "system_tag": "system",
        },
    }
