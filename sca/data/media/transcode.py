"""Transcode folders of downloaded sound or video to clean audio, on all cores.

ffmpeg does the work. A second run makes only what is missing. Every file is in the ledger of the output folder as kept
or failed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sca.audio.decode import AS_DEFAULT, Reading
from sca.cores import usable_cores
from sca.data.digests.file_facts import FileFacts
from sca.data.media.ffmpeg import FfmpegRunner, FfmpegStopped, find_ffmpeg
from sca.data.media.transcode_formats import AudioFormat
from sca.data.media.transcode_plan import SourceFile, clashes, find_sources
from sca.data.media.transcoder import TranscodeJob, Transcoder
from sca.data.runs.beside import ledger_beside
from sca.data.runs.executor import Executor, guarded
from sca.data.runs.incremental import IncrementalRun, Item, longest_first, with_traceback
from sca.data.runs.ledger import lock_dir
from sca.data.runs.local import STOP_S, ThreadExecutor
from sca.data.runs.progress import ItemProgress, ProgressListener
from sca.data.runs.shards import Shard, setting_up
from sca.data.runs.summary import Outcome, RunSummary
from sca.errors import ScaError, writing

__all__ = ["AudioFormat", "TranscodeDetails", "transcode"]


@dataclass(frozen=True, slots=True)
class TranscodeDetails:
    """What a transcoding run reports besides its items.

    Attributes:
        out: The output folder.
        ffmpeg: Origin and version of the program.
        wanted: The extensions that were read.
        left: Sound and video files with other extensions: their number by extension.
        ledger: The ledger.
    """

    out: Path
    ffmpeg: str
    wanted: tuple[str, ...] = ()
    left: dict[str, int] = field(default_factory=dict)
    ledger: Path = Path("ledger.jsonl")


def transcode(
    source: Path,
    out: Path,
    requested: AudioFormat,
    *,
    extensions: str | None = None,
    jobs: int = 0,
    force: bool = False,
    retry_failed: bool = True,
    reading: Reading = AS_DEFAULT,
    listener: ProgressListener | None = None,
    executor: Executor | None = None,
    shard: Shard | None = None,
) -> RunSummary[TranscodeDetails]:
    """Transcode the file `source`, or the files below the folder `source`, into the folder `out`.

    Args:
        source: A file or a folder.
        out: The output folder.
        requested: The format of the results.
        extensions: The files to read of a folder, see `input_extensions`; None is webm.
        jobs: ffmpeg processes at a time, 0 for one per core.
        force: Whether to overwrite results.
        retry_failed: Whether to try files again that failed before.
        reading: The track to read, and the damage to accept.
        listener: Receives the progress.
        executor: Where files are transcoded; by default in threads, which report the progress of each file.
        shard: The part of the items to do; None for all, and what joins them.

    Returns:
        The summary. The failure of a file is in it, and is not raised.

    Raises:
        UsageError: The results would overwrite their sources, or an extension is not supported.
        InputError: No file was found.
        OutputError: The folder cannot be written.
        MissingToolError: No working ffmpeg was found.
    """
    sources = find_sources(source, out, extensions, requested.extension)
    jobs = jobs or usable_cores()
    runner = FfmpegRunner(find_ffmpeg(), jobs)
    # Twice the processes: while some threads wait for a disk or hash a source, others keep ffmpeg running.
    threads = ThreadExecutor(2 * jobs, on_stop=runner.stop, grace_s=STOP_S)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    with lock_dir(out, shard):
        with setting_up(out, shard):
            ledger = ledger_beside(out, "transcode")
        if shard is None:  # others may be at work on theirs
            _remove_unfinished(out)
        details = TranscodeDetails(
            out, f"{runner.program.origin} {runner.program.version}", sources.wanted, sources.left, ledger.path
        )
        run = IncrementalRun(
            ledger,
            details,
            retry_failed=retry_failed or force,
            listener=listener,
            accept_damage_s=reading.accept_damage_s,
            shard=shard,
        )
        facts = FileFacts(out)
        transcoder = Transcoder(runner, requested, out, run.before, facts, force=force, reading=reading)
        todo = _plan(sources.files, transcoder, threads, run)

        def fail(item: Item[TranscodeJob], error: ScaError) -> Outcome:
            return transcoder.failed(item.job.source, error, retryable=True)

        work = partial(_transcode_one, transcoder=transcoder, listener=None if executor else listener)
        run.execute(todo, work, _keep, executor=executor or threads, fail=fail)
        run.settle()
    return run.summary


def _plan(
    sources: Sequence[SourceFile],
    transcoder: Transcoder,
    threads: ThreadExecutor,
    run: IncrementalRun[TranscodeDetails],
) -> list[Item[TranscodeJob]]:
    """Count the files that are done or cannot be read.

    Returns the others, longest first, so that no core waits at the end.
    """
    clash = clashes(sources)
    for source in sources:
        if source.item in clash:
            run.count(transcoder.failed(source, clash[source.item]))
    unclear = run.mine([source for source in sources if source.item not in clash], lambda source: source.item)
    checked = {source.item: result for source, result in threads.run(unclear, partial(guarded, transcoder.check))}
    todo = []
    for source in unclear:
        result = checked[source.item]
        if isinstance(result, ScaError):
            result = with_traceback(transcoder.failed(source, result), result)
        if isinstance(result, Outcome):
            run.count(result)
        elif not run.leave_old_failure(source.item):
            todo.append(Item(source.item, result, audio_s=result.expected_s or 0.0))
    return longest_first(todo)


def _transcode_one(job: TranscodeJob, transcoder: Transcoder, listener: ProgressListener | None) -> Outcome:
    def report(made_s: float) -> None:
        if listener is not None:
            listener.on_progress(ItemProgress(job.source.item, made_s))

    try:
        return transcoder.transcode(job, report)
    except FfmpegStopped:
        raise KeyboardInterrupt from None


def _keep(item: Item[TranscodeJob], outcome: Outcome) -> Outcome:
    return outcome


def _remove_unfinished(out: Path) -> None:
    """Remove what a killed run left. The lock is held, so no other run writes here."""
    with writing(out):
        for path in out.rglob(".sca-*.part"):
            path.unlink(missing_ok=True)
