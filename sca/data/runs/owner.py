"""Which command owns an output folder, so that no command writes into the folder of another one or of a person.

Each command has a marker, a file that it writes first. Folders of earlier versions, which had no marker, are recognized
by what they contain. `hold` checks the owner of a folder, locks it and checks again.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sca.data.runs.files import write_json
from sca.data.runs.ledger import lock_dir
from sca.data.runs.shards import SHARDS, Shard
from sca.errors import OutputError, writing
from sca.files.atomic import temporary_of
from sca.textutil import one_line

__all__ = [
    "BUILD",
    "CONVERT",
    "DEMO",
    "EXPORT",
    "SYNTH",
    "TALK",
    "TRAIN",
    "Owner",
    "claim",
    "ensure_owned_dir",
    "hold",
    "owner_of",
]

_MAX_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Owner:
    """A command that owns the folders it writes to.

    Attributes:
        command: The command.
        marker: The file that it writes first, relative to the folder.
        field: A field that the JSON object in the marker has, if the name of the marker is not unique.
        earlier: A folder of records, JSON objects, by which output is recognized that has no marker, or a damaged one.
        before: What it may write beside the marker before the marker is complete.
    """

    command: str
    marker: Path
    field: str | None = None
    earlier: Path | None = None
    before: str | None = None

    def owns(self, folder: Path) -> bool:
        """Return whether the command wrote to the folder."""
        if self.earlier is not None and _has_records(folder / self.earlier):
            return True
        path = folder / self.marker
        return path.is_file() and (self.field is None or self.field in _fields(path))


_SCA = Path(".sca")
EXPORT = Owner("sca export", _SCA / "export.json")
SYNTH = Owner("sca synth", _SCA / "synth.json", before="scripts")
TALK = Owner("sca eval talk", _SCA / "talks.json")
TRAIN = Owner("sca train", _SCA / "train.json")
DEMO = Owner("sca demo", _SCA / "demo.json")
CONVERT = Owner("sca convert", _SCA / "convert.json", earlier=_SCA / "shows")
BUILD = Owner("sca build-duplex", Path("settings.json"), field="duplex", earlier=_SCA / "sessions")
# The last one is the least specific: exports have the settings.json of their data set.
_OWNERS = (EXPORT, SYNTH, TALK, TRAIN, DEMO, CONVERT, BUILD)


def owner_of(folder: Path) -> Owner | None:
    """Return the owner of a folder; None if no command owns it."""
    return next((owner for owner in _OWNERS if owner.owns(folder)), None)


def ensure_owned_dir(folder: Path, owner: Owner) -> None:
    """Check that a folder does not exist, is empty, or belongs to a command.

    Args:
        folder: The folder.
        owner: The command that is going to write to it.

    Raises:
        OutputError: The folder belongs to another command, or has other files in it.
    """
    with writing(folder):
        if not folder.exists():
            return
        found = owner_of(folder)
        if found == owner:
            return
        hint = f"give an empty folder, or one that {owner.command} made"
        if found is not None:
            raise OutputError(f"{folder} has other files in it: those of {found.command}", hint=hint)
        others = sorted(entry.name for entry in folder.iterdir() if not _is_of_killed_run(entry, owner))
        if others:
            shown = ", ".join(map(one_line, others[:_MAX_SHOWN])) + (", …" if len(others) > _MAX_SHOWN else "")
            raise OutputError(f"{folder} has other files in it: {shown}", hint=hint)


@contextmanager
def hold(folder: Path, owner: Owner, shard: Shard | None = None) -> Iterator[None]:
    """Hold a folder for one run of its owner, or for one shard, and make it if it does not exist.

    Raises:
        InputError: Another run holds it.
        OutputError: It belongs to another command, has other files in it, or cannot be written to.
    """
    ensure_owned_dir(folder, owner)
    with lock_dir(folder, shard):
        ensure_owned_dir(folder, owner)  # another command may have been faster
        yield


def claim(folder: Path, owner: Owner) -> None:
    """Write the marker of a held folder, if it does not exist."""
    if not (folder / owner.marker).is_file():
        write_json(folder / owner.marker, {"made_by": owner.command})


def _is_of_killed_run(entry: Path, owner: Owner) -> bool:
    """Return whether a run leaves this entry in a folder if it is killed before its marker is complete."""
    first = Path(owner.marker.parts[0])
    if entry.name in (".lock", temporary_of(first).name):
        return True
    if entry.name != _SCA.name or entry.is_symlink() or not entry.is_dir():
        return False
    left: set[str | None] = {SHARDS.name}  # with the locks of shards
    if first == _SCA:
        left |= {temporary_of(owner.marker).name, owner.before}
    return all(inner.name in left and not inner.is_symlink() for inner in entry.iterdir())


def _has_records(folder: Path) -> bool:
    """Return whether a folder is there, and is empty or has a JSON object."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    files = sorted(folder.glob("*.json"))
    return not files or any(map(_fields, files))


def _fields(path: Path) -> set[str]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    return set(document) if isinstance(document, dict) else set()
