"""The tables of a data set: their columns, and the files they are written to.

`storage/` contains one file per session, written once and never copied. A split such as `train/` is merged from the row
files of its sessions at the end of a build. Every file appears under its name only when it is complete.
"""

from collections.abc import Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from sca.data.datasets import arrow
from sca.data.datasets.features import Audio, Feature, Features, List, Value
from sca.data.speakers.base import EMBEDDING_SIZE

if TYPE_CHECKING:
    import pyarrow as pa

    from sca.data.datasets.arrow import Columns

__all__ = [
    "SCHEMA_VERSION",
    "complete",
    "features",
    "merge_tables",
    "open_split",
    "write_split_files",
    "write_table",
]

_NEW_COLUMNS = ("unlabelled",)

SCHEMA_VERSION = 5
"""Version of the columns.

- 5: a session can be a retimed copy of another one. `unlabelled` was added later, so data sets can lack it.
- 4: tracks can have codec codes.
- 3: words have the number of their unit and whether a space precedes them; tracks have their cross-talk, and speech
  that is not transcribed.
"""


@cache
def features(table: str) -> Features:
    """Return the columns of a table: `storage` or `rows`."""
    return _track_features() if table == "storage" else _row_features()


def _track_features() -> Features:
    """Return the columns of `sca.data.duplex.model.records.TrackRecord`, with the audio and the codec codes."""
    text, number, real, real32 = Value("string"), Value("int32"), Value("float64"), Value("float32")
    return Features(
        {
            "session_id": text,
            "speaker_id": text,
            "audio_16k": Audio(sampling_rate=16_000),
            "audio_24k": Audio(sampling_rate=24_000),
            "duration_samples": Value("int64"),
            "words": List(
                {"word": text, "start": real, "end": real, "source": text, "unit": number, "space": Value("bool")}
            ),
            "speech": List({"start": real, "end": real}),
            "bleed": List({"of": text, "tried_s": real, "bleed_s": real, "level_db": real, "delay_ms": real}),
            "gated": List({"start": real, "end": real}),
            # One list per chunk: all its frames of the first codebook, then of the second, and so on. Null without
            # codes.
            "codes": List(List(Value("int16"))),
            "augmented": {
                "from": text,
                "copy": number,
                "edits": List({"kind": text, "unit": number, "was_s": real, "offset_s": real}),
            },
            "speaker_embedding": List(real32, length=EMBEDDING_SIZE),
            "provenance": {
                "audio": text,
                "transcript": text,
                "sha256": text,
                "rate_hz": number,
                "channels": number,
                "padded_samples": Value("int64"),
                "peak": real32,
                "clipped_samples": Value("int64"),
                "non_finite_samples": Value("int64"),
                "repair": {"audio_of": text, "offset_s": real, "drift": real},
            },
            "unlabelled": List({"start": real, "end": real, "reason": text}),
        }
    )


def _row_features() -> Features:
    """Return the columns of `sca.data.duplex.model.records.RowRecord`."""
    text, number = Value("string"), Value("int32")
    return Features(
        {
            "row_id": text,
            "session_id": text,
            "listener": text,
            "speaker": text,
            "start_chunk": number,
            "n_chunks": number,
            "extended_chunks": number,
            "prompt_tokens": number,
            "input_ids": List(number),
            "segments": List(_segment_features()),
            "dropped": List(
                {
                    "text": text,
                    "start_s": Value("float64"),
                    "end_s": Value("float64"),
                    "n_tokens": number,
                    "first_word": number,
                    "n_words": number,
                }
            ),
            "flags": List(text),
            "align_source": text,
            "unlabelled": List({"first": number, "end": number}),
        }
    )


def _segment_features() -> dict[str, Feature]:
    text, number, real = Value("string"), Value("int32"), Value("float64")
    word: dict[str, Feature] = {
        "word": text,
        "start_s": real,
        "end_s": real,
        "chunk": number,
        "k": number,
        "n_tokens": number,
    }
    return {
        "text": text,
        "leading_space": Value("bool"),
        "start_s": real,
        "end_s": real,
        "kind": text,
        "overlap": Value("float32"),
        "floor_offset_s": real,
        "lag_chunks": number,
        "first_chunk": number,
        "first_k": number,
        "last_chunk": number,
        "last_k": number,
        "n_tokens": number,
        "first_word": number,
        "n_words": number,
        "words": List(word),
    }


def complete(batch: "pa.RecordBatch", table: str) -> "pa.RecordBatch":
    """Return a batch of `storage` or `rows` with what is newer than its file: empty lists, and null as repair."""
    import pyarrow as pa

    schema = features(table).arrow_schema
    if table == "storage" and not batch.schema.field("provenance").type.equals(schema.field("provenance").type):
        number = batch.schema.get_field_index("provenance")
        provenance = pa.array(batch.column(number).to_pylist(), schema.field("provenance").type)
        batch = batch.set_column(number, schema.field("provenance"), provenance)
    missing = [name for name in _NEW_COLUMNS if name not in batch.schema.names]
    if not missing:
        return batch
    empty = [pa.array([[]] * batch.num_rows, schema.field(name).type) for name in missing]
    return pa.RecordBatch.from_arrays([*batch.columns, *empty], [*batch.schema.names, *missing])


def write_table(path: Path, table: str, batches: "Iterable[Columns]") -> int:
    """Write an Arrow stream and return the number of its records.

    Args:
        path: The file.
        table: `storage` or `rows`.
        batches: Record batches as column → list of values, or column → Arrow array.
    """
    return arrow.write_table(path, features(table), batches)


def merge_tables(path: Path, table: str, parts: Sequence[Path]) -> int:
    """Merge files into one, in their order, and return the number of records.

    Batches become larger, so readers find few.
    """
    return arrow.merge_tables(path, features(table), parts, partial(complete, table=table))


def write_split_files(folder: Path, split: str, files: Sequence[str], fingerprint_of: Iterable[str]) -> None:
    """Write the two JSON files beside the Arrow files of a split.

    Args:
        folder: Folder of the split.
        split: Its name.
        files: Names of its Arrow files, in order.
        fingerprint_of: Keys of the content; equal keys give an equal fingerprint.
    """
    table = "storage" if split == "storage" else "rows"
    arrow.write_split_files(folder, split, features(table), files, fingerprint_of)


def open_split(root: Path, split: str) -> list[Path]:
    """Return the Arrow files of a split, in order. Raises `InputError` if `root` is not a finished data set."""
    return arrow.open_split(root, split, kind="duplex", made_by="sca build-duplex")
