"""The list of the files at a URL that count: `.sca-url.json`, which a command that writes to the URL uploads last.

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

__all__ = ["MANIFEST", "OWN_FILES", "Listed", "Manifest", "read_manifest", "trusted"]

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


def read_manifest(store: Store, name: str = MANIFEST) -> Manifest | None:
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
    listed: dict[str, Listed] = {}
    folders = []
    for name in entries:
        if PurePosixPath(name).name == MANIFEST:
            folder = name.removesuffix(MANIFEST)
            manifest = read_manifest(store, name) or Manifest()
            folders.append(folder)
            listed |= {folder + inner: file for inner, file in manifest.files.items()}
    found = {}
    for name, entry in entries.items():
        if PurePosixPath(name).name.startswith(OWN_FILES):
            continue
        has_list = any(name.startswith(folder) for folder in folders)
        if not has_list or (name in listed and listed[name].identity == entry.identity):
            found[name] = entry
    return found, {name: file for name, file in listed.items() if name in found}
