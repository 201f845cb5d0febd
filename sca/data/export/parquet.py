"""Parquet: the tables of the data set in files that `datasets`, the hub and every Parquet reader open.

A row group holds one track (`storage`) or 128 rows, so neither writing nor reading needs more than that in memory.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from sca.data.datasets.arrow import iter_batches
from sca.data.datasets.card import CardConfig
from sca.data.duplex.storage.reader import DatasetReader
from sca.data.duplex.storage.writer import complete, features
from sca.data.export.base import STORAGE, Exporter, Shard, ShardResult, pack, shard_result
from sca.data.runs.files import atomic_write
from sca.units import HEARD_HZ, samples_to_seconds

if TYPE_CHECKING:
    from pyarrow import RecordBatch

__all__ = ["ParquetExporter"]

_ROWS_PER_GROUP = 128
_AUDIO_COLUMNS = ("audio_16k.bytes", "audio_24k.bytes")


class ParquetExporter(Exporter):
    """Writes `storage/part-*.parquet`, and `SPLIT/part-*.parquet` for every split of rows."""

    index_files = ()

    @override
    def plan(self, dataset: DatasetReader, shard_bytes: int) -> list[Shard]:
        groups = pack(dataset.sessions, lambda session: dataset.sessions[session].stat().st_size, shard_bytes)
        shards = [Shard(f"storage/part-{n:05d}", STORAGE, tuple(sessions)) for n, sessions in enumerate(groups)]
        for split in dataset.splits:
            count = dataset.count(split)
            starts = range(0, count, _ROWS_PER_GROUP)
            sizes = {start: dataset.table(split).slice(start, _ROWS_PER_GROUP).nbytes for start in starts}
            for n, group in enumerate(pack(starts, sizes.__getitem__, shard_bytes)):
                last = min(group[-1] + _ROWS_PER_GROUP, count)
                shards.append(Shard(f"{split}/part-{n:05d}", split, first=group[0], last=last))
        return shards

    @override
    def write_shard(self, dataset: DatasetReader, root: Path, shard: Shard) -> ShardResult:
        import pyarrow.parquet as pq

        path = root / f"{shard.name}.parquet"
        is_storage = shard.split == STORAGE
        schema = features(STORAGE if is_storage else "rows").arrow_schema
        options = {
            # Without Arrow's own schema, lists are read as lists: pyarrow before 26 cannot read nulls in a fixed-size
            # list.
            "store_schema": False,
            # FLAC cannot be compressed further.
            "compression": dict.fromkeys(_AUDIO_COLUMNS, "NONE") if is_storage else "zstd",
            "use_dictionary": not is_storage,  # a dictionary of whole recordings would only take memory
            # A track is a row group: its statistics name the speaker, and a reader finds it without reading columns.
            "write_statistics": ["session_id"] if is_storage else False,
        }
        items, samples = 0, 0
        with atomic_write(path) as temporary, pq.ParquetWriter(temporary, schema, **options) as out:
            out.add_key_value_metadata(schema.metadata)  # the features that `datasets` reads the columns as
            for batch in _batches(dataset, shard):
                out.write_batch(batch, row_group_size=_ROWS_PER_GROUP)
                items += batch.num_rows
                if is_storage:
                    samples += batch.column("duration_samples")[0].as_py()
                del batch  # releases mapped audio before the next batch is read
        audio_s = samples_to_seconds(samples, HEARD_HZ)
        return shard_result(root, shard, items=items, audio_s=audio_s, paths=[path])

    @override
    def finish(self, dataset: DatasetReader, root: Path, results: Sequence[ShardResult]) -> Sequence[CardConfig]:
        return (
            CardConfig("default", {split: f"{split}/*.parquet" for split in dataset.splits}, default=True),
            CardConfig(STORAGE, {STORAGE: "storage/*.parquet"}),
        )

    @override
    def usage(self, splits: Sequence[str]) -> str:
        return """
```python
import datasets

rows = datasets.load_dataset("PATH")  # splits of rows
storage = datasets.load_dataset("PATH", "storage")  # audio and words, one row per speaker of a conversation
```

A row names its `session_id`, `listener` and `speaker`; its audio is in `storage`, starting at `start_chunk`. A
`listener` such as `a+b` is all other speakers: what is heard is the clipped sum of their tracks, which `sca.load`
makes. `sca verify PATH` verifies the data.
"""


def _batches(dataset: DatasetReader, shard: Shard) -> "Iterator[RecordBatch]":
    if shard.split != STORAGE:
        for start in range(shard.first, shard.last, _ROWS_PER_GROUP):
            size = min(_ROWS_PER_GROUP, shard.last - start)
            yield dataset.table(shard.split).slice(start, size).combine_chunks().to_batches()[0]
        return
    for session_id in shard.sessions:
        for batch in iter_batches(dataset.sessions[session_id]):
            batch = complete(batch, STORAGE)
            for row in range(batch.num_rows):
                yield batch.slice(row, 1)
