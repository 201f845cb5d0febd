"""The list of the files at a URL that count: `.sca-url.json`, which a command that writes to the URL uploads last.

A command that writes a part of a folder, such as one file, has a list of its own: `.sca-url.PART.json`.

Object stores have no rename, so a command that is killed may leave files that belong to nothing yet. Readers ignore them:
they trust only what the list names, and only with the identity that it names. Folders without a list, such as those that
another program uploaded, count as a whole.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath

from sca.errors import InputError
from sca.urls.store import Entry, Store

__all__ = ["OWN_FILES", "Listed", "Manifest", "manifest_name", "read_manifest", "trusted"]

MANIFEST = ".sca-url.json"
OWN_FILES = ".sca-url"
"""What the names of the files begin with that sca itself has at a URL: the list and the lock."""
_SCHEMA = "sca-url/1"


@dataclass(frozen=True, slots=True)
class Listed:
    """A file in the list.

    Attributes:
        size: Its size in bytes.
        sha256: The SHA-256 of its content in hex; empty if it is not known.
        identity: Its identity at the URL, see `Entry`.
    """

    size: int
    sha256: str
    identity: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The list.

    Attributes:
        generation: A text that every writing of the list changes.
        files: The files by their names relative to the URL.
    """

    generation: str = ""
    files: dict[str, Listed] = field(default_factory=dict)

    def content(self) -> bytes:
        """Return the list as JSON."""
        files = {name: asdict(listed) for name, listed in sorted(self.files.items())}
        document = {"schema": _SCHEMA, "generation": self.generation, "files": files}
        return json.dumps(document, ensure_ascii=False).encode()


def manifest_name(part: str) -> str:
    """Return the name of the list of a part of a folder; of the whole folder if the part is empty."""
    return f"{OWN_FILES}.{part}.json" if part else MANIFEST


def read_manifest(store: Store, name: str) -> Manifest | None:
    """Return the list at a URL; None without any.

    Raises:
        InputError: It is damaged.
        UpstreamError: It cannot be read.
    """
    try:
        document = json.loads(store.read(name))
        files = {key: Listed(**fields) for key, fields in document["files"].items()}
        return Manifest(str(document["generation"]), files)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{store.url}/{name} is damaged ({error})", hint="delete it, and upload the files again"
        ) from error


def trusted(store: Store, entries: Mapping[str, Entry]) -> tuple[dict[str, Entry], dict[str, Listed]]:
    """Return the files of a listing that count, and what the lists in it say about them.

    Args:
        store: The URL.
        entries: Its files.

    Raises:
        InputError: A list is damaged.
        UpstreamError: A list cannot be read.
    """
    listed: dict[str, list[Listed]] = {}
    whole = []
    for name in entries:
        own = PurePosixPath(name).name
        if own.startswith(OWN_FILES) and own.endswith(".json"):
            folder = name.removesuffix(own)
            if own == MANIFEST:
                whole.append(folder)
            for inner, file in (read_manifest(store, name) or Manifest()).files.items():
                listed.setdefault(folder + inner, []).append(file)
    found, checksums = {}, {}
    for name, entry in entries.items():
        if PurePosixPath(name).name.startswith(OWN_FILES):
            continue
        file_lists = listed.get(name, [])
        same = next((file for file in file_lists if file.identity == entry.identity), None)
        if same is not None:
            checksums[name] = same
        elif file_lists or any(name.startswith(folder) for folder in whole):
            continue
        found[name] = entry
    return found, checksums
