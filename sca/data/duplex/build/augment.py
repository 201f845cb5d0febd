"""Retimed copies of finished sessions: tracks read from the data set, retimed, and written as a session of their own.

A retimed session has its own tracks, words and rows, so it is verified like any other.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from random import Random

import soundfile

from sca.config import Settings
from sca.data.duplex.audio.crosstalk import measure
from sca.data.duplex.audio.encode_tracks import sound_file_format
from sca.data.duplex.augment.retime import Edit, Retimed, Shares, retime
from sca.data.duplex.augment.retime_audio import Piece, moved_spans, pieces_of, write_pieces
from sca.data.duplex.build.tables import Side, write_rows, write_storage
from sca.data.duplex.evidence.measure import listen_to_tracks
from sca.data.duplex.evidence.unlabelled import set_unlabelled
from sca.data.duplex.model.records import EditRecord, TrackRecord
from sca.data.duplex.model.rows import Row
from sca.data.duplex.model.session import SessionPaths, SessionResult
from sca.data.duplex.model.units import Unit
from sca.data.duplex.storage.records import (
    bleed_record,
    units_of,
    unlabelled_of,
    unlabelled_records,
    word_records,
)
from sca.data.duplex.storage.tracks import StoredTrack, stored_tracks
from sca.data.runs.files import write_json
from sca.errors import writing
from sca.textutil import counted
from sca.tokenizer.base import TextTokenizer
from sca.units import HEARD_HZ, SPOKEN_HZ, samples_to_seconds, seconds_to_samples

__all__ = ["RetimeJob", "build_retimed", "retime_jobs", "retiming_obstacle"]

_SPEAKERS = 2


@dataclass(frozen=True, slots=True)
class RetimeJob:
    """A copy to make of a session.

    Attributes:
        origin: The session.
        copy: The number of the copy, from 1.
        key: Digest of everything that decides the result.
        pool: The floor-transfer offsets to draw from, as (kind, samples).
        drops: Ids of rows to leave out.
    """

    origin: str
    copy: int
    key: str
    pool: tuple[tuple[str, int], ...]
    drops: tuple[str, ...] = ()

    @property
    def session_id(self) -> str:
        """The name of the copy."""
        return f"{self.origin}+{self.copy}"


def retiming_obstacle(root: Path, origin: SessionResult, settings: Settings) -> str | None:
    """Return why the tracks of a session cannot be moved against each other, or None if they can."""
    tracks = stored_tracks(SessionPaths(root, origin.session_id).storage)
    if len(tracks) != _SPEAKERS or any(not track.record["words"] for track in tracks):
        return "only sessions with two speakers who both have words can be retimed"
    for track in tracks:
        for bleed in track.record["bleed"]:
            if not track.record["gated"] and bleed["bleed_s"] > settings.duplex.max_bleed * bleed["tried_s"]:
                speaker = track.record["speaker_id"]
                return f"{bleed['of']} is audible in the track of {speaker} too, and would be heard twice"
    return None


def retime_jobs(
    origins: Sequence[SessionResult], settings: Settings, drops: Mapping[str, tuple[str, ...]]
) -> list[RetimeJob]:
    """Return a job for every copy of every session. They draw from the offsets of all these sessions.

    Args:
        origins: The sessions.
        settings: The settings.
        drops: Ids of rows to leave out, by the id of their session.
    """
    pool = tuple((kind, offset) for origin in origins for kind, offset in origin.transfers)
    pool_digest = blake2b(repr(pool).encode(), digest_size=16).hexdigest()
    jobs = []
    for origin in origins:
        for copy in range(1, settings.augment.copies + 1):
            key = blake2b(f"{origin.content_key} {pool_digest} {copy}".encode(), digest_size=16).hexdigest()
            jobs.append(RetimeJob(origin.session_id, copy, key, pool, drops.get(f"{origin.session_id}+{copy}", ())))
    return jobs


def build_retimed(job: RetimeJob, root: Path, settings: Settings, tokenizer: TextTokenizer) -> SessionResult:
    """Write the files of a retimed session and its record. The result depends on the seed, the session and the copy."""
    paths = SessionPaths(root, job.session_id)
    result = SessionResult(job.session_id, job.key, "kept", augmented_from=job.origin, drops=list(job.drops))
    tracks = stored_tracks(SessionPaths(root, job.origin).storage)
    units = [units_of(track.record["words"]) for track in tracks]
    retimed = _retime(job, units, tracks[0].record["duration_samples"], settings)
    result.samples, result.tracks = retimed.samples, len(tracks)
    result.speakers = [track.record["speaker_id"] for track in tracks]
    result.notices = [
        f"{job.session_id}: {counted(count, 'change')} not made: {reason}" for reason, count in retimed.undone.items()
    ]
    shutil.rmtree(paths.scratch, ignore_errors=True)
    paths.scratch.mkdir(parents=True)
    try:
        pieces = [
            pieces_of(own, retimed.units[n], retimed.moves[n], tracks[n].record["duration_samples"], retimed.samples)
            for n, own in enumerate(units)
        ]
        files = [_write_audio(track, pieces[n], n, paths.scratch, settings) for n, track in enumerate(tracks)]
        speech = [[unit.span for unit in own] for own in retimed.units]
        records = [_record(job, track, pieces[n], retimed, n) for n, track in enumerate(tracks)]
        for n, record in enumerate(records):
            bleed = measure(result.speakers[1 - n], files[1 - n][0], speech[1 - n], files[n][0], speech[n])
            record["bleed"] = [bleed_record(bleed)]
        if settings.duplex.unlabelled_speech == "mask":
            heard = listen_to_tracks([heard for heard, _ in files])
            set_unlabelled(records, [one.speech for one in heard], settings.duplex.max_bleed)
        write_storage(paths, records, files, settings, result)
        unlabelled = map(unlabelled_of, records)
        sides = [Side(*side) for side in zip(result.speakers, retimed.units, speech, unlabelled, strict=True)]
        write_rows(paths, sides, settings, tokenizer, result, _flags(retimed, settings))
    finally:
        shutil.rmtree(paths.scratch, ignore_errors=True)
    write_json(paths.record, result.to_json())
    return result


def _retime(job: RetimeJob, units: Sequence[Sequence[Unit]], samples: int, settings: Settings) -> Retimed:
    augment = settings.augment
    shares = Shares(augment.early_interruption, augment.gap_jitter, augment.overlap_jitter)
    gap = seconds_to_samples(settings.duplex.unit_gap_s, HEARD_HZ)
    random = Random(f"{augment.seed} {job.origin} {job.copy}")  # noqa: S311 - reproducible, not a secret
    return retime(units, samples, job.pool, shares, gap, random)


def _write_audio(
    track: StoredTrack, pieces: Sequence[Piece], side: int, folder: Path, settings: Settings
) -> tuple[Path, Path]:
    """Write the retimed audio of a track at 16 and 24 kHz."""
    kind = sound_file_format(settings.duplex.audio_format)
    files = []
    for cell, rate in ((track.heard, HEARD_HZ), (track.spoken, SPOKEN_HZ)):
        path = folder / f"track{side}_{rate // 1000}k.{kind.lower()}"
        with writing(path), soundfile.SoundFile(path, "w", rate, 1, "PCM_16", format=kind) as out:
            write_pieces(cell, rate, pieces, out)
        files.append(path)
    return files[0], files[1]


def _record(job: RetimeJob, track: StoredTrack, pieces: Sequence[Piece], retimed: Retimed, side: int) -> TrackRecord:
    """Return the record of a retimed track. What the VAD finds in its audio is not in it yet."""
    said = [span for span in unlabelled_of(track.record) if span.reason != "speech"]
    edits: list[EditRecord] = [
        {
            "kind": edit.kind,
            "unit": edit.unit,
            "was_s": samples_to_seconds(edit.was, HEARD_HZ),
            "offset_s": samples_to_seconds(edit.now, HEARD_HZ),
        }
        for edit in retimed.edits
        if edit.side == side
    ]
    return {
        **track.record,
        "session_id": job.session_id,
        "duration_samples": retimed.samples,
        "words": word_records(retimed.units[side]),
        "gated": [],
        "augmented": {"from": job.origin, "copy": job.copy, "edits": edits},
        "unlabelled": unlabelled_records(moved_spans(said, pieces)),
    }


def _flags(retimed: Retimed, settings: Settings) -> Callable[[Row], list[str]]:
    """Return a function that gives the flags of a row: `augmented`, and the kinds of the edits in it."""
    chunk = settings.grid.heard_samples

    def onset(edit: Edit) -> int:
        return retimed.units[edit.side][edit.unit].start

    def flags(row: Row) -> list[str]:
        first, last = row.first * chunk, (row.first + row.n_chunks - row.extended) * chunk
        kinds = {edit.kind for edit in retimed.edits if first <= onset(edit) < last}
        return ["augmented", *sorted(kinds)]

    return flags
