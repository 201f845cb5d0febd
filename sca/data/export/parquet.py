"""Parquet: the same tables as the data set, in files that `datasets`, the hub and every Parquet reader open.

A row group is one track (storage) or some hundred rows, so neither writing nor reading holds more than that.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sca.data.duplex.storage.reader import DatasetReader
from sca.data.duplex.storage.writer import features, iter_rows
from sca.data.export.base import Made, Shard, packed
from sca.data.runs.files import atomic_write
from sca.units import HEARD_HZ

__all__ = ["ParquetFormat"]

_ROWS_A_GROUP = 128


class ParquetFormat:
    """See `Format`."""

    name = "parquet"

    def plan(self, source: DatasetReader, shard_bytes: int) -> list[Shard]:
        """See `Format`."""
        sessions = packed(source.sessions, lambda name: source.sessions[name].stat().st_size, shard_bytes)
        shards = [Shard(f"storage/part-{n:05d}", "storage", tuple(names)) for n, names in enumerate(sessions)]
        for split in source.splits:
            whole = source.count(split)
            groups = range(0, whole, _ROWS_A_GROUP)
            bytes_of = {at: source.table(split).slice(at, _ROWS_A_GROUP).nbytes for at in groups}
            for n, starts in enumerate(packed(groups, bytes_of.__getitem__, shard_bytes)):
                last = min(starts[-1] + _ROWS_A_GROUP, whole)
                shards.append(Shard(f"{split}/part-{n:05d}", split, (), starts[0], last))
        return shards

    def make(self, source: DatasetReader, root: Path, shard: Shard) -> Made:
        """See `Format`."""
        import pyarrow.parquet as pq

        path = root / f"{shard.name}.parquet"
        schema = features("storage" if shard.split == "storage" else "rows").arrow_schema
        audio = ("audio_16k.bytes", "audio_24k.bytes")
        # FLAC does not get smaller; all else does. A dictionary of whole recordings would only be memory. Without Arrow's own
        # schema lists are read as lists: told that one has a fixed length, pyarrow before 26 cannot read the nulls in it.
        leaves = {
            "store_schema": False,
            "compression": "zstd" if shard.split != "storage" else dict.fromkeys(audio, "NONE"),
            "use_dictionary": shard.split != "storage",
            "write_statistics": False,
        }
        items, samples = 0, 0
        with atomic_write(path) as temporary, pq.ParquetWriter(temporary, schema, **leaves) as out:
            out.add_key_value_metadata(schema.metadata)  # what `datasets` takes the columns for
            for batch in _batches(source, shard):
                out.write_batch(batch, row_group_size=_ROWS_A_GROUP)
                items += batch.num_rows
                if shard.split == "storage":
                    samples += batch.column("duration_samples")[0].as_py()
                del batch
        return Made.of(root, shard, items, samples / HEARD_HZ, [path])

    def finish(self, source: DatasetReader, root: Path, made: Sequence[Made]) -> dict[str, Any]:
        """See `Format`."""
        rows = [{"split": split, "path": f"{split}/*.parquet"} for split in source.splits]
        storage = [{"split": "storage", "path": "storage/*.parquet"}]
        return {
            "configs": [
                {"config_name": "default", "default": True, "data_files": rows},
                {"config_name": "storage", "data_files": storage},
            ]
        }


def _batches(source: DatasetReader, shard: Shard) -> Iterator[Any]:
    if shard.split != "storage":
        for at in range(shard.first, shard.last, _ROWS_A_GROUP):
            size = min(_ROWS_A_GROUP, shard.last - at)
            yield source.table(shard.split).slice(at, size).combine_chunks().to_batches()[0]
        return
    for session_id in shard.sessions:
        for batch in iter_rows(source.sessions[session_id]):
            for row in range(batch.num_rows):
                yield batch.slice(row, 1)
