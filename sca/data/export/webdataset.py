"""WebDataset: one sample a row that carries all it needs, in tar files to be read from one end to the other.

`KEY.json` is the row, `KEY.input_ids.npy` its tokens, `KEY.heard.flac` and `KEY.spoken.flac` its chunks of sound (zeros past the
recording's end), `KEY.codes.npy` its codec targets where there are any. Both sides of a conversation carry their sound, so it is
stored twice: that is what reading in a stream costs.
"""

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from sca.data.duplex.audio.stored_samples import read_samples
from sca.data.duplex.storage.detect import SESSIONS_FILE
from sca.data.duplex.storage.reader import DatasetReader
from sca.data.duplex.storage.tracks import StoredTrack, codes_of
from sca.data.export.base import Made, Shard, packed
from sca.data.runs.files import atomic_write
from sca.units import HEARD_HZ, SPOKEN_HZ

__all__ = ["WebDatasetFormat"]


class WebDatasetFormat:
    """See `Format`."""

    name = "webdataset"

    def plan(self, source: DatasetReader, shard_bytes: int) -> list[Shard]:
        """See `Format`. A row is taken for half of its samples' bytes, about what FLAC makes of speech."""
        a_chunk = source.grid.heard_samples + source.grid.spoken_samples
        shards = []
        for split in source.splits:
            if not source.count(split):
                continue
            sizes = [n * a_chunk for n in source.table(split).column("n_chunks").to_pylist()]
            packs = packed(range(len(sizes)), sizes.__getitem__, shard_bytes)
            shards += [Shard(f"{split}-{n:06d}", split, (), rows[0], rows[-1] + 1) for n, rows in enumerate(packs)]
        return shards

    def make(self, source: DatasetReader, root: Path, shard: Shard) -> Made:
        """See `Format`."""
        path = root / f"{shard.name}.tar"
        seconds = 0.0
        open_session, tracks = "", {}
        with atomic_write(path) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
            for at, row in enumerate(source.rows(shard.split, shard.first, shard.last), shard.first):
                if row["session_id"] != open_session:
                    open_session = row["session_id"]
                    tracks = {track.record["speaker_id"]: track for track in source.tracks(open_session)}
                for name, data in _sample(row, tracks, source):
                    member = tarfile.TarInfo(f"{at:09d}.{name}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
                seconds += row["n_chunks"] * float(source.grid.chunk_s)
        return Made.of(root, shard, shard.last - shard.first, seconds, [path])

    def finish(self, source: DatasetReader, root: Path, made: Sequence[Made]) -> dict[str, Any]:
        """See `Format`. Writes the words of whole sessions beside the shards: what the rows are held against."""
        with atomic_write(root / SESSIONS_FILE) as temporary, temporary.open("w", encoding="utf-8") as out:
            for session_id in source.sessions:
                for track in source.tracks(session_id):
                    out.write(json.dumps(track.record, ensure_ascii=False) + "\n")
        rows = [{"split": split, "path": f"{split}-*.tar"} for split in source.splits]
        return {"configs": [{"config_name": "default", "default": True, "data_files": rows}]}


def _sample(row: dict[str, Any], tracks: dict[str, StoredTrack], source: DatasetReader) -> Iterator[tuple[str, bytes]]:
    ids = np.asarray(row["input_ids"], np.int32)
    # Left in its place, empty, so that the columns keep their order.
    yield "json", json.dumps({**row, "input_ids": None}, ensure_ascii=False).encode()
    npy = io.BytesIO()
    np.save(npy, ids)
    yield "input_ids.npy", npy.getvalue()
    first, n, grid = row["start_chunk"], row["n_chunks"], source.grid
    yield "heard.flac", _flac(tracks[row["listener"]].heard, first, n, grid.heard_samples, HEARD_HZ)
    codes = codes_of(tracks[row["speaker"]], first, n)
    if codes is not None:
        npy = io.BytesIO()
        np.save(npy, codes)
        yield "codes.npy", npy.getvalue()
    yield "spoken.flac", _flac(tracks[row["speaker"]].spoken, first, n, grid.spoken_samples, SPOKEN_HZ)


def _flac(audio: Any, first: int, n_chunks: int, chunk_samples: int, rate_hz: int) -> bytes:
    samples = np.zeros(n_chunks * chunk_samples, np.int16)
    found = read_samples(audio, first * chunk_samples, len(samples), rate_hz)
    samples[: len(found)] = found
    out = io.BytesIO()
    soundfile.write(out, samples, rate_hz, "PCM_16", format="FLAC")
    return out.getvalue()
