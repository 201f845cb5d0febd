"""`sca export`: verifies the source, writes the missing shards, joins them, and writes the export's record last."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path

from sca.data.duplex.report.card import write_duplex_card
from sca.data.duplex.storage.detect import EXPORT_FILE, GRID_FORMATS
from sca.data.duplex.storage.reader import DatasetReader, open_dataset
from sca.data.export.base import Exporter, Shard, ShardResult
from sca.data.export.folder import (
    LEDGER_FILE,
    Claim,
    claim_folder,
    read_result,
    remove_partial_files,
    write_result,
)
from sca.data.export.registry import load_exporter
from sca.data.runs.executor import Executor
from sca.data.runs.files import write_json
from sca.data.runs.incremental import IncrementalRun, Item
from sca.data.runs.ledger import Ledger, LedgerEntry
from sca.data.runs.local import ProcessExecutor
from sca.data.runs.owner import EXPORT, hold
from sca.data.runs.progress import ProgressListener
from sca.data.runs.shards import Shard as Part
from sca.data.runs.shards import setting_up
from sca.data.runs.summary import Outcome, RunSummary
from sca.distribution import __version__
from sca.errors import InputError, OutputError, ScaError, writing

__all__ = ["ExportDetails", "export"]

_MIN_BYTES_FOR_WORKERS = 256 << 20  # below this, starting worker processes takes longer than the export


@dataclass(slots=True)
class ExportDetails:
    """The content of an export.

    Attributes:
        root: Its folder.
        format: The name of its format.
        can_verify: Whether `sca verify` can read the format.
        shards: Finished shards.
        items: Items in them: rows, tracks or conversations, depending on the format.
        files: Files of the shards.
        bytes: Size of these files.
        audio_s: Seconds of audio in them.
    """

    root: Path
    format: str
    can_verify: bool
    shards: int = 0
    items: int = 0
    files: int = 0
    bytes: int = 0
    audio_s: float = 0.0


def export(
    data: Path,
    root: Path,
    format: str,  # noqa: A002 - the name of the concept
    *,
    shard_bytes: int,
    jobs: int = 0,
    force: bool = False,
    retry_failed: bool = True,
    executor: Executor | None = None,
    part: Part | None = None,
    listener: ProgressListener | None = None,
) -> RunSummary[ExportDetails]:
    """Export a data set that `sca build-duplex` made, or continue an interrupted export.

    A shard that cannot be written ends the export, except if its worker process died twice: then the other shards are
    written, the summary has the failure, and the export stays unfinished (it has no export.json).

    Args:
        data: The data set.
        root: The folder of the export.
        format: The name of the format, see `sca.data.export.registry.exporter_names`.
        shard_bytes: The approximate size of a shard.
        jobs: Worker processes; 0 is one per core for large data sets, and this process for small ones.
        force: Overwrite another export in `root`.
        retry_failed: Whether to try shards again that failed in an earlier run.
        executor: Where shards are written; by default in `jobs` processes.
        part: The part of the export's shards to write; None for all, and the files that join them.
        listener: Receives the progress.

    Raises:
        UsageError: No format has this name.
        MissingToolError: The package of the format cannot be imported.
        InputError: `data` is not a finished data set, or is an export.
        VerificationError: `data` does not match its report.
        OutputError: `root` contains other files or another export, or cannot be written to.
    """
    exporter, dataset = load_exporter(format), open_dataset(data)
    _check_separate(data, root)
    with hold(root, EXPORT, part):
        claim = Claim(format, shard_bytes, __version__, dataset.fingerprint, dataset.splits)
        with setting_up(root, part):
            claim_folder(root, claim, force=force)
        dataset.check_digests()
        details = ExportDetails(root, format, can_verify=format in GRID_FORMATS)
        run = IncrementalRun(
            Ledger(root / LEDGER_FILE), details, retry_failed=retry_failed, listener=listener, shard=part
        )
        shards = exporter.plan(dataset, shard_bytes)
        results = _write_missing(run, dataset, shards, executor or ProcessExecutor(jobs or _default_jobs(dataset)))
        finished = [results[shard.name] for shard in shards if shard.name in results]
        if part is None and len(finished) == len(shards):
            _finish(dataset, exporter, claim, root, finished)
        _add_totals(details, finished)
        return run.summary


def _check_separate(data: Path, root: Path) -> None:
    source, target = data.resolve(), root.resolve()
    if source == target or source in target.parents or target in source.parents:
        raise OutputError(
            f"one of {root} and the data set {data} contains the other", hint="give a folder beside it with --output"
        )


def _default_jobs(dataset: DatasetReader) -> int:
    """Return the number of workers: one for small data sets, 0 (one per core) for large ones."""
    return 0 if sum(file.stat().st_size for file in dataset.sessions.values()) > _MIN_BYTES_FOR_WORKERS else 1


def _write_missing(
    run: IncrementalRun[ExportDetails], dataset: DatasetReader, shards: Sequence[Shard], executor: Executor
) -> dict[str, ShardResult]:
    """Write the shards that are not finished, and return the results of all finished shards by name."""
    root, export_format = run.summary.details.root, run.summary.details.format
    results: dict[str, ShardResult] = {}
    todo: list[Item[Shard]] = []
    own = {shard.name for shard in run.mine(shards, lambda shard: shard.name)}
    for shard in shards:
        result = read_result(root, shard)
        if result is not None:
            results[shard.name] = result
            run.count(_kept(result, made=False))
        elif shard.name in own and not run.leave_old_failure(shard.name):
            todo.append(Item(shard.name, shard))
    if len(results) < len(shards):  # an export that lost a shard is unfinished again
        with writing(root):
            (root / EXPORT_FILE).unlink(missing_ok=True)
    remove_partial_files(root, [item.name for item in todo])

    def record(item: Item[Shard], result: ShardResult) -> Outcome:
        results[item.name] = result
        return _kept(result, made=True)

    content = json.dumps(dataset.fingerprint)
    work = partial(_write_shard, data=dataset.root, content=content, root=root, export_format=export_format)
    run.execute(todo, work, record, executor=executor, fatal=(ScaError,))
    run.settle(keep_others=False)
    return results


def _kept(result: ShardResult, *, made: bool) -> Outcome:
    return Outcome(LedgerEntry(result.name, "", "kept"), result.audio_s, made=made)


def _write_shard(shard: Shard, data: Path, content: str, root: Path, export_format: str) -> ShardResult:
    """Write one shard and then its record, in any process."""
    result = load_exporter(export_format).write_shard(_open_dataset(data, data.absolute(), content), root, shard)
    write_result(root, shard, result)
    return result


@lru_cache(maxsize=1)
def _open_dataset(data: Path, place: Path, content: str) -> DatasetReader:
    """Open the data set once per worker process, not once per shard.

    Args:
        data: The data set.
        place: Its absolute path: the working folder of a process may change.
        content: Its fingerprint: another one may take its place.
    """
    return open_dataset(data)


def _finish(
    dataset: DatasetReader, exporter: Exporter, claim: Claim, root: Path, results: Sequence[ShardResult]
) -> None:
    """Write the files that join the shards, and export.json as the last one."""
    for name in ("settings.json", "report.json"):
        try:
            document = json.loads((dataset.root / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{dataset.root / name} cannot be read: {error}") from error
        write_json(root / name, document)
    configs = exporter.finish(dataset, root, results)
    write_duplex_card(root, dataset.report, configs, exporter.usage(dataset.splits))
    shards = [{name: value for name, value in result.to_json().items() if name != "lines"} for result in results]
    write_json(root / EXPORT_FILE, {**asdict(claim), "shards": shards})


def _add_totals(details: ExportDetails, results: Sequence[ShardResult]) -> None:
    files = [file for result in results for file in result.files]
    details.shards = len(results)
    details.items = sum(result.items for result in results)
    details.files = len(files)
    details.bytes = sum(file.bytes for file in files)
    details.audio_s = sum(result.audio_s for result in results)
