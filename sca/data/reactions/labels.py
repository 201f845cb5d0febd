"""The class names of an ONNX tagger, from a file beside the model or from the metadata of the model file."""

import csv
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from sca.errors import InputError, MissingToolError
from sca.files.bounded import read_whole

__all__ = ["find_labels", "labels_of_config"]

_FILES = ("class_labels_indices.csv", "labels.txt", "config.json")
_METADATA_KEYS = ("id2label", "labels", "classes", "names")
_HINT = "put AudioSet's class_labels_indices.csv beside the model"


def find_labels(model: Path, metadata: Mapping[str, str]) -> list[str]:
    """Find the class names of an ONNX file, in the order of its outputs.

    Args:
        model: The ONNX file. The names may be in a file beside it: class_labels_indices.csv (AudioSet's own: index,
            mid, display_name), labels.txt (one name per line) or config.json (`id2label`).
        metadata: The metadata of the ONNX file, searched if no file is found: id2label, labels, classes or names, as
            JSON or with one name per line.

    Raises:
        MissingToolError: No class names were found.
        InputError: Class names were found and cannot be parsed.
    """
    for file in (model.with_name(name) for name in _FILES):
        if file.is_file() and (labels := _parse(file, partial(_read_file, file))):
            return labels
    for key in _METADATA_KEYS:
        if metadata.get(key):
            return _parse(f"{key} in the metadata of {model}", partial(_parse_text, metadata[key]))
    raise MissingToolError(
        f"{model} does not contain the names of its classes, and none of {', '.join(_FILES)} is beside it", hint=_HINT
    )


def _parse(source: object, parse: Callable[[], list[str]]) -> list[str]:
    try:
        return parse()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{source} contains no class names ({type(error).__name__}: {error})", hint=_HINT) from error


def labels_of_config(config: Mapping[str, object]) -> list[str]:
    """Return the names in `id2label` of a transformers config in order; an empty list without `id2label`.

    Raises:
        ValueError: The indices are not 0, 1, 2, …, or `id2label` is not an object.
    """
    by_index = config.get("id2label")
    if not by_index:
        return []
    if not isinstance(by_index, dict):
        raise ValueError("id2label is not an object")
    return _in_order(by_index)


def _read_file(file: Path) -> list[str]:
    text = read_whole(file).decode("utf-8-sig")
    if file.suffix == ".csv":
        rows = list(csv.DictReader(text.splitlines()))
        return _in_order({row["index"]: row["display_name"] for row in rows})
    if file.suffix == ".json":
        return labels_of_config(json.loads(text))
    return text.strip().splitlines()


def _parse_text(text: str) -> list[str]:
    try:
        document = json.loads(text)
    except ValueError:
        document = text.strip().splitlines()
    return _in_order(document) if isinstance(document, dict) else [str(name) for name in document]


def _in_order(by_index: Mapping[str, str]) -> list[str]:
    names = {int(index): str(name) for index, name in by_index.items()}
    if sorted(names) != list(range(len(names))):
        raise ValueError(f"the indices of {len(names)} classes are not 0 to {len(names) - 1}")
    return [names[i] for i in range(len(names))]
