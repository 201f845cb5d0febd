"""WebDataset: one self-contained sample per row, in tar files that are read sequentially.

`KEY.json` is the row, `KEY.input_ids.npy` its tokens, `KEY.heard.flac` and `KEY.spoken.flac` the audio of its chunks
(zeros past the end of the recording), `KEY.codes.npy` its codec targets if the data set has any. If a row hears several
speakers, `KEY.heard.flac` is their mix. The rows of all sides of a conversation contain its audio, so it is stored
twice; this is the price of sequential reading.
"""

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from numpy.typing import NDArray
from typing_extensions import override

from sca.data.datasets.card import CardConfig
from sca.data.duplex.audio.stored_samples import mixed_samples
from sca.data.duplex.model.heard import heard_speakers
from sca.data.duplex.model.records import RowRecord
from sca.data.duplex.storage.detect import ROWS_FILE, SESSIONS_FILE
from sca.data.duplex.storage.reader import DatasetReader
from sca.data.duplex.storage.tar_index import index_tar
from sca.data.duplex.storage.tracks import StoredTrack
from sca.data.export.base import Exporter, Shard, ShardResult, pack, shard_result
from sca.data.runs.files import atomic_write
from sca.units import HEARD_HZ, SPOKEN_HZ, Grid

if TYPE_CHECKING:
    from pyarrow import Buffer

__all__ = ["WebDatasetExporter"]


class WebDatasetExporter(Exporter):
    """Writes `SPLIT-*.tar` for every split of rows.

    `sessions.jsonl` has the words of whole sessions, `rows.jsonl` has the place of each row in the tar files.
    """

    index_files = (SESSIONS_FILE, ROWS_FILE)

    @override
    def plan(self, dataset: DatasetReader, shard_bytes: int) -> list[Shard]:
        # FLAC takes about half of the 16-bit samples for speech, so a row counts as one byte per sample.
        chunk_bytes = dataset.grid.heard_samples + dataset.grid.spoken_samples
        shards = []
        for split in dataset.splits:
            if not dataset.count(split):
                continue
            sizes = [n * chunk_bytes for n in dataset.table(split).column("n_chunks").to_pylist()]
            for n, rows in enumerate(pack(range(len(sizes)), sizes.__getitem__, shard_bytes)):
                shards.append(Shard(f"{split}-{n:06d}", split, first=rows[0], last=rows[-1] + 1))
        return shards

    @override
    def write_shard(self, dataset: DatasetReader, root: Path, shard: Shard) -> ShardResult:
        path = root / f"{shard.name}.tar"
        audio_s = 0.0
        session_id = ""
        tracks: dict[str, StoredTrack] = {}
        with atomic_write(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
            for index, row in enumerate(dataset.rows(shard.split, shard.first, shard.last), shard.first):
                if row["session_id"] != session_id:
                    session_id = row["session_id"]
                    tracks = {track.record["speaker_id"]: track for track in dataset.tracks(session_id)}
                heard = [tracks[name] for name in heard_speakers(row["listener"], row["speaker"], list(tracks))]
                for name, data in _sample(row, heard, tracks[row["speaker"]], dataset.grid):
                    member = tarfile.TarInfo(f"{index:09d}.{name}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
                audio_s += row["n_chunks"] * float(dataset.grid.chunk_s)
        return shard_result(root, shard, items=shard.last - shard.first, audio_s=audio_s, paths=[path])

    @override
    def finish(self, dataset: DatasetReader, root: Path, results: Sequence[ShardResult]) -> Sequence[CardConfig]:
        # `sca verify` compares the rows with the words of whole sessions, which the tar files do not contain.
        with atomic_write(root / SESSIONS_FILE) as temporary, temporary.open("w", encoding="utf-8") as out:
            for session_id in dataset.sessions:
                for track in dataset.tracks(session_id):
                    out.write(json.dumps(track.record, ensure_ascii=False) + "\n")
        _write_rows_file(root, dataset.splits, [file.name for result in results for file in result.files])
        return [CardConfig("default", {split: f"{split}-*.tar" for split in dataset.splits}, default=True)]

    @override
    def usage(self, splits: Sequence[str]) -> str:
        split = splits[0] if splits else "train"
        return f"""
```python
import webdataset

rows = webdataset.WebDataset("PATH/{split}-000000.tar", shardshuffle=False).decode()
```

`json` is the row, `input_ids.npy` its tokens, `heard.flac` (16 kHz) and `spoken.flac` (24 kHz) the audio of its chunks.
`sessions.jsonl` has the words of whole conversations. `sca.load("PATH")` reads the rows in any order, `sca verify PATH`
verifies them.
"""


def _write_rows_file(root: Path, splits: Sequence[str], names: Sequence[str]) -> None:
    """Write where each row is, so that `sca.load` reads single rows, also from a URL."""
    with atomic_write(root / ROWS_FILE) as temporary, temporary.open("w", encoding="utf-8") as out:
        for name in names:
            split = next(split for split in splits if name.startswith(f"{split}-"))
            with (root / name).open("rb") as tar_file:
                out.writelines(row.to_line() for row in index_tar(tar_file, name, split))


def _sample(
    row: RowRecord, listeners: Sequence[StoredTrack], speaker: StoredTrack, grid: Grid
) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of each file of a sample."""
    # `input_ids` stays as an empty field, so that the columns keep their order.
    yield "json", json.dumps({**row, "input_ids": None}, ensure_ascii=False).encode()
    yield "input_ids.npy", _npy(np.asarray(row["input_ids"], np.int32))
    first, n_chunks = row["start_chunk"], row["n_chunks"]
    yield "heard.flac", _flac([track.heard for track in listeners], first, n_chunks, grid.heard_samples, HEARD_HZ)
    codes = speaker.chunk_codes(first, n_chunks)
    if codes is not None:
        yield "codes.npy", _npy(codes)
    yield "spoken.flac", _flac([speaker.spoken], first, n_chunks, grid.spoken_samples, SPOKEN_HZ)


def _npy(array: NDArray[np.int32] | NDArray[np.int16]) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def _flac(tracks: "Sequence[Buffer]", first: int, n_chunks: int, chunk_samples: int, rate_hz: int) -> bytes:
    """Encode the chunks `[first, first + n_chunks)` of a stored track, or of the mix of several."""
    samples = np.zeros(n_chunks * chunk_samples, np.int16)
    stored = mixed_samples(tracks, first * chunk_samples, len(samples), rate_hz)
    samples[: len(stored)] = stored
    out = io.BytesIO()
    soundfile.write(out, samples, rate_hz, "PCM_16", format="FLAC")
    return out.getvalue()
