"""Transcribe recordings into a file of timelines, one JSON line per recording.

A line is appended as soon as it is known, so a crash loses at most the recordings in progress. The ledger beside the
file holds the settings of each line and the reasons of failures. A recording is done if its content, its path within the
input and the settings are those of its line.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from sca.audio.decode import AS_DEFAULT, Reading, probe
from sca.config import DiarizationConfig, QualityConfig
from sca.data.captions.witness import CaptionTotals, CaptionWitness
from sca.data.digests.file_facts import FileFacts
from sca.data.quality.filters import ready_filters
from sca.data.quality.parts import Part
from sca.data.reactions.choice import Choice, choose_detector
from sca.data.runs.executor import Executor, guarded
from sca.data.runs.incremental import IncrementalRun, Item, longest_first
from sca.data.runs.ledger import Ledger, LedgerEntry, lock_dir
from sca.data.runs.model_identity import model_identity
from sca.data.runs.progress import ProgressListener
from sca.data.runs.shards import Shard, remove_shard_files, shard_files
from sca.data.runs.summary import ItemReason, Outcome, RunSummary
from sca.data.transcription.diarized import diarization_identity
from sca.data.transcription.recordings import KnownLine, find_recordings
from sca.data.transcription.selection import (
    KnownFiles,
    drop_parts,
    left_out_file,
    plan_items,
    plan_left_out,
    select,
)
from sca.data.transcription.show_file import ShowFile
from sca.data.transcription.text_files import TextFiles, is_text_of
from sca.data.transcription.transcriber import Transcribed, Transcriber, TranscriptionJob, processes_of, threads_of
from sca.data.transcription.whisper import Recognizer, RecognizerOptions
from sca.data.transcription.windows import partial_dir
from sca.display.blocks import block
from sca.display.sound import beginning, player
from sca.errors import MissingToolError, OutputError, ScaError, UpstreamError, UsageError
from sca.textutil import counted
from sca.timeline import Show, read_shows
from sca.word_times.profile import Profile, identity

__all__ = ["TranscribeDetails", "ledger_of", "transcribe"]

# A model that cannot be loaded fails every recording.
_FATAL = (OutputError, MissingToolError, UpstreamError, UsageError)


@dataclass(slots=True)
class TranscribeDetails:
    """What a transcription run reports besides its items.

    Attributes:
        save_file: The file of timelines.
        words: Words of this run.
        events: Events of this run, by role.
        guards: How often each hallucination guard acted in this run.
        text_files: Files in other formats that this run wrote.
        captions: How the recordings of this run and of earlier ones agree with their captions.
        left_out: How many recordings each quality filter leaves out.
        profile: The profile that corrects word times; None for none.
        recordings: The recordings that were found, by the id of their line.
    """

    save_file: Path
    words: int = 0
    events: Counter[str] = field(default_factory=Counter)
    guards: Counter[str] = field(default_factory=Counter)
    text_files: int = 0
    captions: CaptionTotals = field(default_factory=CaptionTotals)
    left_out: dict[str, int] = field(default_factory=dict)
    profile: Profile | None = None
    recordings: dict[str, Path] = field(default_factory=dict)

    def _repr_html_(self) -> str:
        """Return a block for notebooks: the counts, and the first line of the file with its recording."""
        facts = {"file": self.save_file, "words of this run": self.words, "recordings": len(self.recordings)}
        shows = (show for _, show in read_shows(self.save_file) if isinstance(show, Show))
        show = next(shows, None) if self.save_file.exists() else None
        if show is None:
            return block("Transcription", facts)
        recording = self.recordings.get(show.video_id)
        sound = "" if recording is None or not recording.exists() else player(beginning(recording))
        return block("Transcription", facts, sound, show._repr_html_())

    def add(self, show: Show) -> None:
        """Count a line."""
        self.words += len(show.words)
        self.events.update(event.role for event in show.timeline)
        self.guards.update(show.guards)


def ledger_of(save_file: Path) -> Path:
    """Return the path of the ledger of a file of timelines."""
    return save_file.with_name(f"{save_file.stem}.ledger.jsonl")


def transcribe(
    sources: Sequence[Path],
    save_file: Path,
    options: RecognizerOptions,
    *,
    reactions: str = "auto",
    captions: str = "auto",
    retry_failed: bool = False,
    reading: Reading = AS_DEFAULT,
    listener: ProgressListener | None = None,
    recognizer: Recognizer | None = None,
    executor: Executor | None = None,
    shard: Shard | None = None,
    texts: TextFiles | None = None,
    diarization: DiarizationConfig | None = None,
    filters: QualityConfig | None = None,
    profile: Profile | None = None,
) -> RunSummary[TranscribeDetails]:
    """Transcribe files, and the files of folders, into the JSONL `save_file`.

    Args:
        sources: Files and folders.
        save_file: The file of timelines to write or bring up to date.
        options: How speech is recognized.
        reactions: The reaction detector: `auto`, or see `sca.data.reactions.registry.load_detector`.
        captions: Captions to compare with: `auto` for those beside the recordings, `none`, or a folder to search too.
        retry_failed: Whether to try recordings again that failed before with the same content and settings.
        reading: The track to read, and the damage to accept: recordings within a higher limit are tried again.
        listener: Receives the progress.
        recognizer: A recognizer that was loaded with these options.
        executor: Where recordings are transcribed, each worker with a model of its own; by default in `options.workers`
            threads that share the model.
        shard: The part of the recordings to transcribe; None for all, and for the files that have the lines of all.
        texts: Files in other formats to write for each recording.
        diarization: The method to find the speakers; None for no speakers.
        filters: Which recordings are left out: their lines are in `STEM.left_out.jsonl` until a later run accepts them.
        profile: What corrects the times of words (`sca.word_times.profile.find_profile`); None for nothing.

    Returns:
        The summary. The failure of a recording is in it, and is not raised.

    Raises:
        InputError: No recording was found.
        OutputError: The file cannot be written.
        ScaError: The model cannot be loaded.
    """
    files = find_recordings(sources)
    store = _Files(save_file, texts or TextFiles(save_file.parent), shard)
    choice, witness = choose_detector(reactions), _witness(captions)
    filters, profile = ready_filters(filters), profile if options.word_timestamps else None
    with lock_dir(save_file.parent, shard):
        store.adopt_shards()
        run = IncrementalRun(
            Ledger(ledger_of(save_file)),
            TranscribeDetails(save_file, profile=profile),
            retry_failed=retry_failed,
            listener=listener,
            accept_damage_s=reading.accept_damage_s,
            shard=shard,
        )
        lines = store.lines(run.before)
        if shard is None:
            plan_left_out(run)
        known = KnownFiles(run.before, FileFacts(save_file.parent))
        settings = _settings_key(options, choice, reading, diarization, profile)
        items = plan_items(run, files, known, lines, settings, partial_dir(save_file))
        run.summary.details.recordings = {item.name: item.job.recording.path for item in items}
        find_parts = filters.copies == "drop" and shard is None
        parts = drop_parts(run, items, lines, reading, save_file.parent) if find_parts else {}
        transcribed = [item for item in items if item.name not in parts or item.name in lines]
        todo = run.plan(transcribed, lambda item: item.name in lines)
        if todo:
            if shard is None:  # others may be at work on theirs
                store.keep_partial(todo)
            run.summary.notes += _notes_on_detector(choice, todo, lines, save_file)
            if executor is None and recognizer is None:
                executor = processes_of(options)
            transcriber = Transcriber(
                options if executor is None else replace(options, workers=1),
                choice.name,
                recognizer,
                reading,
                diarization,
                save_file.parent,
                listener,
                correction=None if profile is None else profile.correction,
            )
            executor = executor or threads_of(transcriber.load())
            record = _recorder(run, store, known, choice)
            run.execute(_with_lengths(todo, reading), transcriber, record, executor=executor, fatal=_FATAL)
        if shard is not None:
            store.shows.settle()
            run.settle()
            return run.summary
        _finish(run, store, known, items, todo, (filters, parts), reading, witness)
    return run.summary


class _Files:
    """The files that a run writes."""

    def __init__(self, save_file: Path, texts: TextFiles, shard: Shard | None = None) -> None:
        """Check them, before a model is loaded. The lines of a shard go to a file of its own.

        Raises:
            OutputError: One cannot be written.
        """
        self._whole = ShowFile(save_file)
        self.shows = self._whole if shard is None else ShowFile(shard.file_of(save_file))
        self.left_out = ShowFile(left_out_file(save_file))
        self.texts = texts
        self._partial = partial_dir(save_file)
        texts.check()

    def lines(self, before: Mapping[str, LedgerEntry]) -> dict[str, KnownLine]:
        """Return the lines of earlier runs, with those that filters left out."""
        origins = {name: str(entry.extra["origin"]) for name, entry in before.items() if "origin" in entry.extra}
        lines = self.left_out.lines(origins) | self._whole.lines(origins)
        for path in shard_files(self._whole.path):
            lines |= ShowFile(path).lines(origins)
        return lines

    def adopt_shards(self) -> None:
        """Move the lines of shards to the file of a whole run, which replace those of the same recordings."""
        if self.shows is self._whole:
            for path in shard_files(self._whole.path):
                self._whole.take(ShowFile(path))
            remove_shard_files(self._whole.path)

    def keep_partial(self, todo: Sequence[Item[TranscriptionJob]]) -> None:
        """Delete the windows of recordings that are not to do: they were made with other settings."""
        wanted = {item.job.partial for item in todo}
        for path in self._partial.glob("*"):
            if path not in wanted:
                path.unlink()

    def drop_partial(self, job: TranscriptionJob) -> None:
        """Delete the windows of a recording that has a line."""
        if job.partial is not None:
            job.partial.unlink(missing_ok=True)
            with suppress(OSError):  # others are in progress, or it does not exist
                self._partial.rmdir()


def _settings_key(
    options: RecognizerOptions,
    choice: Choice,
    reading: Reading,
    diarization: DiarizationConfig | None,
    profile: Profile | None,
) -> str:
    """Return what decides a line besides the recording, as JSON."""
    models = {"model": model_identity(options.model), "reactions": choice.identity}
    settings: dict[str, object] = options.identity() | models | reading.choice() | identity(profile)
    if diarization is not None:  # left out otherwise, so that lines of earlier versions stay finished
        settings["diarization"] = diarization_identity(diarization)
    return json.dumps(settings, sort_keys=True)


def _recorder(
    run: IncrementalRun[TranscribeDetails], store: _Files, known: KnownFiles, choice: Choice
) -> Callable[[Item[TranscriptionJob], Transcribed], Outcome]:
    """Return the function that writes the result of a recording."""
    details = run.summary.details

    def record(item: Item[TranscriptionJob], result: Transcribed) -> Outcome:
        # The files come first: a recording with a line is finished, and its files are not written again.
        details.text_files += store.texts.write(result.show)
        store.shows.append(result.show)
        store.drop_partial(item.job)
        details.add(result.show)
        extra = known.facts(item.job.recording.file) | {"reactions": choice.identity}
        extra["quality"] = result.quality.document()
        if details.profile is not None:
            extra["word_times"] = str(details.profile)
        entry = LedgerEntry(item.name, item.key, "kept", notes=result.notes, extra=extra)
        return Outcome(entry, result.show.duration_s or 0.0)

    return record


def _with_lengths(todo: Sequence[Item[TranscriptionJob]], reading: Reading) -> list[Item[TranscriptionJob]]:
    """Return items with the lengths of their recordings, as the headers state them, longest first."""
    found = []
    for item in todo:
        try:
            info = guarded(lambda path: probe(path, reading=reading), item.job.recording.path)
            length_s = info.duration_s or 0.0
        except ScaError:  # the work on the item fails with it
            length_s = 0.0
        found.append(replace(item, audio_s=length_s))
    return longest_first(found)


def _finish(
    run: IncrementalRun[TranscribeDetails],
    store: _Files,
    known: KnownFiles,
    items: Sequence[Item[TranscriptionJob]],
    todo: Sequence[Item[TranscriptionJob]],
    chosen: tuple[QualityConfig, Mapping[str, Part]],
    reading: Reading,
    witness: CaptionWitness | None,
) -> None:
    """Complete the files and the ledger when every recording has its line."""
    store.shows.settle()
    for item in items:
        entry = run.entries[item.name]
        run.entries[item.name] = replace(entry, extra=entry.extra | known.facts(item.job.recording.file))
    made = frozenset(item.name for item in todo)
    run.summary.details.left_out = select(
        run, items, made, (store.shows, store.left_out), chosen[0], reading, chosen[1]
    )
    if witness is not None:
        _compare_captions(run, store.shows, witness, items)
    run.settle()
    _complete_texts(run.summary, store.shows, store.texts, {item.name for item in items} - made)


def _notes_on_detector(
    choice: Choice, todo: Sequence[Item[TranscriptionJob]], lines: Mapping[str, KnownLine], save_file: Path
) -> list[ItemReason]:
    """Return the remark of a choice, and how many lines are replaced that were made with another detector."""
    notes = [choice.note] if choice.note else []
    known = Counter(lines[item.name].reactions for item in todo if item.name in lines)
    for name, count in sorted((name, count) for name, count in known.items() if name not in (None, choice.label)):
        notes.append(
            f"{counted(count, 'line')} with reactions by {name} made again with {choice.label}; "
            f"--reactions {name} would not"
        )
    return [ItemReason(save_file.name, note) for note in notes]


def _witness(captions: str) -> CaptionWitness | None:
    if captions == "none":
        return None
    return CaptionWitness(None if captions == "auto" else Path(captions).expanduser(), is_text_of)


def _compare_captions(
    run: IncrementalRun[TranscribeDetails],
    shows: ShowFile,
    witness: CaptionWitness,
    items: Sequence[Item[TranscriptionJob]],
) -> None:
    """Record in the ledger how the lines of this run and of earlier ones agree with the captions that are there now."""
    recordings = {item.name: item.job.recording.path for item in items}
    for show in shows.shows():
        entry = run.entries.get(show.video_id)
        if entry is None or entry.status != "kept" or show.video_id not in recordings:
            continue
        facts, notes = witness.compare(recordings[show.video_id], show)
        extra = {name: value for name, value in entry.extra.items() if name != "captions"}
        run.entries[show.video_id] = replace(entry, extra=extra | ({"captions": facts} if facts else {}))
        run.summary.notes += [ItemReason(show.video_id, note) for note in notes]
    run.summary.details.captions = witness.totals


def _complete_texts(
    summary: RunSummary[TranscribeDetails], shows: ShowFile, texts: TextFiles, finished: Set[str]
) -> None:
    """Write the files that recordings of earlier runs lack."""
    names = finished - {reason.item for reason in summary.failed}
    if not texts.formats or not names:
        return
    for show in shows.shows():
        if show.video_id in names:
            written, notes = texts.complete(show)
            summary.details.text_files += written
            summary.notes += [ItemReason(show.video_id, note) for note in notes]
