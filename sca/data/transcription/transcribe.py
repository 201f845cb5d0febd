"""Recordings become timelines: one JSON line each, appended as soon as it is known, so that a crash costs the file in hand.

The lines are the result; the ledger beside them says what failed and with which settings each line was made. A recording is done
when its content and the settings are those of its line. A run that ends leaves the lines sorted, whoever was interrupted before.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sca.audio.decode import read_audio
from sca.data.media.transcode_plan import INPUTS, one_line, walk
from sca.data.runs.files import append_line, atomic_write
from sca.data.runs.ledger import Ledger, LedgerEntry, lock_dir
from sca.data.runs.local import cores
from sca.data.runs.model_identity import model_identity
from sca.data.transcription.hallucinations import GUARDS, RecognizedWord, Speech, guard_words, phrases, text_of
from sca.data.transcription.whisper import Recogniser, RecogniserOptions, Transcription
from sca.errors import InputError, OutputError, ScaError, check_target, writing
from sca.timeline import AudienceEvent, ComedianEvent, EnvironmentEvent, Show, SpokenWord, read_shows
from sca.units import HEARD_HZ

if TYPE_CHECKING:
    from sca.data.reactions.base import Detector

__all__ = ["NoWatch", "Recording", "Summary", "Watch", "find_recordings", "ledger_of", "show_of", "transcribe"]


class Watch(Protocol):
    """Hears how a run goes."""

    def start(self, total: int, todo: int) -> None:
        """total: recordings in all.   todo: those that are not done."""

    def advance(self, item: str, audio_s: float) -> None:
        """A recording has ended, with so many seconds; 0 when it failed."""


class NoWatch:
    """Nobody watches."""

    def start(self, total: int, todo: int) -> None:
        """See `Watch`."""

    def advance(self, item: str, audio_s: float) -> None:
        """See `Watch`."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One file. video_id: its name without the extension, by which the later steps find its sound again."""

    video_id: str
    path: Path


Todo = tuple[Recording, str, str]
"""A recording, the hash of its bytes, and the key of its line: that hash and the settings."""
Outcome = tuple[LedgerEntry, Show | None]


@dataclass(slots=True)
class Summary:
    """How a run ended. made: lines of this run, lasting audio_s.   already: lines that were there.   old_failures: failed before
    and not tried again."""

    save_file: Path
    made: int = 0
    already: int = 0
    audio_s: float = 0.0
    words: int = 0
    events: Counter[str] = field(default_factory=Counter)
    guards: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[str, str]] = field(default_factory=list)
    old_failures: int = 0
    notes: list[tuple[str, str]] = field(default_factory=list)

    def add(self, show: Show) -> None:
        """Count one new line."""
        self.made += 1
        self.audio_s += show.duration_s or 0.0
        self.words += len(show.words)
        self.events.update(event.role for event in show.timeline)
        self.guards.update(show.guards)


def ledger_of(save_file: Path) -> Path:
    """Where a JSONL file's ledger is."""
    return save_file.with_name(f"{save_file.stem}.ledger.jsonl")


def transcribe(
    sources: Sequence[Path],
    save_file: Path,
    options: RecogniserOptions,
    *,
    reactions: str = "none",
    retry_failed: bool = False,
    watch: Watch | None = None,
    recogniser: Recogniser | None = None,
) -> Summary:
    """Transcribe files, and the files of folders, into the JSONL `save_file`.

    reactions: what hears the audience, see `sca.data.reactions.registry.load_detector`.   retry_failed: whether recordings that failed
    before with the same content and settings are tried again.   recogniser: one that is loaded, with these options. Raises
    `InputError` when there is nothing to do, `OutputError`, and what loading the model raises; a recording's own failure is in
    the summary.
    """
    recordings, clashes = find_recordings(sources)
    summary = Summary(save_file, failed=sorted(clashes.items()))
    _check_target(save_file)
    with lock_dir(save_file.parent):
        ledger = Ledger(ledger_of(save_file))
        entries = ledger.entries()
        there = {show.video_id for _, show in _lines(save_file) if isinstance(show, Show)}
        models = {"model": model_identity(options.model), "reactions": model_identity(reactions)}
        identity = json.dumps(options.identity() | models, sort_keys=True)
        todo = list(_sort_out(recordings, identity, entries, there, summary, retry_failed=retry_failed))
        watch = watch or NoWatch()
        watch.start(len(recordings) + len(clashes), len(todo))
        for entry, show in _run(todo, options, reactions, recogniser):
            if show is not None:
                append_line(save_file, show.model_dump_json().encode() + b"\n")
                summary.add(show)
                summary.notes += [(entry.item, note) for note in entry.notes]
            else:
                summary.failed.append((entry.item, entry.reason or ""))
            ledger.append(entry)
            entries[entry.item] = entry
            watch.advance(entry.item, 0.0 if show is None else show.duration_s or 0.0)
        _settle(save_file)
        ledger.settle(entries.values())
    summary.failed.sort()
    return summary


def _check_target(save_file: Path) -> None:
    """Refuse what cannot hold timelines before anything is loaded, and what holds something else before it is touched."""
    check_target(save_file)
    with writing(save_file):
        if not save_file.exists():
            return
        with save_file.open("rb") as file:
            beginning = file.read(4096).lstrip()
    if beginning and not beginning.startswith(b"{"):
        raise OutputError(f"{save_file} holds something else than timelines", hint="give another name with --save-file")


def _sort_out(
    recordings: Sequence[Recording],
    identity: str,
    entries: dict[str, LedgerEntry],
    there: set[str],
    summary: Summary,
    *,
    retry_failed: bool,
) -> Iterator[Todo]:
    """What there is to do; what is done, or failed before in the same way, goes into the summary."""
    for one in recordings:
        try:
            digest = _digest(one.path)
        except InputError as error:
            summary.failed.append((one.video_id, error.message))
            continue
        key = sha256(f"{digest} {identity}".encode()).hexdigest()
        known = entries.get(one.video_id)
        if known is None or known.key != key:
            yield one, digest, key
        elif known.status == "failed" and not retry_failed:
            summary.old_failures += 1
            summary.failed.append((one.video_id, known.reason or ""))
        elif known.status == "kept" and one.video_id in there:
            summary.already += 1
        else:
            yield one, digest, key


def find_recordings(sources: Sequence[Path]) -> tuple[list[Recording], dict[str, str]]:
    """The recordings of files and folders (sub-folders too, hidden ones left out), sorted by name, and names that two share.

    Raises `InputError` for a source that does not exist, and when there is no recording at all.
    """
    by_name: dict[str, dict[Path, Path]] = {}
    for source in sources:
        if source.is_dir():
            found = [path for path in walk(source) if path.suffix.lower().removeprefix(".") in INPUTS]
        elif source.exists():
            found = [source]
        else:
            raise InputError(f"{source} does not exist")
        for path in found:
            by_name.setdefault(one_line(path.stem), {})[path.resolve()] = path
    if not by_name:
        raise InputError(f"there is no sound or video file in {', '.join(map(str, sources))}")
    clashes = {
        name: f"{' and '.join(sorted(map(str, paths.values())))} are both called {name}: rename one, or give them to two runs"
        for name, paths in by_name.items()
        if len(paths) > 1
    }
    single = {name: next(iter(paths.values())) for name, paths in by_name.items() if len(paths) == 1}
    return [Recording(name, path) for name, path in sorted(single.items())], clashes


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _run(
    todo: Sequence[Todo], options: RecogniserOptions, reactions: str, recogniser: Recogniser | None
) -> Iterator[Outcome]:
    """Outcomes as they come. The model is loaded once, and only when there is something to do."""
    if not todo:
        return
    detector = _detector(reactions)
    model = recogniser or Recogniser(options, cpu_threads=max(1, cores() // max(1, options.workers)))

    def work(one: Todo) -> Outcome:
        return _attempt(one, model, detector)

    if model.workers == 1:
        yield from map(work, todo)
        return
    with _threads(model) as pool:
        for future in as_completed([pool.submit(work, one) for one in todo]):
            yield future.result()


@contextmanager
def _threads(recogniser: Recogniser) -> Iterator[ThreadPoolExecutor]:
    """Threads that share the model. Left by an error or an interrupt, they stop after the batch in hand."""
    pool = ThreadPoolExecutor(recogniser.workers, thread_name_prefix="transcribe")
    try:
        yield pool
    finally:
        recogniser.stop()
        pool.shutdown(wait=True, cancel_futures=True)


def _detector(reactions: str) -> "Detector | None":
    if reactions == "none":
        return None
    from sca.data.reactions.registry import load_detector

    return load_detector(reactions)


def _attempt(one: Todo, recogniser: Recogniser, detector: "Detector | None") -> Outcome:
    recording, digest, key = one
    try:
        samples = read_audio(recording.path, HEARD_HZ)
        heard = recogniser.hear(samples)
        noticed = [] if detector is None else detector.find(samples, heard.speech)
    except ScaError as error:
        retryable = not isinstance(error, InputError)
        return LedgerEntry(recording.video_id, key, "failed", one_line(error.message), retryable), None
    show = show_of(
        recording,
        heard,
        noticed,
        duration_s=round(len(samples) / HEARD_HZ, 3),
        model=recogniser.options.model,
        with_words=recogniser.options.word_timestamps,
        sha256=digest,
        reactions="none" if detector is None else detector.name,
    )
    notes = (
        () if show.words or show.timeline else ("nothing was recognised" if heard.speech else "no speech was heard",)
    )
    return LedgerEntry(recording.video_id, key, "kept", notes=notes), show


def show_of(
    recording: Recording,
    heard: Transcription,
    noticed: Sequence[AudienceEvent | EnvironmentEvent],
    *,
    duration_s: float,
    model: str,
    with_words: bool,
    sha256: str,
    reactions: str,
) -> Show:
    """One line: what was heard, guarded, cut into phrases and joined with what the audience did."""
    counts: Counter[str] = Counter()
    speech = Speech([(start / HEARD_HZ, end / HEARD_HZ) for start, end in heard.speech])
    words = guard_words([word for phrase in heard.phrases for word in phrase], speech, counts)
    said = [
        ComedianEvent(start=phrase[0].start, end=min(phrase[-1].end, duration_s), content=text_of(phrase))
        for phrase in (phrases(words) if with_words else ([word] for word in words))
    ]
    timeline = sorted([*said, *noticed], key=lambda event: (event.start, event.end, event.role))
    return Show(
        video_id=recording.video_id,
        timeline=tuple(timeline),
        words=tuple(_spoken(word, duration_s) for word in words) if with_words else (),
        language=heard.language or None,
        duration_s=duration_s,
        model=model,
        source=one_line(recording.path.name),
        sha256=sha256,
        reactions=reactions,
        guards={name: counts[name] for name in GUARDS},
    )


def _spoken(word: RecognizedWord, duration_s: float) -> SpokenWord:
    end = max(word.start, min(word.end, duration_s))
    return SpokenWord(word=word.text.strip(), start=word.start, end=end, probability=round(word.probability, 4))


def _lines(save_file: Path) -> Iterator[tuple[bytes, object]]:
    """Every line of the file with what it holds."""
    if not save_file.exists():
        return
    raw = save_file.read_bytes().split(b"\n")
    for number, parsed in read_shows(save_file):
        yield raw[number - 1], parsed


def _settle(save_file: Path) -> None:
    """One line a recording, the last one written, sorted; lines that cannot be read stay, at the end."""
    if not save_file.exists():
        return
    shows: dict[str, bytes] = {}
    others: list[bytes] = []
    for line, parsed in _lines(save_file):
        if isinstance(parsed, Show):
            shows[parsed.video_id] = line
        else:
            others.append(line)
    wanted = b"".join(line + b"\n" for line in [*(shows[name] for name in sorted(shows)), *others])
    if wanted != save_file.read_bytes():
        with atomic_write(save_file) as temporary:
            temporary.write_bytes(wanted)
