"""Verify the dataset card: the tables that it names are the listed files, and its numbers are those of the data.

A person adds a licence, a language and text to a card, so only what can be compared is compared: the patterns of files,
the sentence that counts conversations, and the rows of the table of numbers.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sca.data.duplex.report.card import card_body
from sca.textutil import first_line

__all__ = ["card_problems"]

_TABLE_ROW = re.compile(r"^\| ([a-z][^|]*) \| ([^|]*) \|$", re.MULTILINE)
_OPENING = re.compile(r"^(\d+ conversations?, [\d.]+ hours), (\d+ training rows?)\.", re.MULTILINE)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def card_problems(root: Path, report: Mapping[str, Any], tables: Mapping[str, Sequence[Path]]) -> Iterator[str]:
    """Yield what is wrong with `README.md`.

    Args:
        root: The data set.
        report: The content of the recomputed report.
        tables: The files of each split that `datasets.load_dataset` is to read.
    """
    from huggingface_hub import DatasetCard
    from yaml import YAMLError  # type: ignore[import-untyped]  # the types are another package

    if not (root / "README.md").is_file():
        yield "README.md is missing, without it load_dataset mixes the tables"
        return
    try:
        card = DatasetCard.load(root / "README.md", ignore_metadata_errors=False)
    except (OSError, ValueError, TypeError, YAMLError) as error:
        yield f"README.md cannot be read: {first_line(error)}"
        return
    yield from (f"README.md: {problem}" for problem in _table_problems(root, card.data.to_dict(), tables))
    yield from (f"README.md: {problem}" for problem in _number_problems(card.text, card_body(report, "")))


def _table_problems(root: Path, metadata: Mapping[str, Any], tables: Mapping[str, Sequence[Path]]) -> Iterator[str]:
    configs = metadata.get("configs") or []
    found: dict[str, list[str]] = {}
    for config in configs:
        for entry in config.get("data_files") or []:
            found.setdefault(str(entry["split"]), []).append(str(entry["path"]))
            if entry["split"] != "storage" and not config.get("default"):
                yield f"split {entry['split']} is in table {config.get('config_name')}, which is not the default"
    for split in sorted(found.keys() | tables.keys()):
        if split not in tables:
            yield f"has a split {split}, the data set does not"
        elif split not in found:
            yield f"does not name the files of {split}"
        elif not _same_files(root, found[split], tables[split]):
            yield f"{split} is {', '.join(found[split])}, which are not the listed files of {split}"


def _same_files(root: Path, patterns: Sequence[str], listed: Sequence[Path]) -> bool:
    if any("://" in pattern or Path(pattern).is_absolute() or ".." in Path(pattern).parts for pattern in patterns):
        return False
    matched = [path for pattern in patterns for path in root.glob(pattern)]
    return sorted(matched) == sorted(listed)


def _number_problems(text: str, expected: str) -> Iterator[str]:
    found = dict(_TABLE_ROW.findall(text))
    for label, value in _TABLE_ROW.findall(expected):
        # A card of an older version can have fewer or other rows.
        if label in found and _differs(found[label], value):
            yield f"{label} is {found[label]}, it should be {value}"
    opening, wanted = _OPENING.search(text), _OPENING.search(expected)
    if opening and wanted and _differs(opening[0], wanted[0]):
        yield f"it describes {opening[0]} It should be {wanted[0]}"


def _differs(found: str, expected: str) -> bool:
    """Return whether the numbers of two texts differ; words such as units may."""
    return _NUMBER.findall(found) != _NUMBER.findall(expected) if _NUMBER.search(expected) else found != expected
