"""The folder of an export: the claim that names its content, and the records of its finished shards.

The claim is the first file that is written, the record of a shard is written after its files. So a later run recognizes
an unfinished export and its finished shards, and `--force` removes only what an export wrote.
"""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from sca.data.duplex.storage.detect import EXPORT_FILE
from sca.data.export.base import Shard, ShardResult
from sca.data.export.registry import BUILT_IN_FORMATS, load_exporter
from sca.data.runs.files import write_json
from sca.data.runs.owner import EXPORT
from sca.errors import OutputError, ScaError, writing

__all__ = ["LEDGER_FILE", "Claim", "claim_folder", "read_result", "remove_partial_files", "write_result"]

LEDGER_FILE = Path(".sca") / "ledger.jsonl"
_RECORDS = Path(".sca") / "parts"
_COMMON_FILES = (EXPORT_FILE, "README.md", "report.json", "settings.json")


@dataclass(frozen=True, slots=True)
class Claim:
    """What an export contains. Two exports with the same claim have the same files.

    Attributes:
        format: The name of the format.
        shard_bytes: The approximate size of a shard.
        sca_version: The version of sca.
        source: The digests of the data set.
        splits: Its splits of rows.
    """

    format: str
    shard_bytes: int
    sca_version: str
    source: Mapping[str, object]
    splits: list[str]


@dataclass(frozen=True, slots=True)
class _ShardRecord:
    """The record of a finished shard: its content as the plan defines it, and what was written."""

    of: tuple[str, tuple[str, ...], int, int]
    made: ShardResult


_RECORD = TypeAdapter(_ShardRecord)


def claim_folder(root: Path, claim: Claim, *, force: bool) -> None:
    """Make sure that `root` is an export with this claim, possibly unfinished, or empty.

    Args:
        root: The folder.
        claim: The export to write.
        force: Remove an export with another claim.

    Raises:
        OutputError: The folder contains another export, or cannot be written to.
    """
    path = root / EXPORT.marker
    if path.exists():
        before = _read_claim(path)
        if before == asdict(claim):
            return
        if not force:
            raise OutputError(
                f"{root} contains an export {_difference(before, asdict(claim))}",
                hint="give another --output, or --force to overwrite it",
            )
        _remove_export(root, str(before.get("format")))
    write_json(path, asdict(claim))


def _read_claim(path: Path) -> dict[str, object]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _difference(before: Mapping[str, object], claim: Mapping[str, object]) -> str:
    """Describe the first field in which a claim differs from an earlier one."""
    field = next((name for name in claim if before.get(name) != claim[name]), "format")
    if field == "source":
        return "of another data set"
    return f"in the format {before.get(field)}" if field == "format" else f"with another {field} ({before.get(field)})"


def _remove_export(root: Path, export_format: str) -> None:
    """Remove the files of an export, and no others: those that its records name, and those that join them."""
    with writing(root):
        for record in sorted((root / _RECORDS).rglob("*.json")):
            for name in _files_of(record):
                path = root / name
                if root.resolve() in path.resolve().parents:  # a damaged record must not remove files elsewhere
                    path.unlink(missing_ok=True)
        for name in (*_COMMON_FILES, *_index_files(export_format)):
            (root / name).unlink(missing_ok=True)
        shutil.rmtree(root / ".sca")
        for folder in sorted((path for path in root.rglob("*") if path.is_dir()), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()


def _files_of(record: Path) -> list[str]:
    try:
        return [file.name for file in _RECORD.validate_json(record.read_bytes()).made.files]
    except (OSError, ValueError):
        return []


def _index_files(export_format: str) -> list[str]:
    """Return the index files of the built-in formats and, if it is installed, of the given one."""
    names: list[str] = []
    for name in dict.fromkeys((*BUILT_IN_FORMATS, export_format)):
        try:
            names += load_exporter(name).index_files
        except ScaError:  # the plugin of the earlier export is not installed any more
            continue
    return names


def read_result(root: Path, shard: Shard) -> ShardResult | None:
    """Return the result of a shard that an earlier run wrote; None if a file is missing or has another size."""
    try:
        record = _RECORD.validate_json(_record_file(root, shard.name).read_bytes())
        is_complete = all((root / file.name).stat().st_size == file.bytes for file in record.made.files)
    except (OSError, ValueError):
        return None
    return record.made if is_complete and record.of == _content(shard) else None


def write_result(root: Path, shard: Shard, result: ShardResult) -> None:
    """Record a finished shard."""
    write_json(_record_file(root, shard.name), asdict(_ShardRecord(_content(shard), result)))


def remove_partial_files(root: Path, shards: Iterable[str]) -> None:
    """Remove the temporary files of a killed run, and the records of these shards, which will be written again.

    The folder must be locked.
    """
    with writing(root):
        for temporary in root.rglob(".*.tmp"):
            temporary.unlink(missing_ok=True)
        for name in shards:
            _record_file(root, name).unlink(missing_ok=True)


def _record_file(root: Path, name: str) -> Path:
    return root / _RECORDS / f"{name}.json"


def _content(shard: Shard) -> tuple[str, tuple[str, ...], int, int]:
    return shard.split, shard.sessions, shard.first, shard.last
