"""Read and change the files of a duplex data set."""

from pathlib import Path

from sca.data.datasets.arrow import audio_cells, iter_batches
from sca.data.duplex.storage.writer import write_table

TRAIN = Path("train") / "data-00000-of-00001.arrow"


def rows_of(data):
    return [row for batch in iter_batches(data / TRAIN) for row in batch.to_pylist()]


def put_rows(data, rows):
    write_table(data / TRAIN, "rows", [{name: [row[name] for row in rows] for name in rows[0]}])


def storage(data, session="D0001_S0001_0"):
    return data / "storage" / f"{session}.arrow"


def break_storage(data, change):
    """Rewrite a session's storage after `change(records, cells)`; cells are the (16k, 24k) bytes of each track."""
    path = storage(data)
    records, cells = [], []
    for batch in iter_batches(path):
        for record in batch.to_pylist():
            cells.append([record.pop(name)["bytes"] for name in ("audio_16k", "audio_24k")])
            records.append(record)
    change(records, cells)
    batches = []
    for n, (record, pair) in enumerate(zip(records, cells, strict=True)):
        files = []
        for rate, content in zip(("16k", "24k"), pair, strict=True):
            files.append(data.parent / f"track{n}_{rate}.flac")
            files[-1].write_bytes(content)
        heard, spoken = audio_cells(files)
        batches.append({name: [value] for name, value in record.items()} | {"audio_16k": heard, "audio_24k": spoken})
    write_table(path, "storage", batches)
