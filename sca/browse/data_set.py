"""A duplex data set as `sca browse` opens it: a folder, an export or a URL, with the rows of all its splits."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sca.config import Settings
from sca.data.datasets.folder import DataFolder
from sca.data.duplex.load.row_source import RowSource
from sca.data.duplex.load.sources import open_source, read_build_settings
from sca.data.duplex.storage.build_settings import settings_of
from sca.data.duplex.storage.detect import EXPORT_FILE, parse_export, splits_of
from sca.errors import InputError, UpstreamError

__all__ = ["DataSet", "open_data_set"]

_DICT_FILE = "dataset_dict.json"
_REPORT_FILE = "report.json"


@dataclass(frozen=True, slots=True)
class DataSet:
    """An opened data set.

    Attributes:
        folder: Its folder.
        settings: The settings that it was built with.
        report: The content of `report.json`; empty if it has none.
        splits: The rows of each split, in order.
        files: Its files of rows, and those that list them, for `identity`.
    """

    folder: DataFolder
    settings: Settings
    report: Mapping[str, Any]
    splits: Mapping[str, RowSource]
    files: Sequence[str]

    @property
    def name(self) -> str:
        """Its path or URL."""
        return self.folder.name

    @property
    def chunk_s(self) -> float:
        """Length of a chunk in seconds."""
        return float(self.settings.grid.chunk_s)

    def identity(self) -> list[str]:
        """Return texts that change when the rows or the report change: sizes and times of files, or the server's marks."""
        return [f"{name} {_identity(self.folder, name)}" for name in self.files]


def open_data_set(path: str | Path, storage_options: Mapping[str, object] | None = None) -> DataSet:
    """Open the rows of all splits of a data set.

    Args:
        path: Its folder, that of an export to Parquet or WebDataset, or a URL of fsspec.
        storage_options: Arguments of the file system of a URL, such as keys and endpoints.

    Raises:
        InputError: `path` is not a duplex data set, is unfinished, or has no rows.
        MissingToolError: The package of the URL's file system is not installed.
        UpstreamError: The URL cannot be read.
    """
    folder = DataFolder(path, storage_options)
    settings = settings_of(read_build_settings(folder))
    names, files = _splits(folder)
    if not names:
        raise InputError(f"{folder} has no rows")
    return DataSet(
        folder,
        settings,
        _report(folder),
        {name: open_source(folder, name) for name in names},
        [*files, _REPORT_FILE],
    )


def _splits(folder: DataFolder) -> tuple[list[str], list[str]]:
    """Return the splits, and the files that change with the rows."""
    try:
        export = parse_export(folder.read(EXPORT_FILE), f"{folder}/{EXPORT_FILE}")
    except FileNotFoundError:
        pass
    else:
        return export.splits, [EXPORT_FILE]
    if folder.local is not None:
        names = splits_of(folder.local, None)
    else:
        try:
            names = [str(name) for name in json.loads(folder.read(_DICT_FILE))["splits"] if name != "storage"]
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{folder}/{_DICT_FILE} is missing or cannot be read", hint="upload it again") from error
    return names, [_DICT_FILE, *(f"{name}/state.json" for name in names)]


def _report(folder: DataFolder) -> Mapping[str, Any]:
    try:
        report = json.loads(folder.read(_REPORT_FILE))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InputError(
            f"{folder}/{_REPORT_FILE} cannot be read: {error}", hint="sca verify lists what is broken"
        ) from error
    return report if isinstance(report, Mapping) else {}


def _identity(folder: DataFolder, name: str) -> str:
    try:
        if folder.local is None:
            return folder.identity(name)
        stat = (folder.local / name).stat()
    except (OSError, UpstreamError):  # a report is not required
        return "missing"
    return f"{stat.st_size} {stat.st_mtime_ns}"
