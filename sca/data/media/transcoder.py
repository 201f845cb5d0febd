"""One file: is it done, and if not, make it, check it, and let it appear.

A result that can be read is never written over without `force`. What is new appears under its name whole, checked and synced.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any

from sca.audio.decode import AudioInfo, BlockReader, probe
from sca.data.media.ffmpeg import Log, Runner
from sca.data.media.transcode_formats import LENGTH_SLACK_S, Format, Made, inspect
from sca.data.media.transcode_plan import Source, one_line
from sca.data.runs.ledger import LedgerEntry
from sca.errors import InputError, OutputError, ScaError, writing
from sca.textutil import counted

__all__ = ["Job", "Outcome", "Transcoder", "part_name"]

# A header may promise this much more than there is (see sca.audio.pyav_reader).
_PROMISE_SLACK_S = 1.0
_AAC_PACKET = 2048  # samples, of HE-AAC; others have 1024
_AGAIN = "--force writes it again"
OnTime = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Job:
    """A file to be looked at closely or made. expected_s: what its header says, None when it does not."""

    source: Source
    info: AudioInfo

    @property
    def expected_s(self) -> float | None:
        """Seconds of sound the header promises."""
        return self.info.duration_s


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a file ended. made: by this run."""

    entry: LedgerEntry
    made: bool
    seconds: float = 0.0


def part_name(target: Path) -> str:
    """The name of a half-made result: hidden, and short however long the name it will have."""
    return f".sca-{blake2b(os.fsencode(target), digest_size=8).hexdigest()}.part"


class Transcoder:
    """Makes results of one format in one folder. before: the ledger's last word on each item."""

    def __init__(
        self, runner: Runner, asked: Format, out: Path, before: Mapping[str, LedgerEntry], *, force: bool
    ) -> None:
        self._runner = runner
        self._asked = asked
        self._out = out
        self._before = before
        self._force = force

    def failed(self, source: Source, reason: str, *, retryable: bool = False) -> Outcome:
        """The outcome of a file that could not be transcoded. What is known of an earlier result stays known."""
        before = self._before.get(source.item)
        key, extra = ("", {}) if before is None else (before.key, before.extra)
        return Outcome(LedgerEntry(source.item, key, "failed", one_line(reason), retryable, extra=extra), made=False)

    def look(self, source: Source) -> Job | Outcome:
        """The quick look, at headers and the ledger only: what is plainly done, and what cannot be done."""
        before = self._recorded(source)
        if before is not None and before.extra["stat"] == _stat(source.path) and not self._force:
            try:
                found = inspect(self._out / source.target)
            except InputError:
                pass
            else:
                if found.differs(self._asked) is None and _same(found.seconds, before.extra["seconds"]):
                    kept = replace(before, status="kept", reason=None, retryable=False)
                    return Outcome(kept, made=False, seconds=found.seconds)
        try:
            str(source.path).encode()  # ffmpeg-python cannot hand on what is no text
        except UnicodeEncodeError:
            return self.failed(source, f"{source.item}: its name is not valid UTF-8: rename it")
        try:
            return Job(source, probe(source.path))
        except InputError as error:
            return self.failed(source, error.message)

    def make(self, job: Job, on_time: OnTime) -> Outcome:
        """Do what there is to do. `on_time` hears seconds made. Raises `ffmpeg.Stopped`; leaves nothing half-made."""
        try:
            key, digest = self._key(job.source.path)
            target = self._out / job.source.target
            if target.is_symlink() or target.exists():
                found = None if self._force else self._existing(job, key, target)
                if found is not None:
                    return Outcome(self._entry(job, key, digest, found, ()), made=False, seconds=found.seconds)
            with writing(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                made, notes = self._publish(job, target, on_time)
            return Outcome(self._entry(job, key, digest, made, notes), made=True, seconds=made.seconds)
        except ScaError as error:
            return self.failed(
                job.source, error.message, retryable=isinstance(error, OutputError) or error.exit_code == 1
            )
        except OSError as error:
            return self.failed(job.source, f"{job.source.item}: {error.strerror or error}", retryable=True)

    def _recorded(self, source: Source) -> LedgerEntry | None:
        """The ledger's entry of a result that was made as it is asked for now, refused since or not."""
        before = self._before.get(source.item)
        if before is None or not {"stat", "seconds"} <= set(before.extra):
            return None
        return before if before.extra.get("format") == str(self._asked) else None

    def _existing(self, job: Job, key: str, target: Path) -> Made | None:
        """What is in `target` when it is this very result, None when it cannot be read; raises for anything else."""
        try:
            found = inspect(target)
        except InputError:
            return None
        if wrong := found.differs(self._asked):
            raise InputError(f"{target.name} exists and {wrong}: {_AGAIN}")
        before = self._before.get(job.source.item)
        if before is not None and before.extra and before.key != key:
            other = before.extra.get("format")
            how = f"as {other}" if other != str(self._asked) else "from another recording"
            raise InputError(f"{target.name} exists and was made {how}: {_AGAIN}")
        if self._asked.loudness_lufs is not None and (before is None or before.key != key):
            raise InputError(f"{target.name} exists and nothing tells its loudness: {_AGAIN}")
        source_s = _decoded_s(job.source.path)
        if not _lasts(found.seconds, source_s, job.info):
            raise InputError(f"{target.name} exists and lasts {found.seconds:.2f} s, not {source_s:.2f} s: {_AGAIN}")
        return found

    def _publish(self, job: Job, target: Path, on_time: OnTime) -> tuple[Made, tuple[str, ...]]:
        """Transcode into a temporary sibling, check that, rename it."""
        part = target.with_name(part_name(target))
        try:
            gain_db, note = self._gain_db(job)
            soxr = self._runner.program.soxr
            log = self._runner.run(self._asked.making(job.source.path, part, soxr=soxr, gain_db=gain_db), on_time)
            made = self._checked(job, part, log)
            with part.open("rb") as written:
                os.fsync(written.fileno())
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        return made, tuple(note)

    def _gain_db(self, job: Job) -> tuple[float, list[str]]:
        if self._asked.loudness_lufs is None:
            return 0.0, []
        soxr = self._runner.program.soxr
        measured = self._runner.run(self._asked.measuring(job.source.path, soxr=soxr)).loudness
        if measured is None:
            return 0.0, ["silent: loudness left alone"]
        gain_db, note = self._asked.gain_db(*measured)
        return gain_db, [note] if note else []

    def _checked(self, job: Job, part: Path, log: Log) -> Made:
        """What was made, when it is what was asked for and as long as its source; else raises `InputError`."""
        path = job.source.path
        if log.decode_errors:
            raise InputError(
                f"{path} is damaged: {counted(log.decode_errors, 'packet')} cannot be decoded ({log.reason})"
            )
        made = inspect(part)
        if wrong := made.differs(self._asked):
            raise InputError(f"ffmpeg made a file that {wrong}")
        source_s = log.source_s
        if source_s is None or not _lasts(made.seconds, source_s, job.info):
            source_s = _decoded_s(path)
        if log.ended_early or (job.expected_s or 0.0) - source_s > _PROMISE_SLACK_S:
            promised = "" if job.expected_s is None else f" of {job.expected_s:.2f} s"
            raise InputError(f"{path} is cut short after {source_s:.2f} s{promised}")
        if not _lasts(made.seconds, source_s, job.info):
            raise InputError(f"ffmpeg made {made.seconds:.3f} s of sound, {path} has {source_s:.3f} s")
        return made

    def _key(self, path: Path) -> tuple[str, str]:
        try:
            with path.open("rb") as file:
                digest = file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
        return blake2b(f"{self._asked}\n{digest}".encode(), digest_size=16).hexdigest(), digest

    def _entry(self, job: Job, key: str, digest: str, made: Made, notes: tuple[str, ...]) -> LedgerEntry:
        extra: dict[str, Any] = {
            "output": one_line(job.source.target.as_posix()),
            "format": str(self._asked),
            "seconds": round(made.seconds, 6),
            "source": {
                "codec": job.info.codec,
                "rate_hz": job.info.rate_hz,
                "channels": job.info.channels,
                "sha256": digest,
            },
            "stat": _stat(job.source.path),
        }
        return LedgerEntry(job.source.item, key, "kept", notes=notes, extra=extra)


def _lasts(result_s: float, source_s: float, source: AudioInfo) -> bool:
    """Whether a result is as long as its source, or as its source with what fills up the last packet of AAC: the ffmpeg program
    keeps that, PyAV drops it from 19 on."""
    filling_s = _AAC_PACKET / source.rate_hz if source.codec == "aac" else 0.0
    return -LENGTH_SLACK_S <= result_s - source_s <= LENGTH_SLACK_S + filling_s


def _same(one_s: float, other_s: float) -> bool:
    return abs(one_s - other_s) <= LENGTH_SLACK_S


def _decoded_s(path: Path) -> float:
    """Seconds of sound in a file, by decoding all of it."""
    with BlockReader(path) as reader:
        return sum(map(len, reader)) / reader.info.rate_hz


def _stat(path: Path) -> list[int]:
    """Size and time: when they are unchanged, so is the content."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]
