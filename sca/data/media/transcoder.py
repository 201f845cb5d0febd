"""Transcode one file: check whether it is done; if not, transcode it, check the result, and publish it.

Without `force` only a result of an earlier run that cannot be read is overwritten. A new result gets its name when it is
complete, checked and synced.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import numpy as np

from sca.audio.coded.adts_frames import is_whole_adts
from sca.audio.coded.containers import SelectedTrack
from sca.audio.coded.joined import joined_spans
from sca.audio.coded.remarks import clipped, mixed, silence
from sca.audio.decode import ACCEPT_ANY_DAMAGE_S, AS_DEFAULT, AudioInfo, BlockReader, Reading, probe
from sca.audio.decoder.properties import FileProperties
from sca.audio.decoder.remote import file_properties, selected_track
from sca.data.digests.file_facts import FileFacts
from sca.data.media.decoded_copy import DecodedCopy, write_decoded
from sca.data.media.ffmpeg import FfmpegCrashedError, FfmpegRunner
from sca.data.media.ffmpeg_log import FfmpegLog
from sca.data.media.transcode_formats import LENGTH_SLACK_S, AudioFormat
from sca.data.media.transcode_plan import SourceFile
from sca.data.runs.files import Unchanged, publish
from sca.data.runs.incremental import NEEDED, damage_facts, failure_reason
from sca.data.runs.ledger import LedgerEntry
from sca.data.runs.summary import Outcome
from sca.errors import InputError, OutputError, ScaError, UpstreamError, writing
from sca.textutil import counted, one_line
from sca.urls.cache import at_hand, known_sha256
from sca.urls.hollow import is_hollow

__all__ = ["TranscodeJob", "Transcoder", "part_name"]

_MAX_HEADER_EXCESS_S = 1.0
"""A header may promise this much more than the file holds (see sca.audio.coded.pyav_reader)."""
_AAC_PACKET_SAMPLES = 2048
"""Samples of a packet of HE-AAC; other AAC has 1024."""
_MADE_AS = "made_as"
"""The fact that a file is a whole result of this format."""
_FORCE_HINT = "--force writes it again"
_MAX_DROPPED_S = 0.1
"""Sound that ffmpeg may leave out where timestamps are rounded. It drops all of a part whose clock starts again."""
OnProgress = Callable[[float], None]


class _DecodeFirstError(Exception):
    """ffmpeg does not make the result from this source: a decoded copy is needed.

    It is not the program of the user, did not read all of the source, could not decode a part of it, or averaged channels
    that cancel each other.

    Attributes:
        fault: What is wrong with the source, if the reader does not find it.
    """

    def __init__(self, fault: str | None = None) -> None:
        super().__init__(fault)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class TranscodeJob:
    """A file that is not known to be done.

    Attributes:
        source: The file.
        header: The facts in its header; None for a file at a URL that is not fetched yet.
        unchanged: Its identity before anything of it was read.
    """

    source: SourceFile
    header: AudioInfo | None
    unchanged: Unchanged

    @property
    def info(self) -> AudioInfo:
        """The facts in its header, when the work begins."""
        assert self.header is not None
        return self.header

    @property
    def expected_s(self) -> float | None:
        """The length that the header promises in seconds, if it is known and does."""
        return None if self.header is None else self.header.duration_s


def part_name(target: Path) -> str:
    """Return the name of an unfinished result: hidden, and short even if the name of the target is long."""
    return f".sca-{blake2b(os.fsencode(target), digest_size=8).hexdigest()}.part"


class Transcoder:
    """Makes results of one format in one folder."""

    def __init__(
        self,
        runner: FfmpegRunner,
        requested: AudioFormat,
        out: Path,
        before: Mapping[str, LedgerEntry],
        facts: FileFacts,
        *,
        force: bool,
        reading: Reading = AS_DEFAULT,
    ) -> None:
        """Create a transcoder.

        Args:
            runner: Runs ffmpeg.
            requested: The format of the results.
            out: The output folder.
            before: The entries of earlier runs, by item.
            facts: What is known of sources and results.
            force: Whether to overwrite results.
            reading: How recordings are read.
        """
        self._runner = runner
        self._reading = reading
        self._requested = requested
        self._out = out
        self._before = before
        self._facts = facts
        self._force = force
        choice = reading.choice().items()
        self._made_as = str(requested) + "".join(f", {name} {value}" for name, value in choice)
        """The format in the ledger, with the track if one is chosen."""

    def failed(self, source: SourceFile, error: ScaError | str, *, retryable: bool = False) -> Outcome:
        """Return the outcome of a file that could not be transcoded. Facts about an earlier result are kept."""
        reason = one_line(error) if isinstance(error, str) else failure_reason(error)
        facts = {} if isinstance(error, str) else damage_facts(error)
        before = self._before.get(source.item)
        key, extra = ("", {}) if before is None else (before.key, dict(before.extra))
        for outdated in ("traceback", NEEDED):
            extra.pop(outdated, None)
        return Outcome(LedgerEntry(source.item, key, "failed", reason, retryable, extra=extra | facts), made=False)

    def check(self, source: SourceFile) -> TranscodeJob | Outcome:
        """Check headers and the ledger only.

        Returns the outcome of a file that is done or cannot be read, else its job.
        """
        before = self._recorded(source)
        if before is not None and not self._force:
            unchanged = Unchanged(source.path)
            known = before.extra["stat"] == unchanged.stat and not self._facts.may_differ(unchanged)
            same = known or before.key == self._key(self._facts.sha256(unchanged))
            seconds = self._result_s(source, before) if same else None
            if seconds is not None:
                extra = before.extra | {"stat": unchanged.stat}
                kept = replace(before, status="kept", reason=None, retryable=False, extra=extra)
                return Outcome(kept, seconds, made=False)
        try:
            str(source.path).encode()  # ffmpeg-python passes on text only
        except UnicodeEncodeError:
            return self.failed(source, f"{source.item}: its name is not valid UTF-8: rename it")
        try:
            unchanged = Unchanged(source.path)
            header = None if is_hollow(source.path) else probe(source.path, self._reading)
            return TranscodeJob(source, header, unchanged)
        except InputError as error:
            return self.failed(source, error)

    def transcode(self, job: TranscodeJob, on_progress: OnProgress | None = None) -> Outcome:
        """Transcode a file unless its result is there. Nothing unfinished is left.

        Args:
            job: The file.
            on_progress: Called with the seconds made so far.

        Raises:
            FfmpegStopped: The run was stopped.
        """
        try:
            path = at_hand(job.source.path)
            digest = self._facts.sha256(job.unchanged)
            if job.header is None:
                job = replace(job, header=probe(path, self._reading))
            key = self._key(digest)
            target = self._out / job.source.target
            replaced: tuple[str, ...] = ()
            if target.is_symlink() or target.exists():
                if self._force and not self._was_made(job.source):
                    replaced = (f"replaced {target.name}, which is not in the ledger",)
                found = None if self._force else self._existing(job, key, target)
                if found is not None:
                    job.unchanged.check()
                    return Outcome(self._entry(job, key, digest, found, ()), found.seconds, made=False)
            with writing(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                made, notes = self._make(job, target, on_progress)
            return Outcome(self._entry(job, key, digest, made, (*replaced, *notes)), made.seconds)
        except ScaError as error:
            retryable = isinstance(error, OutputError | UpstreamError) or error.exit_code == 1
            return self.failed(job.source, error, retryable=retryable)
        except OSError as error:
            return self.failed(job.source, f"{job.source.item}: {error.strerror or error}", retryable=True)

    def _key(self, digest: str) -> str:
        return blake2b(f"{self._made_as}\n{digest}".encode(), digest_size=16).hexdigest()

    def _result_s(self, source: SourceFile, before: LedgerEntry) -> float | None:
        """Return the seconds of the result that the ledger has, None if it is not there or has changed."""
        path = self._out / source.target
        if known_sha256(path) is not None:
            return float(before.extra["seconds"])  # uploaded by an earlier run, as it was checked then
        try:
            target = Unchanged(path)
            if self._facts.get(target, _MADE_AS) == self._made_as:
                return float(before.extra["seconds"])
            found = file_properties(path)
        except InputError:
            return None
        same_length = abs(found.seconds - before.extra["seconds"]) <= LENGTH_SLACK_S
        if self._requested.difference(found) is not None or not same_length:
            return None
        self._facts.note(target, _MADE_AS, self._made_as)
        return found.seconds

    def _recorded(self, source: SourceFile) -> LedgerEntry | None:
        """Return the entry of a result in the requested format, if one was ever made."""
        before = self._before.get(source.item)
        if before is None or not {"stat", "seconds"} <= set(before.extra):
            return None
        return before if before.extra.get("format") == self._made_as else None

    def _was_made(self, source: SourceFile) -> bool:
        """Return whether the ledger has a result of a source, also one in another format."""
        before = self._before.get(source.item)
        return before is not None and "format" in before.extra

    def _existing(self, job: TranscodeJob, key: str, target: Path) -> FileProperties | None:
        """Return the properties of `target` if it is the requested result, None if it is a result that cannot be read.

        Raises:
            InputError: It is something else.
        """
        try:
            found = file_properties(target)
        except InputError as error:
            if self._was_made(job.source):
                return None
            reason = f"{target.name} exists, is not in the ledger and cannot be read as sound: --force replaces it"
            raise InputError(reason) from error
        if difference := self._requested.difference(found):
            raise InputError(f"{target.name} exists and {difference}: {_FORCE_HINT}")
        before = self._before.get(job.source.item)
        if before is not None and self._was_made(job.source) and before.key != key:
            other = before.extra.get("format")
            origin = f"as {other}" if other != self._made_as else "from another recording"
            raise InputError(f"{target.name} exists and was made {origin}: {_FORCE_HINT}")
        if self._requested.loudness_lufs is not None and (before is None or before.key != key):
            raise InputError(f"{target.name} exists and its loudness is not known: {_FORCE_HINT}")
        source_s = self._decoded_s(job.source.path)
        if not _has_length(found.seconds, source_s, job.info):
            raise InputError(
                f"{target.name} exists and lasts {found.seconds:.2f} s, not {source_s:.2f} s: {_FORCE_HINT}"
            )
        return found

    def _make(
        self, job: TranscodeJob, target: Path, on_progress: OnProgress | None
    ) -> tuple[FileProperties, tuple[str, ...]]:
        """Transcode into a temporary file beside the target, check it, and rename it."""
        part = target.with_name(part_name(target))
        decoded = target.with_name(part_name(Path(f"{target}.decoded")))
        try:
            try:
                whole = not (job.info.is_cut or joined_spans(job.source.path) or _has_cut_frames(job))
                if not (whole and self._runner.program.decodes_media):
                    raise _DecodeFirstError
                log, notes = self._convert(job.source.path, part, self._reading, on_progress)
                made = self._checked(job, part, log)
            except (_DecodeFirstError, FfmpegCrashedError) as error:
                channels, check_stop = self._requested.channels, self._runner.check_stop
                copy = write_decoded(job.source.path, decoded, channels, check_stop, reading=self._reading)
                if isinstance(error, _DecodeFirstError) and error.fault and not copy.explains_damage:
                    raise InputError(f"{job.source.path} {error.fault}") from error
                _, notes = self._convert(decoded, part, AS_DEFAULT, on_progress)
                made, notes = self._checked_copy(job, part, copy), (*notes, *copy.notes)
            job.unchanged.check()
            publish(part, target)
            self._facts.note(Unchanged(target), _MADE_AS, self._made_as)
        finally:
            part.unlink(missing_ok=True)
            decoded.unlink(missing_ok=True)
        return made, notes

    def _convert(
        self, source: Path, part: Path, reading: Reading, on_progress: OnProgress | None
    ) -> tuple[FfmpegLog, tuple[str, ...]]:
        """Run ffmpeg, and return its log and remarks about the track and the loudness."""
        soxr, track = self._runner.program.soxr, selected_track(source, reading)
        gain_db, loudness = self._gain_db(source, track)
        command = self._requested.transcode_command(source, part, track, soxr=soxr, gain_db=gain_db)
        log = self._runner.run(command, on_progress)
        added_s = log.added / (log.in_rate_hz or 1)
        weights = np.array(track.mono_weights)
        mix = mixed(weights) if self._requested.channels < len(weights) else None
        notes = (track.note, silence(added_s, "missing") if added_s else None, mix, clipped(log.peak), *loudness)
        return log, tuple(note for note in notes if note is not None)

    def _gain_db(self, source: Path, track: SelectedTrack) -> tuple[float, tuple[str, ...]]:
        """Return the gain to apply, and remarks about it."""
        if self._requested.loudness_lufs is None:
            return 0.0, ()
        command = self._requested.loudness_command(source, track, soxr=self._runner.program.soxr)
        measured = self._runner.run(command).loudness
        if measured is None:
            return 0.0, ("silent: loudness left alone",)
        gain_db, note = self._requested.gain_db(*measured)
        return gain_db, (note,) if note else ()

    def _checked(self, job: TranscodeJob, part: Path, log: FfmpegLog) -> FileProperties:
        """Return the properties of a result in the requested format that is as long as its source.

        Raises:
            InputError: The format of the result differs.
            _DecodeFirstError: A decoded copy is needed.
        """
        path = job.source.path
        made = self._in_format(part)
        if log.decode_errors or log.dropped > _MAX_DROPPED_S * (log.out_rate_hz or 0):
            fault = f"is damaged: {counted(log.decode_errors, 'packet')} cannot be decoded ({log.reason})"
            raise _DecodeFirstError(fault if log.decode_errors else None)
        # ffmpeg drops damaged frames of FLAC without an error.
        is_exact = job.info.codec == "flac" and job.info.frames is not None and log.decoded is not None
        if log.cancelled or (is_exact and job.info.frames != log.decoded):
            raise _DecodeFirstError
        source_s = log.source_s
        if source_s is None or not _has_length(made.seconds, source_s, job.info):
            source_s = self._decoded_s(path)
        if log.ended_early or (job.expected_s or 0.0) - source_s > _MAX_HEADER_EXCESS_S:
            promised = "" if job.expected_s is None else f" of {job.expected_s:.2f} s"
            raise _DecodeFirstError(f"is cut short after {source_s:.2f} s{promised}")
        if not _has_length(made.seconds, source_s, job.info):
            raise _DecodeFirstError
        return made

    def _checked_copy(self, job: TranscodeJob, part: Path, copy: DecodedCopy) -> FileProperties:
        """Return the properties of a result in the requested format that is as long as the decoded copy.

        Raises:
            InputError: The result differs.
        """
        made = self._in_format(part)
        if abs(made.seconds - copy.seconds) > LENGTH_SLACK_S:
            raise InputError(f"ffmpeg made {made.seconds:.3f} s of sound, {job.source.path} has {copy.seconds:.3f} s")
        return made

    def _decoded_s(self, path: Path) -> float:
        """Return the seconds of sound in a file, by decoding all of it."""
        with BlockReader(path, reading=replace(self._reading, accept_damage_s=ACCEPT_ANY_DAMAGE_S)) as reader:
            return sum(map(len, reader)) / reader.info.rate_hz

    def _in_format(self, part: Path) -> FileProperties:
        made = file_properties(part)
        if difference := self._requested.difference(made):
            raise InputError(f"ffmpeg made a file that {difference}")
        return made

    def _entry(
        self, job: TranscodeJob, key: str, digest: str, made: FileProperties, notes: tuple[str, ...]
    ) -> LedgerEntry:
        extra: dict[str, object] = {
            "output": one_line(job.source.target.as_posix()),
            "format": self._made_as,
            "seconds": round(made.seconds, 6),
            "source": {
                "codec": job.info.codec,
                "rate_hz": job.info.rate_hz,
                "channels": job.info.channels,
                "sha256": digest,
            },
            "stat": job.unchanged.stat,
        }
        return LedgerEntry(job.source.item, key, "kept", notes=notes, extra=extra)


def _has_cut_frames(job: TranscodeJob) -> bool:
    """Return whether ffmpeg may leave out frames of ADTS without an error, with a frame before them that is cut."""
    return job.info.container == "aac" and not is_whole_adts(job.source.path)


def _has_length(result_s: float, source_s: float, source: AudioInfo) -> bool:
    """Return whether a result is as long as its source.

    It may be longer by the padding of the last AAC packet: the ffmpeg program keeps it, PyAV drops it from version 19
    on.
    """
    padding_s = _AAC_PACKET_SAMPLES / source.rate_hz if source.codec == "aac" else 0.0
    return -LENGTH_SLACK_S <= result_s - source_s <= LENGTH_SLACK_S + padding_s
