"""The state of output folders: which stage wrote them, items by status, reasons with counts, hours of audio.

Everything is read from the ledgers and the records that the stages leave; nothing is written, and no model or audio is
loaded.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sca.data.runs.beside import Beside, has_downloads, own_ledger
from sca.data.runs.ledger import Ledger, LedgerEntry
from sca.errors import InputError
from sca.timeline import Show, read_shows
from sca.units import HEARD_HZ

__all__ = ["FailedItem", "ReasonCount", "StageStatus", "output_status", "read_status"]

STAGES = ("run", "download", "transcode", "transcribe", "convert", "synth", "build-duplex", "export")
_LEDGER = "ledger.jsonl"
_LEDGER_SUFFIX = ".ledger.jsonl"
_RECIPE = Path(".sca") / "run.json"
_RECIPE_LEDGER = Path(".sca") / "run.jsonl"
_STATUSES = ("kept", "verified", "skipped", "dropped", "partial", "failed", "started", "waiting")
"""The order in which statuses are listed."""
_DONE = ("kept", "verified", "skipped")


@dataclass(frozen=True, slots=True)
class ReasonCount:
    """A reason, and the number of items it applies to.

    Attributes:
        status: "failed" or "dropped".
        reason: The reason. File names and lengths that differ between items are replaced by "…".
        count: The number of items.
    """

    status: str
    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class FailedItem:
    """An item that failed.

    Attributes:
        item: Its name.
        reason: Why it failed.
        retryable: Whether the cause may pass.
    """

    item: str
    reason: str
    retryable: bool


@dataclass(frozen=True, slots=True)
class StageStatus:
    """The state of the output of one stage.

    Attributes:
        stage: The command that wrote it.
        path: The folder, or the file of timelines.
        is_complete: Whether nothing unfinished is left: for a data set or an export whether its last file was written.
        counts: The number of items by status.
        reasons: Why items were dropped or failed, the most frequent first.
        failed: The items that failed.
        audio_s: Seconds of audio in the results.
    """

    stage: str
    path: Path
    is_complete: bool
    counts: dict[str, int] = field(default_factory=dict)
    reasons: list[ReasonCount] = field(default_factory=list)
    failed: list[FailedItem] = field(default_factory=list)
    audio_s: float = 0.0


def read_status(root: Path) -> list[StageStatus]:
    """Read the state of every stage output in a folder: of the folder itself, its sub-folders, and of their recipes.

    Returns:
        The recipes (`sca run`), and the stages in the order of the pipeline.

    Raises:
        InputError: The folder does not exist, has no stage output, or a ledger cannot be read.
    """
    if not root.is_dir():
        raise InputError(f"{root} is not a folder", hint="give a folder that a command of sca wrote to")
    children = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    found = [status for folder in (root, *children) for status in (*_read_folder(folder), *_recipe(folder))]
    found = list({(status.stage, status.path.resolve()): status for status in found}.values())
    if not found:
        raise InputError(
            f"no output of sca found in {root}",
            hint=f"give a folder that one of these wrote to: {', '.join(f'sca {stage}' for stage in STAGES)}",
        )
    return sorted(found, key=lambda status: STAGES.index(status.stage))


def output_status(path: Path) -> list[StageStatus]:
    """Read the state of one output: a folder, or a file of timelines; empty if it has none, or does not exist.

    Raises:
        InputError: Its ledger cannot be read.
    """
    if path.is_dir():
        return _read_folder(path)
    ledger = path.with_name(path.stem + _LEDGER_SUFFIX)
    return [_transcriptions(ledger)] if path.suffix == ".jsonl" and ledger.is_file() else []


def _recipe(folder: Path) -> list[StageStatus]:
    """Return the status of the recipe of a folder, with its stages as items, and those of its outputs."""
    record = _read_object(folder / _RECIPE)
    stages = record.get("stages")
    if not isinstance(stages, list):
        return []
    ledger = Ledger(folder / _RECIPE_LEDGER).entries()
    names = [str(stage["name"]) for stage in stages if isinstance(stage, dict) and "name" in stage]
    entries = {name: ledger[name] if name in ledger else LedgerEntry(name, "", "waiting") for name in names}
    is_complete = all(entry.status in _DONE for entry in entries.values())
    outputs = [str(stage["output"]) for stage in stages if isinstance(stage, dict) and stage.get("output")]
    # Relative to the folder, or, outside of it and in records of earlier versions, to the working folder.
    paths = [inner if (inner := folder / output).exists() else Path(output) for output in dict.fromkeys(outputs)]
    found = [status for path in paths for status in output_status(path)]
    return [_status("run", folder, entries, 0.0, is_complete=is_complete), *found]


def _read_folder(folder: Path) -> list[StageStatus]:
    found = [_transcriptions(ledger) for ledger in sorted(folder.glob(f"*{_LEDGER_SUFFIX}"))]
    if (folder / ".sca" / "export.json").is_file():
        return [*found, _export(folder)]
    if not (folder / _LEDGER).is_file():
        return found
    entries = Ledger(folder / _LEDGER).entries()
    if (folder / ".sca" / "shows").is_dir():
        return [*found, _dataset("convert", folder, entries, folder / ".sca" / "shows")]
    if (folder / ".sca" / "synth.json").is_file():
        kept = [entry.item for entry in entries.values() if entry.status == "kept"]
        is_complete = all((folder / "LABELS" / f"{item}.json").is_file() for item in kept)
        return [*found, _status("synth", folder, entries, _recorded_s(entries), is_complete=is_complete)]
    if (folder / "settings.json").is_file():
        return [*found, _dataset("build-duplex", folder, entries, folder / ".sca" / "sessions")]
    if has_downloads(folder, entries):
        return [*found, _downloads(folder, entries), *_beside(folder, "transcode", _transcoded)]
    return [*found, *_beside(folder, "download", _downloads), _transcoded(folder, entries)]


def _beside(
    folder: Path, command: Beside, status: Callable[[Path, Mapping[str, LedgerEntry]], StageStatus]
) -> list[StageStatus]:
    """Return the status of a command that shares its folder with the one whose ledger is `ledger.jsonl`."""
    path = own_ledger(folder, command)
    return [status(folder, Ledger(path).entries())] if path.is_file() else []


def _downloads(folder: Path, entries: Mapping[str, LedgerEntry]) -> StageStatus:
    return _status("download", folder, entries, _recorded_s(entries), is_complete=not (folder / ".incomplete").is_dir())


def _transcoded(folder: Path, entries: Mapping[str, LedgerEntry]) -> StageStatus:
    unfinished = next(folder.rglob(".sca-*.part"), None)
    return _status("transcode", folder, entries, _recorded_s(entries), is_complete=unfinished is None)


def _recorded_s(entries: Mapping[str, LedgerEntry]) -> float:
    """Sum the lengths that a ledger records."""
    return sum(float(entry.extra.get("seconds", 0.0)) for entry in entries.values() if entry.status in _DONE)


def _transcriptions(ledger: Path) -> StageStatus:
    shows = ledger.with_name(ledger.name.removesuffix(_LEDGER_SUFFIX) + ".jsonl")
    lengths = {}
    if shows.is_file():
        lengths = {show.video_id: show.duration_s or 0.0 for _, show in read_shows(shows) if isinstance(show, Show)}
    entries = Ledger(ledger).entries()
    kept = {name for name, entry in entries.items() if entry.status == "kept"}
    audio_s = sum(seconds for name, seconds in lengths.items() if name in kept)
    return _status("transcribe", shows, entries, audio_s, is_complete=kept <= lengths.keys())


def _dataset(stage: str, folder: Path, entries: Mapping[str, LedgerEntry], records: Path) -> StageStatus:
    """Return the status of a data set, with one record per kept item in the folder `records`."""
    keys = {entry.key for entry in entries.values() if entry.status == "kept"}
    samples = 0.0
    for path in records.glob("*.json"):
        record = _read_object(path)
        if record.get("key") in keys:
            samples += _number(record.get("samples"))
    is_complete = (folder / "dataset_dict.json").is_file()
    return _status(stage, folder, entries, samples / HEARD_HZ, is_complete=is_complete)


def _export(folder: Path) -> StageStatus:
    """Return the status of an export, with its shards as items."""
    made = [_read_object(path).get("made") for path in sorted((folder / ".sca" / "parts").rglob("*.json"))]
    shards = [shard for shard in made if isinstance(shard, dict)]
    entries = Ledger(folder / ".sca" / _LEDGER).entries()
    others = {name: entry for name, entry in entries.items() if entry.status not in _DONE}
    kept = {str(shard["name"]): LedgerEntry(str(shard["name"]), "", "kept") for shard in shards if "name" in shard}
    audio_s = sum(_number(shard.get("audio_s")) for shard in shards)
    return _status("export", folder, others | kept, audio_s, is_complete=(folder / "export.json").is_file())


def _status(
    stage: str, path: Path, entries: Mapping[str, LedgerEntry], audio_s: float, *, is_complete: bool
) -> StageStatus:
    counts = Counter(entry.status for entry in entries.values())
    failed = [
        FailedItem(entry.item, entry.reason or "", entry.retryable)
        for entry in entries.values()
        if entry.status == "failed"
    ]
    order = sorted(counts, key=lambda status: (_STATUSES.index(status) if status in _STATUSES else 99, status))
    return StageStatus(
        stage=stage,
        path=path,
        is_complete=is_complete,
        counts={status: counts[status] for status in order},
        reasons=_reasons(entries.values()),
        failed=sorted(failed, key=lambda item: item.item),
        audio_s=audio_s,
    )


def _reasons(entries: Iterable[LedgerEntry]) -> list[ReasonCount]:
    counts = Counter((entry.status, _generalized(entry)) for entry in entries if entry.status in ("dropped", "failed"))
    ranked = sorted(counts.items(), key=lambda found: (-found[1], found[0]))
    return [ReasonCount(status, reason, count) for (status, reason), count in ranked]


def _generalized(entry: LedgerEntry) -> str:
    """Return a reason without the name of its item and without lengths, so that equal causes are counted together."""
    reason = re.sub(rf"\S*{re.escape(entry.item)}\S*", "…", entry.reason or "")
    return re.sub(r"\d+\.\d+", "…", reason)


def _read_object(path: Path) -> dict[str, object]:
    """Read a JSON object; empty for a file that holds something else, such as one that is being replaced."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
