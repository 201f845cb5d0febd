"""The data set on disk: its columns, its Arrow files, and the small files that make `datasets.load_from_disk` read them.

Knows no audio and no tokens. `storage/` holds one file a session, written once and never copied; `train/` is put together
from each session's rows when a build ends. Everything appears under its name only when it is whole.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from sca.data.datasets import arrow
from sca.data.datasets.arrow import audio_array, iter_rows, write_dict
from sca.data.speakers.base import EMBEDDING_SIZE

__all__ = [
    "EMBEDDING_SIZE",
    "SCHEMA_VERSION",
    "audio_array",
    "features",
    "iter_rows",
    "merge_tables",
    "open_split",
    "write_dict",
    "write_split_files",
    "write_table",
]

SCHEMA_VERSION = 5
"""5: a session may be another one retimed.
4: tracks may have codec codes.
3: words say which unit they belong to and whether a space stands before them; tracks say what of others is in them, and where
they have speech that nobody wrote down."""


@cache
def features(split: str) -> Any:
    """The `datasets.Features` of "storage" or of a split of rows."""
    from datasets import Audio, Features, List, Value

    text, number, real, real32 = Value("string"), Value("int32"), Value("float64"), Value("float32")
    if split == "storage":
        return Features(
            {
                "session_id": text,
                "speaker_id": text,
                # decode=False: the bytes as they are, so that no decoder has to be installed to open the data set.
                "audio_16k": Audio(sampling_rate=16_000, decode=False),
                "audio_24k": Audio(sampling_rate=24_000, decode=False),
                "duration_samples": Value("int64"),
                "words": List(
                    {"word": text, "start": real, "end": real, "source": text, "unit": number, "space": Value("bool")}
                ),
                "speech": List({"start": real, "end": real}),
                "bleed": List({"of": text, "tried_s": real, "bleed_s": real, "level_db": real, "delay_ms": real}),
                "gated": List({"start": real, "end": real}),
                # A list a chunk: its frames of the first codebook, of the second, and so on. Null: none were asked for.
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
                },
            }
        )
    word = {"word": text, "start_s": real, "end_s": real, "chunk": number, "k": number, "n_tokens": number}
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
            "segments": List(
                {
                    "text": text,
                    "leading_space": Value("bool"),
                    "start_s": real,
                    "end_s": real,
                    "kind": text,
                    "overlap": real32,
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
            ),
            "dropped": List(
                {
                    "text": text,
                    "start_s": real,
                    "end_s": real,
                    "n_tokens": number,
                    "first_word": number,
                    "n_words": number,
                }
            ),
            "flags": List(text),
            "align_source": text,
        }
    )


def write_table(path: Path, split: str, batches: Iterable[dict[str, Any]]) -> int:
    """Write an Arrow stream of `batches` (column → list, or a ready Arrow array); returns the number of records."""
    return arrow.write_table(path, features(split), batches)


def merge_tables(path: Path, split: str, parts: Sequence[Path]) -> int:
    """Join the parts into one file in their order, some hundred records to a batch so that readers find few."""
    return arrow.merge_tables(path, features(split), parts)


def write_split_files(folder: Path, split: str, files: Sequence[str], fingerprint_of: Iterable[str]) -> None:
    """The two JSON files beside a split's Arrow files."""
    kind = "storage" if split == "storage" else "rows"
    arrow.write_split_files(folder, split, features(kind), files, fingerprint_of)


def open_split(root: Path, split: str) -> list[Path]:
    """The Arrow files of a split, in order. Raises `InputError` when `root` is not a finished data set."""
    return arrow.open_split(root, split, kind="duplex", made_by="sca build-duplex")
