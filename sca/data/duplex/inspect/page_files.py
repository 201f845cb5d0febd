"""The pages with audio beside `report.html`, in the folder `inspect`: their names, and which are of the present rows."""

import json
import re
import shutil
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from sca.data.runs.files import write_json
from sca.errors import writing

__all__ = ["FOLDER", "page_name", "present_pages", "record_pages", "remove_outdated_pages"]

FOLDER = "inspect"
"""Folder of the pages in a data set."""

_INDEX = "pages.json"
_DIGESTS = ("rows_digest", "storage_digest")


def page_name(row_id: str) -> str:
    """Return the file name of the page of a row, of characters that need no quotes in any file system."""
    digest = blake2b(row_id.encode(), digest_size=4).hexdigest()
    return f"{re.sub(r'[^0-9A-Za-z._-]+', '-', row_id)[:120]}-{digest}.html"


def present_pages(root: Path, report: Mapping[str, Any]) -> dict[str, str]:
    """Return the pages that exist and show the rows of a report: paths from the data set, by id of the row.

    Args:
        root: The data set.
        report: The content of `report.json`.
    """
    try:
        index = json.loads((root / FOLDER / _INDEX).read_text(encoding="utf-8"))
        rows = index["rows"] if all(index[name] == report[name] for name in _DIGESTS) else []
        return {row: f"{FOLDER}/{page_name(row)}" for row in rows if (root / FOLDER / page_name(row)).is_file()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def record_pages(root: Path, report: Mapping[str, Any], rows: list[str]) -> None:
    """Record for which rows pages were written.

    Args:
        root: The data set.
        report: The content of `report.json`.
        rows: The ids of the rows.
    """
    present = present_pages(root, report)
    index: dict[str, object] = {name: report[name] for name in _DIGESTS}
    write_json(root / FOLDER / _INDEX, index | {"rows": sorted({*present, *rows})})


def remove_outdated_pages(root: Path, report: Mapping[str, Any]) -> None:
    """Remove the pages of earlier rows.

    Args:
        root: The data set.
        report: The content of `report.json`.
    """
    folder = root / FOLDER
    if (folder / _INDEX).is_file() and not present_pages(root, report):
        with writing(folder):
            shutil.rmtree(folder)
