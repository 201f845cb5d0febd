"""Assembles a show data set from encoded shows: the rows, the JSON files, the settings and the card.

Everything is derived from the timelines and the records of the shows, so every run writes it again; audio is not
touched.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sca.config import ConvertConfig
from sca.data.datasets.arrow import write_dict, write_split_files, write_table
from sca.data.datasets.card import RecordingSource, write_card
from sca.data.runs.files import write_json
from sca.data.runs.summary import RunSummary
from sca.data.shows.card import show_card
from sca.data.shows.model import ConvertDetails, ShowRecord, TrainColumns
from sca.data.shows.paths import SETTINGS_FILE, TRAIN_FILE, record_file, show_file_stem, storage_file
from sca.data.shows.rows import ShowRow
from sca.data.shows.storage import SCHEMA_VERSION, features
from sca.data.speakers.base import public_name

__all__ = ["write_dataset"]

_ROWS_PER_BATCH = 1000


def write_dataset(
    summary: RunSummary[ConvertDetails],
    records: Mapping[str, ShowRecord],
    rows: Mapping[str, Sequence[ShowRow]],
    sources: Sequence[RecordingSource],
    languages: Sequence[str],
    config: ConvertConfig,
) -> None:
    """Write everything but the audio files.

    The file that marks the data set as finished is removed first and written last.

    Args:
        summary: The run, with the folder of the data set.
        records: The records of the shows, by id.
        rows: The rows of the shows, by id, in the order of the data set.
        sources: Where the recordings come from.
        languages: The languages of the shows.
        config: The settings.

    Raises:
        OutputError: A file cannot be written.
    """
    root = summary.details.root
    (root / "dataset_dict.json").unlink(missing_ok=True)
    _set_unused_aside(root, list(rows))
    columns = [row.columns() for rows_of_show in rows.values() for row in rows_of_show]
    write_table(root / "train" / TRAIN_FILE, features("train"), _batches(columns))
    fingerprints = [json.dumps(row, sort_keys=True) for row in columns]
    write_split_files(root / "train", "train", features("train"), [TRAIN_FILE], fingerprints)
    files = [storage_file(root, show_id).name for show_id in rows]
    keys = [records[show_id].key for show_id in rows]
    write_split_files(root / "storage", "storage", features("storage"), files, keys)
    write_json(root / SETTINGS_FILE, _settings_document(config))
    write_card(root, show_card(summary, sources, languages, config))
    write_dict(root, ["storage", "train"])


def _set_unused_aside(root: Path, used: Sequence[str]) -> None:
    """Move the audio files of shows without rows out of `storage`, because a later run may use them again."""
    stems = {show_file_stem(show_id) for show_id in used}
    aside = record_file(root, "").parent
    for path in (root / "storage").glob("*.arrow"):
        if path.stem not in stems:
            path.replace(aside / path.name)


def _batches(rows: Sequence[TrainColumns]) -> Iterator[dict[str, list[object]]]:
    names = list(features("train"))
    for start in range(0, len(rows), _ROWS_PER_BATCH):
        batch: Sequence[Mapping[str, object]] = rows[start : start + _ROWS_PER_BATCH]
        yield {name: [row[name] for row in batch] for name in names}


def _settings_document(config: ConvertConfig) -> dict[str, object]:
    """Return the content of settings.json: the kind of the data set and the settings, without paths of this machine."""
    fields = config.model_dump(mode="json") | {"speaker_model": public_name(config.speaker_model)}
    return {"kind": "shows", "schema_version": SCHEMA_VERSION, "convert": fields}
