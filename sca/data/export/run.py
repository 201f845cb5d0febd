"""Export a data set: prove the source, plan the shards, make what is missing, join, write the record last.

A shard counts as done when its record is on disk, so a second run makes nothing and a killed one only the shards in hand again.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sca.data.duplex.report.card import write_duplex_card
from sca.data.duplex.storage.detect import EXPORT_FILE, SESSIONS_FILE
from sca.data.duplex.storage.reader import DatasetReader, open_source
from sca.data.export.base import Format, Made, Shard
from sca.data.export.lhotse import CUTS_FILE, LhotseFormat
from sca.data.export.moshi import LIST_FILE, MoshiFormat
from sca.data.export.openings import opening
from sca.data.export.parquet import ParquetFormat
from sca.data.export.webdataset import WebDatasetFormat
from sca.data.runs.files import ensure_owned_dir, write_json
from sca.data.runs.ledger import lock_dir
from sca.data.runs.local import cores, run
from sca.errors import InputError, OutputError, ScaError, UsageError, writing
from sca.version import __version__

__all__ = ["FORMATS", "ExportSummary", "export"]

FORMATS: dict[str, Format] = {
    one.name: one for one in (ParquetFormat(), WebDatasetFormat(), MoshiFormat(), LhotseFormat())
}
_WORTH_WORKERS_BYTES = 256 << 20
_CLAIM = Path(".sca") / "export.json"
_PARTS = Path(".sca") / "parts"


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """How an export ended.   made: shards that this run wrote, of all `shards`."""

    root: Path
    format: str
    shards: int
    made: int
    items: int
    files: int
    bytes: int
    audio_s: float


def export(
    data: Path,
    root: Path,
    kind: str,
    *,
    shard_bytes: int,
    jobs: int = 0,
    force: bool = False,
    on_start: Callable[[int, int], None] | None = None,
    on_shard: Callable[[str, float], None] | None = None,
) -> ExportSummary:
    """Export the data set `data` to `root` as `kind`, a key of `FORMATS`, in shards of about `shard_bytes`.

    jobs: processes, 0 for one a core where that pays.   force: write over another export.   on_start: (shards, shards to make).
    on_shard: a shard's name and its seconds of audio. Raises `UsageError`, `InputError`, `OutputError`, `VerificationError`.
    """
    if kind not in FORMATS:
        raise UsageError(f"there is no format {kind}", hint=f"there are: {', '.join(FORMATS)}")
    source, form = open_source(data), FORMATS[kind]
    inside, outside = root.resolve(), data.resolve()
    if inside == outside or outside in inside.parents or inside in outside.parents:
        raise OutputError(
            f"{root} and the data set {data} are in each other", hint="give a folder beside it with --output"
        )
    ensure_owned_dir(root, _CLAIM, "sca export")  # before anything of ours is in it
    with lock_dir(root):
        claim = {
            "format": kind,
            "shard_bytes": shard_bytes,
            "sca_version": __version__,
            "source": source.fingerprint,
            "splits": source.splits,
        }
        _claim(root, claim, force)
        source.prove(lambda name, seconds: None)
        shards = form.plan(source, shard_bytes)
        done = {shard.name: before for shard in shards if (before := _done(root, shard)) is not None}
        todo = [shard for shard in shards if shard.name not in done]
        if on_start is not None:
            on_start(len(shards), len(todo))
        _sweep(root, {shard.name for shard in todo})
        if not jobs:
            heavy = sum(file.stat().st_size for file in source.sessions.values()) > _WORTH_WORKERS_BYTES
            jobs = cores() if heavy else 1
        for shard, outcome in run(todo, partial(_make, data=data, root=root, kind=kind), jobs):
            if isinstance(outcome, ScaError):
                raise outcome
            done[shard.name] = outcome
            if on_shard is not None:
                on_shard(shard.name, outcome.audio_s)
        made = [done[shard.name] for shard in shards]
        _finish(source, root, form, claim, made)
    files = [file for one in made for file in one.files]
    return ExportSummary(
        root=root,
        format=kind,
        shards=len(shards),
        made=len(todo),
        items=sum(one.items for one in made),
        files=len(files),
        bytes=sum(file.bytes for file in files),
        audio_s=sum(one.audio_s for one in made),
    )


def _claim(root: Path, wanted: dict[str, Any], force: bool) -> None:
    """Make sure `root` is empty or this very export; with `force`, empty it of what an export made."""
    path = root / _CLAIM
    if path.exists():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = {}
        if found == wanted:
            return
        if not force:
            other = next((key for key in wanted if found.get(key) != wanted[key]), "format")
            what = {"source": "of another data set", "format": f"in the format {found.get('format')}"}
            raise OutputError(
                f"{root} holds an export {what.get(other, f'with another {other} ({found.get(other)})')}",
                hint="give another --output, or --force to write it anew",
            )
        _clear(root)
    write_json(path, wanted)


def _clear(root: Path) -> None:
    """Take out what exports write and nothing else: the files that their records name, and what joins them."""
    with writing(root):
        for record in sorted((root / _PARTS).rglob("*.json")):
            try:
                names = [
                    file.name for file in Made.from_json(json.loads(record.read_text(encoding="utf-8"))["made"]).files
                ]
            except (OSError, ValueError, KeyError, TypeError):
                names = []
            for name in names:
                path = root / name
                if root.resolve() in path.resolve().parents:
                    path.unlink(missing_ok=True)
        for name in (EXPORT_FILE, SESSIONS_FILE, CUTS_FILE, LIST_FILE, "README.md", "report.json", "settings.json"):
            (root / name).unlink(missing_ok=True)
        shutil.rmtree(root / ".sca")
        for folder in sorted((path for path in root.rglob("*") if path.is_dir()), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()


def _record(root: Path, shard: Shard) -> Path:
    return root / _PARTS / f"{shard.name}.json"


def _done(root: Path, shard: Shard) -> Made | None:
    """What a run before made of this shard, if it is still there."""
    try:
        plain = json.loads(_record(root, shard).read_text(encoding="utf-8"))
        made = Made.from_json(plain["made"])
        whole = all((root / file.name).stat().st_size == file.bytes for file in made.files)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return made if whole and plain["of"] == _of(shard) else None


def _of(shard: Shard) -> list[Any]:
    return [shard.split, list(shard.sessions), shard.first, shard.last]


def _sweep(root: Path, todo: set[str]) -> None:
    """Remove what a killed run left half-made; the folder is ours while we hold its lock."""
    with writing(root):
        for left in root.rglob(".*.tmp"):
            left.unlink(missing_ok=True)
        for name in todo:
            (root / _PARTS / f"{name}.json").unlink(missing_ok=True)


def _make(shard: Shard, data: Path, root: Path, kind: str) -> Made:
    """One shard, in whatever process; its record last."""
    made = FORMATS[kind].make(_opened(data), root, shard)
    write_json(_record(root, shard), {"of": _of(shard), "made": made.to_json()})
    return made


_SOURCES: dict[Path, DatasetReader] = {}


def _opened(data: Path) -> DatasetReader:
    """The source of this process: a worker opens it once, not for every shard."""
    if data not in _SOURCES:
        _SOURCES.clear()
        _SOURCES[data] = open_source(data)
    return _SOURCES[data]


def _finish(source: DatasetReader, root: Path, form: Format, claim: dict[str, Any], made: list[Made]) -> None:
    for name in ("settings.json", "report.json"):
        try:
            document = json.loads((source.root / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{source.root / name} cannot be read: {error}") from error
        write_json(root / name, document)
    front = form.finish(source, root, made)
    write_duplex_card(root, source.report, front.get("configs", []), opening(form.name, source.splits))
    shards = [{key: value for key, value in one.to_json().items() if key != "lines"} for one in made]
    write_json(root / EXPORT_FILE, {**claim, "shards": shards})
