"""`sca convert`: a file of timelines and a folder of recordings become a data set.

A show's sound is encoded once, into a file of its own that is never copied; rows are cheap and made anew in every run, so other
thresholds cost no encoding. Every line ends in `ledger.jsonl` as kept, dropped(reason) or failed(error).
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

from sca.config import ConvertConfig, Settings
from sca.data.datasets.arrow import write_dict, write_split_files, write_table
from sca.data.datasets.card import read_source, write_card
from sca.data.media.enhance import Enhancer, load_enhancer
from sca.data.media.find_audio import AudioFolder, info_files
from sca.data.runs.files import sha256_of, write_json
from sca.data.runs.ledger import Ledger, LedgerEntry, lock_dir
from sca.data.runs.local import cores, run
from sca.data.runs.model_identity import model_identity
from sca.data.shows.card import card_of
from sca.data.shows.layout import file_stem, paths_of
from sca.data.shows.rows import ShowRow, rows_of
from sca.data.shows.store import SCHEMA_VERSION, features, write_storage
from sca.data.shows.targets import Rules, targets_of
from sca.data.speakers.base import public_name
from sca.data.speakers.embedder import SpeakerEmbedder
from sca.data.speakers.registry import load_speaker
from sca.errors import InputError, OutputError, ScaError, writing
from sca.timeline import BrokenLine, Show, read_shows
from sca.units import HEARD_HZ, seconds_to_samples

__all__ = ["Summary", "convert", "rules_of"]

Progress = Callable[[str, float], None]
_ENDLESS = 1 << 60
_ROWS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class ShowJob:
    """A show to encode. stat: size and time of the recording, so that an unchanged one need not be hashed again."""

    show: Show
    audio: Path
    key: str
    sha256: str
    stat: list[int]


@dataclass(frozen=True, slots=True)
class ShowRecord:
    """What is known of an encoded show; kept beside its file."""

    key: str
    sha256: str
    stat: list[int]
    samples: int
    embedding: bool


@dataclass(slots=True)
class Summary:
    """How a run ended. counts: what happened to events, by reason.   encoded: shows whose sound was encoded now."""

    root: Path
    shows: int = 0
    encoded: int = 0
    rows: int = 0
    seconds: float = 0.0
    target_seconds: float = 0.0
    without_embedding: int = 0
    dropped: list[tuple[str, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def rules_of(config: ConvertConfig) -> Rules:
    """The settings in samples."""

    def samples(seconds: float) -> int:
        return seconds_to_samples(seconds, HEARD_HZ)

    return Rules(
        merge_threshold=samples(config.merge_threshold_s),
        min_duration=samples(config.min_duration_s),
        max_duration=samples(config.max_duration_s),
        cut_start=samples(config.cut_start_s),
        cut_end=samples(config.cut_end_s),
        min_speech=samples(config.min_speech_s),
        keep_audience=config.keep_audience,
    )


def convert(
    input_file: Path,
    audio_dir: Path,
    root: Path,
    settings: Settings,
    *,
    info_dirs: Sequence[Path] = (),
    jobs: int = 0,
    force: bool = False,
    on_start: Callable[[int, int], None] | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Make or bring up to date the data set in `root`.

    info_dirs: where `sca download` left its `.info.json` files, besides `audio_dir`.   jobs: 0 is one a core.
    Raises `InputError` when nothing at all can be used, and what the models named in the settings raise when they do not load.
    """
    config = settings.convert
    _models(config.speaker_model, config.enhance, settings.paths.resolved_cache_dir)  # complain before any work
    folder, listed = AudioFolder(audio_dir), _read(input_file)
    with lock_dir(root):
        for left in root.rglob(
            ".scratch-*"
        ):  # of a run that was killed; the folder is ours alone while we hold its lock
            shutil.rmtree(left, ignore_errors=True)
        return _Run(root, settings, folder, force).all_of(listed, tuple(info_dirs), jobs, on_start, progress)


@dataclass(slots=True)
class _Listed:
    """A file of timelines.   shows: in the order of their ids.   broken: lines that hold none.   notes: (id, remark)."""

    shows: list[Show]
    broken: list[BrokenLine]
    notes: list[tuple[str, str]]


def _read(input_file: Path) -> _Listed:
    """A broken line fails alone; of several lines of one show the last one counts. Raises `InputError` where no line holds one."""
    shows: dict[str, Show] = {}
    broken: list[BrokenLine] = []
    notes: list[tuple[str, str]] = []
    for number, one in read_shows(input_file):
        if isinstance(one, BrokenLine):
            broken.append(one)
            continue
        if one.video_id in shows:
            notes.append((one.video_id, f"more than one line; line {number} is used"))
        shows[one.video_id] = one
    if not shows:  # another file altogether, most likely
        first = f" ({broken[0]})" if broken else ""
        raise InputError(
            f"{input_file} holds no timelines{first}", hint="give the file that sca transcribe wrote with --input-file"
        )
    return _Listed([shows[name] for name in sorted(shows)], broken, notes)


class _Run:
    def __init__(self, root: Path, settings: Settings, folder: AudioFolder, force: bool) -> None:
        self.root, self.settings, self.folder, self.force = root, settings, folder, force
        self.rules = rules_of(settings.convert)
        self.ledger = Ledger(root / "ledger.jsonl")
        self.entries: dict[str, LedgerEntry] = {}
        self.records: dict[str, ShowRecord] = {}
        self.summary = Summary(root)

    def all_of(
        self,
        listed: _Listed,
        info_dirs: tuple[Path, ...],
        jobs: int,
        on_start: Callable[[int, int], None] | None,
        progress: Progress | None,
    ) -> Summary:
        shows = listed.shows
        self.summary.notes += listed.notes
        for line in listed.broken:
            self._fail(f"line {line.number}", InputError(line.reason))
        todo = [job for show in shows if (job := self._job(show)) is not None]
        if on_start is not None:
            on_start(len(shows), len(todo))
        work = partial(_encode, root=self.root, settings=self.settings)
        for job, outcome in run(todo, work, jobs or cores()):
            if isinstance(outcome, OutputError):
                raise outcome
            if isinstance(outcome, ScaError):
                self._fail(job.show.video_id, outcome)
            else:
                self._keep(job.show.video_id, outcome)
                self.summary.encoded += 1
            if progress is not None:
                seconds = 0.0 if isinstance(outcome, ScaError) else outcome.samples / HEARD_HZ
                progress(job.show.video_id, seconds)
        self._finish(shows, info_dirs)
        return self.summary

    def _job(self, show: Show) -> ShowJob | None:
        """What there is to encode of a show, None when it is encoded, cannot be, or would have no row."""
        if not self._rows(show, _ENDLESS)[0]:
            self._drop(show, _ENDLESS)
            return None
        try:
            audio = self.folder.of(show)
            before = _recorded(self.root, show.video_id)
            stat = _stat(audio)
            sha256 = before.sha256 if before is not None and before.stat == stat else _sha256(audio)
        except InputError as error:
            self._fail(show.video_id, error)
            return None
        if show.sha256 is not None and show.sha256 != sha256:
            self.summary.notes.append((show.video_id, f"{audio.name} is not the file that was transcribed"))
        key = _key(show, sha256, self.settings.convert)
        if before is not None and before.key == key and not self.force:
            self._keep(show.video_id, before)
            return None
        return ShowJob(show, audio, key, sha256, stat)

    def _rows(self, show: Show, total: int) -> tuple[list[ShowRow], Counter[str]]:
        targets, counts = targets_of(show, total, self.rules)
        rows, more = rows_of(show.video_id, targets, self.rules)
        return rows, counts + more

    def _keep(self, name: str, record: ShowRecord) -> None:
        self.records[name] = record
        self._note(LedgerEntry(name, record.key, "kept"))

    def _drop(self, show: Show, total: int) -> None:
        counts = self._rows(show, total)[1]
        why = ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()) if count) or "no events"
        reason = f"no row comes of it ({why})"
        self.summary.counts += counts
        self.summary.dropped.append((show.video_id, reason))
        self._note(LedgerEntry(show.video_id, "", "dropped", reason))

    def _fail(self, item: str, error: ScaError) -> None:
        reason = f"{error.message} ({error.hint})" if error.hint else error.message
        self.summary.failed.append((item, reason))
        self._note(LedgerEntry(item, "", "failed", reason))

    def _note(self, entry: LedgerEntry) -> None:
        self.entries[entry.item] = entry
        self.ledger.append(entry)

    def _finish(self, shows: Sequence[Show], info_dirs: tuple[Path, ...]) -> None:
        """Put the parts together. Everything here is derived, so it is simply made again."""
        summary, by_show = self.summary, {}
        for show in shows:
            record = self.records.get(show.video_id)
            if record is None:
                continue
            rows, counts = self._rows(show, record.samples)
            if not rows:
                del self.records[show.video_id]
                self._drop(show, record.samples)
                continue
            by_show[show.video_id] = rows
            summary.counts += counts
            summary.seconds += record.samples / HEARD_HZ
            summary.without_embedding += not record.embedding
            summary.target_seconds += sum(row.end - row.target_start for row in rows) / HEARD_HZ
            summary.rows += len(rows)
        summary.shows = len(by_show)
        self.ledger.settle(self.entries.values())
        if not by_show:
            reasons = "; ".join(f"{item}: {why}" for item, why in (summary.failed + summary.dropped)[:3])
            raise InputError(f"no show could be used: {reasons}", hint=f"{self.ledger.path} has every reason")
        (self.root / "dataset_dict.json").unlink(missing_ok=True)  # until everything fits together again
        self._set_others_aside(set(by_show))
        keys = [self.records[name].key for name in by_show]
        lines = [row.columns() for rows in by_show.values() for row in rows]
        write_table(self.root / "train" / "data-00000-of-00001.arrow", features("train"), _batches(lines))
        prints = [json.dumps(line, sort_keys=True) for line in lines]
        write_split_files(self.root / "train", "train", features("train"), ["data-00000-of-00001.arrow"], prints)
        files = [f"{file_stem(name)}.arrow" for name in by_show]
        write_split_files(self.root / "storage", "storage", features("storage"), files, keys)
        write_json(self.root / "settings.json", made_with(self.settings.convert))
        infos = info_files((self.folder.root, *info_dirs))
        used = [show for show in shows if show.video_id in by_show]
        sources = [read_source(show.video_id, self._info(show, infos)) for show in used]
        languages = [show.language for show in used if show.language]
        write_card(self.root, card_of(summary, sources, languages, self.settings.convert))
        write_dict(self.root, ["storage", "train"])

    def _info(self, show: Show, infos: Any) -> Path | None:
        found: Path | None = infos.get(self.folder.of(show).stem)
        return found

    def _set_others_aside(self, present: set[str]) -> None:
        """Take the files of shows that are in no row out of `storage`, and keep them: the next run may want them back."""
        stems = {file_stem(name) for name in present}
        for path in (self.root / "storage").glob("*.arrow"):
            if path.stem not in stems:
                path.replace(self.root / ".sca" / "shows" / path.name)


def made_with(config: ConvertConfig) -> dict[str, Any]:
    """`settings.json`: which kind of data set this is, and what it was made with."""
    said = config.model_dump(mode="json") | {"speaker_model": public_name(config.speaker_model)}
    return {"kind": "shows", "schema_version": SCHEMA_VERSION, "convert": said}


def _batches(lines: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for start in range(0, len(lines), _ROWS_AT_ONCE):
        part = lines[start : start + _ROWS_AT_ONCE]
        yield {name: [line[name] for line in part] for name in part[0]}


def _encode(job: ShowJob, root: Path, settings: Settings) -> ShowRecord:
    """One show's file and its record, in this order: a record means that the file is whole."""
    config = settings.convert
    embedder, enhancer = _models(config.speaker_model, config.enhance, settings.paths.resolved_cache_dir)
    storage, record_file = paths_of(root, job.show.video_id)
    record_file.unlink(missing_ok=True)
    samples, has_voice = write_storage(storage, job.show, job.audio, embedder, enhancer)
    record = ShowRecord(job.key, job.sha256, job.stat, samples, has_voice)
    write_json(record_file, asdict(record))
    return record


@cache
def _models(speaker: str, enhancer: str, cache_dir: Path) -> tuple[SpeakerEmbedder, Enhancer | None]:
    """Loaded once a process."""
    return load_speaker(speaker, cache_dir), load_enhancer(enhancer)


def _recorded(root: Path, name: str) -> ShowRecord | None:
    """What was encoded in an earlier run, also if it was set aside since."""
    storage, record_file = paths_of(root, name)
    aside = record_file.with_suffix(".arrow")
    if aside.is_file() and not storage.exists():
        with writing(storage):
            aside.replace(storage)
    try:
        record = ShowRecord(**json.loads(record_file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return record if storage.is_file() else None


def _stat(path: Path) -> list[int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    return [stat.st_size, stat.st_mtime_ns]


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def _key(show: Show, sha256: str, config: ConvertConfig) -> str:
    """What decides the bytes of a show's file: the sound, and the speech its voice is taken from."""
    kind, _, folder = config.speaker_model.partition(":")
    decides: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "id": show.video_id,
        "audio": sha256,
        "enhance": config.enhance,
        "speaker": f"{kind}:{model_identity(folder)}" if folder else model_identity(config.speaker_model),
    }
    if config.speaker_model != "none":
        decides["speech"] = [(e.start, e.end) for e in show.timeline if getattr(e, "event_type", None) == "speech"]
    return blake2b(json.dumps(decides, sort_keys=True).encode(), digest_size=16).hexdigest()
