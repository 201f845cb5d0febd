"""The names of a tagger's classes: from a file beside it, or from the model file's own metadata."""

import csv
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sca.errors import InputError, MissingToolError

__all__ = ["find_labels", "labels_of_config"]

_FILES = ("class_labels_indices.csv", "labels.txt", "config.json")
_METADATA = ("id2label", "labels", "classes", "names")
_HINT = "put AudioSet's class_labels_indices.csv beside the model"


def find_labels(model: Path, metadata: Mapping[str, str]) -> list[str]:
    """The class names of the ONNX file `model` in the order of its outputs.

    Beside it: class_labels_indices.csv (AudioSet's own: index, mid, display_name), labels.txt (a name a line) or config.json
    (id2label). In its metadata: id2label, labels, classes or names, as JSON or a name a line. Raises `MissingToolError` when
    there is none, `InputError` when what is there cannot be read.
    """
    for file in (model.with_name(name) for name in _FILES):
        if file.is_file() and (found := _readable(file, partial(_read, file))):
            return found
    for key in _METADATA:
        if metadata.get(key):
            return _readable(f"{key} in the metadata of {model}", partial(_from_text, metadata[key]))
    raise MissingToolError(
        f"{model} says nothing about its classes, and none of {', '.join(_FILES)} is beside it",
        hint=_HINT,
    )


def _readable(what: object, read: Callable[[], list[str]]) -> list[str]:
    try:
        return read()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{what} holds no class names ({type(error).__name__}: {error})", hint=_HINT) from error


def labels_of_config(config: Mapping[str, Any]) -> list[str]:
    """The names of `id2label`, in order; empty when there are none."""
    return _ordered(config["id2label"]) if config.get("id2label") else []


def _read(file: Path) -> list[str]:
    text = file.read_text(encoding="utf-8-sig")
    if file.suffix == ".csv":
        rows = list(csv.DictReader(text.splitlines()))
        return _ordered({row["index"]: row["display_name"] for row in rows})
    if file.suffix == ".json":
        return labels_of_config(json.loads(text))
    return text.strip().splitlines()


def _from_text(text: str) -> list[str]:
    try:
        plain = json.loads(text)
    except ValueError:
        plain = text.strip().splitlines()
    return _ordered(plain) if isinstance(plain, dict) else [str(name) for name in plain]


def _ordered(by_index: Mapping[str, str]) -> list[str]:
    numbered = {int(index): str(name) for index, name in by_index.items()}
    if sorted(numbered) != list(range(len(numbered))):
        raise ValueError(f"the indices of {len(numbered)} classes are not 0 to {len(numbered) - 1}")
    return [numbered[i] for i in range(len(numbered))]
