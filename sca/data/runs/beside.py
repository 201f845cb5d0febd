"""The ledgers of the two commands that may write beside files of a person: `download` and `transcode`.

Their folder has one `ledger.jsonl`. If it is that of the other command, such as after `sca transcode videos videos`, the
ledger is `.sca/COMMAND.jsonl`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from sca.data.runs.ledger import Ledger, LedgerEntry
from sca.data.runs.owner import owner_of
from sca.errors import OutputError

__all__ = ["Beside", "has_downloads", "ledger_beside", "own_ledger"]

Beside = Literal["download", "transcode"]

_COMMON = "ledger.jsonl"


def own_ledger(folder: Path, command: Beside) -> Path:
    """Return where the ledger of a command is if `ledger.jsonl` is that of the other one."""
    return folder / ".sca" / f"{command}.jsonl"


def ledger_beside(folder: Path, command: Beside) -> Ledger:
    """Return the ledger of a command in a folder that is held (`lock_dir`).

    Raises:
        InputError: A ledger cannot be read.
        OutputError: The folder is the output of a command that owns it, such as a data set, or cannot be written.
    """
    owner = owner_of(folder)
    if owner is not None:
        raise OutputError(f"{folder} has other files in it: those of {owner.command}", hint="give another folder")
    common, own = Ledger(folder / _COMMON), Ledger(own_ledger(folder, command))
    if own.path.is_file():
        return own
    entries = common.entries()
    if _writer(folder, entries) in (None, command):
        return common
    # Earlier versions wrote both to one ledger.
    own.settle(entry for entry in entries.values() if _is_download(entry) == (command == "download"))
    return own


def has_downloads(folder: Path, entries: Mapping[str, LedgerEntry]) -> bool:
    """Return whether `ledger.jsonl`, with these entries, is that of `sca download`."""
    return _writer(folder, entries) == "download"


def _writer(folder: Path, entries: Mapping[str, LedgerEntry]) -> Beside | None:
    """Return the command whose ledger `ledger.jsonl` is; None if there is no trace of either."""
    if own_ledger(folder, "transcode").is_file():
        return "download"
    if own_ledger(folder, "download").is_file():
        return "transcode"
    if any(map(_is_download, entries.values())):
        return "download"
    if (folder / "archive.txt").is_file() or (folder / ".incomplete").is_dir():
        return "download"
    return "transcode" if entries else None


def _is_download(entry: LedgerEntry) -> bool:
    """Return whether an entry is that of a video: its key is a line of an archive. Keys of files are digests."""
    return " " in entry.key or entry.status in ("verified", "skipped")
