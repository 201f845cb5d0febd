"""Opens the rows of a split: of an Arrow folder, or of an export that keeps the grid."""

import json

from sca.data.datasets.folder import DataFolder
from sca.data.duplex.load.arrow_rows import ArrowRows
from sca.data.duplex.load.parquet_rows import ParquetRows
from sca.data.duplex.load.row_source import RowSource
from sca.data.duplex.load.tar_rows import TarRows
from sca.data.duplex.storage.build_settings import NAME, not_a_dataset, parse_settings
from sca.data.duplex.storage.detect import EXPORT_FILE, GRID_FORMATS, SPLITS_FILE, parse_export, splits_of
from sca.errors import InputError

__all__ = ["open_source", "read_build_settings", "split_names"]


def read_build_settings(folder: DataFolder) -> dict[str, object]:
    """Return the content of `settings.json`.

    Raises:
        InputError: The folder is not a duplex data set, or has another schema version.
    """
    try:
        return parse_settings(folder.read(NAME), folder)
    except FileNotFoundError as error:
        raise not_a_dataset(folder) from error


def split_names(folder: DataFolder) -> list[str]:
    """Return the splits of a data set or export, on disk or at a URL.

    Args:
        folder: The data set or export.

    Raises:
        InputError: The folder is not a finished data set.
    """
    try:
        return parse_export(folder.read(EXPORT_FILE), f"{folder}/{EXPORT_FILE}").splits
    except FileNotFoundError:
        pass
    if folder.local is not None:
        return splits_of(folder.local, None)
    try:
        return [str(name) for name in json.loads(folder.read(SPLITS_FILE))["splits"] if name != "storage"]
    except FileNotFoundError as error:
        raise InputError(f"{folder} is not a finished data set: it has no {SPLITS_FILE}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}/{SPLITS_FILE} cannot be read: {error}") from error


def open_source(folder: DataFolder, split: str) -> RowSource:
    """Open a split.

    Args:
        folder: The data set or export.
        split: The split.

    Raises:
        InputError: The folder is an export without rows, is damaged, or has no such split.
    """
    try:
        export = parse_export(folder.read(EXPORT_FILE), f"{folder}/{EXPORT_FILE}")
    except FileNotFoundError:
        return ArrowRows(folder, split)
    if export.format not in GRID_FORMATS:
        raise InputError(
            f"{folder} is a {export.format} export: audio and words without the grid",
            hint=f"load the data set that it was made from, or an export to {' or '.join(GRID_FORMATS)}",
        )
    if split not in export.splits:
        raise InputError(f"{folder} has no split {split}", hint=f"its splits: {', '.join(export.splits)}")
    return (ParquetRows if export.format == "parquet" else TarRows)(folder, export, split)
