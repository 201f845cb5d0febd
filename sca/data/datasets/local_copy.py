"""Copies a data set of Arrow files from a URL to the cache, because its audio is read by mapping files."""

import json
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

from sca.data.datasets.folder import DataFolder
from sca.data.runs.files import atomic_write, read_json, write_json
from sca.errors import InputError, writing
from sca.files.locks import locked

__all__ = ["local_copy"]

_COPIED = "copied.json"


def local_copy(folder: DataFolder, cache_dir: Path) -> Path:
    """Return the folder of a data set on disk. Of a URL only files are copied that are missing or have changed.

    An interrupted copy continues with the files that are missing. Processes that copy the same data set wait for each
    other.

    Args:
        folder: The data set.
        cache_dir: The folder of caches.

    Raises:
        InputError: The data set is damaged.
        UpstreamError: The URL cannot be read.
        OutputError: The cache cannot be written to.
    """
    if folder.local is not None:
        return folder.local
    root = cache_dir / "datasets" / blake2b(folder.name.encode(), digest_size=10).hexdigest()
    with writing(root):
        root.mkdir(parents=True, exist_ok=True)
    with locked(root / ".lock", on_wait=lambda: None):
        record = root / _COPIED
        copied: dict[str, str] = read_json(record)["files"] if record.exists() else {}
        for name in _files(folder):
            identity = folder.identity(name)
            if copied.get(name) != identity or not (root / name).exists():
                with atomic_write(root / name) as temporary:
                    folder.download(name, temporary)
                copied[name] = identity
                write_json(record, {"url": folder.name, "files": copied})
    return root


def _files(folder: DataFolder) -> Iterator[str]:
    """Yield the files that a data set consists of, from its own lists."""
    name = "dataset_dict.json"
    try:
        yield from (name, "settings.json")
        for split in json.loads(folder.read(name))["splits"]:
            name = f"{split}/state.json"
            yield name
            yield from (f"{split}/{entry['filename']}" for entry in json.loads(folder.read(name))["_data_files"])
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}/{name} is missing or cannot be read", hint="upload the data set again") from error
