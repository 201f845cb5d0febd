"""What a run knows of its recordings beside their lines: their files, their items, their quality, and which are left out.

Lines of recordings that the quality filters leave out are moved to a file of their own, and back when a later run with
other filters accepts them.
"""

import os
from collections.abc import Container, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from sca.audio.coded.reading import Reading
from sca.config import QualityConfig
from sca.cores import usable_cores
from sca.data.digests.file_facts import FileFacts
from sca.data.quality.filters import find_copies_of, fingerprint_of, is_filtering, reasons_to_drop
from sca.data.quality.measure import Quality, measure_quality
from sca.data.quality.mos import Mos, load_mos, score_recording
from sca.data.quality.parts import Part, find_parts
from sca.data.quality.sketch import sketches_of
from sca.data.runs.executor import UnexpectedError, guarded
from sca.data.runs.files import Unchanged
from sca.data.runs.incremental import IncrementalRun, Item, failure, with_traceback
from sca.data.runs.ledger import LedgerEntry
from sca.data.runs.local import ThreadExecutor
from sca.data.runs.summary import ItemReason, Outcome
from sca.data.transcription.recordings import FoundFile, KnownLine, name_recordings
from sca.data.transcription.show_file import ShowFile
from sca.data.transcription.transcriber import TranscriptionJob
from sca.errors import InputError, ScaError

__all__ = ["KnownFiles", "drop_parts", "left_out_file", "plan_items", "plan_left_out", "select"]

Details = TypeVar("Details")
_FILE, _ORIGIN, _QUALITY, _COPY_OF, _PART, _MOS = "file", "origin", "quality", "copy_of", "part", "mos"
_UNREAD = "?"
"""The digest of a recording of another shard."""


def left_out_file(save_file: Path) -> Path:
    """Return the file of the lines that filters left out."""
    return save_file.with_name(f"{save_file.stem}.left_out.jsonl")


class KnownFiles:
    """Digests of files, from the ledger for those whose size and time of change are the same as in the run before."""

    def __init__(self, entries: Mapping[str, LedgerEntry], facts: FileFacts) -> None:
        """Create the digests that a ledger has.

        Args:
            entries: The entries of the ledger.
            facts: What is known of files besides.
        """
        self._facts = facts
        extras = [entry.extra for entry in entries.values() if entry.extra.get(_FILE) and entry.extra.get(_ORIGIN)]
        self._unchanged: dict[str, Unchanged] = {}
        self._known: dict[str, list[object]] = {str(extra[_ORIGIN]): list(extra[_FILE]) for extra in extras}

    def sha256(self, file: FoundFile) -> str:
        """Return the SHA-256 of a file.

        Raises:
            InputError: The file cannot be read.
        """
        unchanged = self._unchanged[file.origin] = Unchanged(file.path)
        stat = unchanged.stat
        known = self._known.get(file.origin, [None, None, None])
        is_known = known[:2] == stat and not self._facts.may_differ(unchanged)
        digest = str(known[2]) if is_known else self._facts.sha256(unchanged)
        self._known[file.origin] = [*stat, digest]
        return digest

    def unchanged(self, file: FoundFile) -> Unchanged:
        """Return the identity that a file had before its digest was computed."""
        return self._unchanged[file.origin]

    def facts(self, file: FoundFile) -> dict[str, object]:
        """Return what the ledger records of a file whose digest was computed or known."""
        return {_ORIGIN: file.origin, _FILE: self._known[file.origin]}


def plan_items(
    run: IncrementalRun[Details],
    files: Sequence[FoundFile],
    known: KnownFiles,
    lines: Mapping[str, KnownLine],
    settings: str,
    windows: Path,
) -> list[Item[TranscriptionJob]]:
    """Return the items of a run with these settings. Recordings that cannot be read become failures of the run.

    A shard reads its own recordings only. Those of others have a part in the names, without a digest: files that only the
    digest tells apart have the same path within the input, so they are of one shard.

    Args:
        run: The run.
        files: The files of all shards.
        known: The digests of earlier runs.
        lines: The lines that exist, by id.
        settings: What decides a line besides the recording.
        windows: The folder of the windows of unfinished recordings.
    """
    own = {file.origin for file in run.mine(files, lambda file: file.source)}
    readable, digests = [], []
    for file in files:
        digest = _digest(run, file, known) if file.origin in own else _UNREAD if os.access(file.path, os.R_OK) else None
        if digest is not None:
            readable.append(file)
            digests.append(digest)
    items = []
    for recording, digest in zip(name_recordings(readable, digests, lines), digests, strict=True):
        if digest == _UNREAD:
            continue
        key = sha256(f"{digest} {settings}".encode()).hexdigest()
        job = TranscriptionJob(recording, digest, windows / f"{key}.jsonl", known.unchanged(recording.file))
        items.append(Item(recording.video_id, job, key))
    return sorted(items, key=lambda item: item.name)


def _digest(run: IncrementalRun[Details], file: FoundFile, known: KnownFiles) -> str | None:
    """Return the SHA-256 of a recording; None if it cannot be read, which becomes a failure of the run."""
    before = run.before.get(file.source)
    if before is not None and before.status == "failed" and not before.key:  # of the branch below; it is tried again
        del run.before[file.source]
    try:
        return guarded(known.sha256, file)
    except InputError as error:
        run.summary.failed.append(ItemReason(file.source, error.message))
    except UnexpectedError as error:  # an id needs the digest, so the ledger has the path
        run.record(with_traceback(failure(Item(file.source, file), error), error))
    return None


def plan_left_out(run: IncrementalRun[Details]) -> None:
    """Plan recordings that earlier filters left out as transcribed ones; `select` decides again."""
    for name, entry in run.before.items():
        if entry.status == "dropped":
            run.before[name] = replace(entry, status="kept", reason=None)


def select(
    run: IncrementalRun[Details],
    items: Sequence[Item[TranscriptionJob]],
    made: frozenset[str],
    files: tuple[ShowFile, ShowFile],
    filters: QualityConfig,
    reading: Reading,
    parts: Mapping[str, Part],
) -> dict[str, int]:
    """Decide which of the finished recordings of a run are left out, and move their lines.

    Args:
        run: The run; its entries and its summary are completed.
        items: All items of the run.
        made: The names of those that this run transcribed.
        files: The file of timelines, and that of the lines that are left out.
        filters: The quality filters.
        reading: How recordings are read.
        parts: The recordings of `drop_parts`.

    Returns:
        How many recordings each filter leaves out.
    """
    kept = {item.name: item for item in items if item.name in run.entries and run.entries[item.name].status == "kept"}
    qualities = {name: quality for name in kept if (quality := Quality.of(run.entries[name].extra.get(_QUALITY)))}
    if is_filtering(filters):
        qualities |= _measured(run, {name: kept[name] for name in kept if name not in qualities}, files, reading)
    scores = _scored(run, kept, reading) if filters.min_mos is not None else {}
    prints = {}
    for name, quality in qualities.items():
        try:
            prints[name] = guarded(fingerprint_of, quality)
        except UnexpectedError as error:
            _fail(run, kept[name], error, made=name in made)
    copies = find_copies_of({name: one for name, one in prints.items() if name not in parts})
    untranscribed = sum(name not in kept for name in parts)
    counts: dict[str, int] = {"copies": untranscribed} if untranscribed else {}
    dropped = set()
    for name in prints:
        quality, entry, first = qualities[name], run.entries[name], copies.get(name)
        reasons = reasons_to_drop(quality, filters, first, scores.get(name))
        extra = {key: value for key, value in entry.extra.items() if key not in (_COPY_OF, _PART)}
        if (part := parts.get(name)) is not None:
            reasons["copies"], first = str(part), part.of
            extra |= {_PART: part.document()}
        extra |= {_QUALITY: quality.document()} | ({_COPY_OF: first} if first else {})
        reason = "; ".join(reasons.values()) or None
        run.entries[name] = replace(entry, status="dropped" if reason else "kept", reason=reason, extra=extra)
        if reason:
            dropped.add(name)
            run.summary.drop(name, reason, made=name in made)
            counts |= {filter_name: counts.get(filter_name, 0) + 1 for filter_name in reasons}
        elif first and name in made:
            run.summary.notes.append(ItemReason(name, f"the same recording as {first}"))
    shows, left_out = files
    left_out.hand_over(kept.keys() - dropped, shows)
    shows.hand_over(dropped, left_out)
    shows.settle()
    return dict(sorted(counts.items()))


def drop_parts(
    run: IncrementalRun[Details],
    items: Sequence[Item[TranscriptionJob]],
    lines: Container[str],
    reading: Reading,
    folder: Path,
) -> dict[str, Part]:
    """Find the recordings that are copies or parts of others, and count those without a line as left out.

    Args:
        run: The run. Those that have a line are left to `select`.
        items: All items of the run.
        lines: The names of those that have a line.
        reading: How recordings are read.
        folder: The output folder, where what is known of their sound is kept.
    """
    files = {item.name: (item.job.recording.path, item.job.sha256) for item in items}
    parts = find_parts(sketches_of(files, folder / ".sca" / ".sketches", reading))
    for item in items:
        part = parts.get(item.name)
        if part is not None and item.name not in lines:
            extra = {_COPY_OF: part.of, _PART: part.document()}
            run.count(Outcome(LedgerEntry(item.name, item.key, "dropped", str(part), extra=extra), made=False))
    return parts


def _fail(run: IncrementalRun[Details], item: Item[TranscriptionJob], error: UnexpectedError, *, made: bool) -> None:
    """Count an item as failed that was counted as done. Its line stays, and `--retry-failed` makes it again."""
    entry = with_traceback(failure(item, error), error).entry
    run.entries[item.name] = replace(entry, extra=run.entries[item.name].extra | entry.extra)
    run.summary.fail(item.name, entry.reason or "", made=made)


def _scored(
    run: IncrementalRun[Details], items: Mapping[str, Item[TranscriptionJob]], reading: Reading
) -> dict[str, Mos]:
    """Return the scores of recordings. Those that the ledger does not have are computed, and each is appended to it."""
    missing = [item for name, item in items.items() if Mos.of(run.entries[name].extra.get(_MOS)) is None]

    def score(item: Item[TranscriptionJob]) -> Mos:
        return score_recording(item.job.recording.path, load_mos(), reading)

    with closing(ThreadExecutor(usable_cores()).run(missing, partial(guarded, score))) as results:
        for item, found in results:
            if isinstance(found, ScaError):
                run.summary.notes.append(ItemReason(item.name, f"its MOS is unknown: {found.message}"))
            else:
                entry = run.entries[item.name]
                run.entries[item.name] = replace(entry, extra=entry.extra | {_MOS: found._asdict()})
                run.ledger.append(run.entries[item.name])
    found_of = {name: Mos.of(run.entries[name].extra.get(_MOS)) for name in items}
    return {name: scores for name, scores in found_of.items() if scores is not None}


def _measured(
    run: IncrementalRun[Details],
    items: Mapping[str, Item[TranscriptionJob]],
    files: tuple[ShowFile, ShowFile],
    reading: Reading,
) -> dict[str, Quality]:
    """Measure recordings that were transcribed before their quality was."""
    if not items:
        return {}
    found = {}
    for file in files:
        for show in file.shows():
            item = items.get(show.video_id)
            if item is None or show.video_id in found:
                continue
            try:
                found[show.video_id] = measure_quality(item.job.recording.path, show, reading)
            except InputError as error:
                run.summary.notes.append(ItemReason(show.video_id, f"its quality is unknown: {error.message}"))
    return found
