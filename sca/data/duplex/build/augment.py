"""A finished session once more, retimed: read from the data set, drawn, its sound cut and joined anew, written as one of its own.

The retimed session has its own tracks, words and rows, so all that is proven of a session is proven of it.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

import soundfile

from sca.config import Settings
from sca.data.duplex.audio.crosstalk import measure
from sca.data.duplex.augment.retime import Edit, Retimed, Shares, retime
from sca.data.duplex.augment.retime_audio import pieces_of, write_pieces
from sca.data.duplex.build.session import write_rows, write_storage
from sca.data.duplex.model.records import EditRecord, TrackRecord
from sca.data.duplex.model.rows import Row
from sca.data.duplex.model.session import SessionPaths, SessionResult
from sca.data.duplex.storage.records import bleed_record, units_of, word_records
from sca.data.duplex.storage.tracks import StoredTrack, stored_tracks
from sca.data.runs.files import write_json
from sca.errors import writing
from sca.textutil import counted
from sca.tokenizer.base import TextTokenizer
from sca.units import HEARD_HZ, SPOKEN_HZ, seconds_to_samples

__all__ = ["RetimeJob", "build_retimed", "retime_jobs", "unfit"]

_SPEAKERS = 2


@dataclass(frozen=True, slots=True)
class RetimeJob:
    """A session to retime for the `copy`-th time, the key of what decides the result, and the offsets to draw from."""

    origin: str
    copy: int
    key: str
    pool: tuple[tuple[str, int], ...]

    @property
    def session_id(self) -> str:
        """Of the retimed session."""
        return f"{self.origin}+{self.copy}"


def unfit(root: Path, origin: SessionResult, settings: Settings) -> str | None:
    """Why a session cannot be retimed: its tracks cannot be moved apart."""
    tracks = stored_tracks(SessionPaths(root, origin.session_id).storage)
    if len(tracks) != _SPEAKERS or any(not track.record["words"] for track in tracks):
        return "only conversations of two speakers with words can be"
    for track in tracks:
        for bleed in track.record["bleed"]:
            if not track.record["gated"] and bleed["bleed_s"] > settings.duplex.max_bleed * bleed["tried_s"]:
                return f"{bleed['of']} is heard in the track of {track.record['speaker_id']}, and would be heard twice"
    return None


def retime_jobs(origins: Sequence[SessionResult], settings: Settings) -> list[RetimeJob]:
    """Every copy of every one of these sessions, which are for training. They draw from the offsets of them all."""
    pool = tuple((kind, offset) for origin in origins for kind, offset in origin.transfers)
    drawn_from = blake2b(repr(pool).encode(), digest_size=16).hexdigest()
    jobs = []
    for origin in origins:
        for copy in range(1, settings.augment.copies + 1):
            key = blake2b(f"{origin.key} {drawn_from} {copy}".encode(), digest_size=16).hexdigest()
            jobs.append(RetimeJob(origin.session_id, copy, key, pool))
    return jobs


def build_retimed(job: RetimeJob, root: Path, settings: Settings, tokenizer: TextTokenizer) -> SessionResult:
    """Write the retimed session's parts and its record. The seed and the two names decide what is drawn."""
    paths = SessionPaths(root, job.session_id)
    result = SessionResult(job.session_id, job.key, "kept", augmented_from=job.origin)
    tracks = stored_tracks(SessionPaths(root, job.origin).storage)
    sides = [units_of(track.record["words"]) for track in tracks]
    augment = settings.augment
    shares = Shares(augment.early_interruption, augment.gap_jitter, augment.overlap_jitter)
    gap = seconds_to_samples(settings.duplex.unit_gap_s, HEARD_HZ)
    random = Random(f"{augment.seed} {job.origin} {job.copy}")  # noqa: S311 - a reproducible draw, no secret
    made = retime(sides, tracks[0].record["duration_samples"], job.pool, shares, gap, random)
    result.samples, result.tracks = made.samples, len(tracks)
    result.speakers = [track.record["speaker_id"] for track in tracks]
    result.notices = [f"{job.session_id}: {counted(n, 'change')} not made: {why}" for why, n in made.undone.items()]
    shutil.rmtree(paths.scratch, ignore_errors=True)
    paths.scratch.mkdir(parents=True)
    try:
        files = [_sound(track, sides[n], made, n, paths.scratch, settings) for n, track in enumerate(tracks)]
        talk = [[(unit.start, unit.end) for unit in side] for side in made.units]
        records = [_record(job, track, made, n) for n, track in enumerate(tracks)]
        for n, record in enumerate(records):
            found = measure(result.speakers[1 - n], files[1 - n][0], talk[1 - n], files[n][0], talk[n])
            record["bleed"] = [bleed_record(found)]
        write_storage(paths, records, files, settings, result)
        write_rows(
            paths, result.speakers, made.units, talk, made.samples, settings, tokenizer, result, _flags(made, settings)
        )
    finally:
        shutil.rmtree(paths.scratch, ignore_errors=True)
    write_json(paths.record, result.to_json())
    return result


def _sound(
    track: StoredTrack, units: Sequence[Any], made: Retimed, side: int, folder: Path, settings: Settings
) -> tuple[Path, Path]:
    kind = {"flac": "FLAC", "pcm16": "WAV"}[settings.duplex.audio_format]
    samples = track.record["duration_samples"]
    pieces = pieces_of(units, made.units[side], made.moves[side], samples, made.samples)
    files = []
    for cell, rate in ((track.heard, HEARD_HZ), (track.spoken, SPOKEN_HZ)):
        path = folder / f"track{side}_{rate // 1000}k.{kind.lower()}"
        with writing(path), soundfile.SoundFile(path, "w", rate, 1, "PCM_16", format=kind) as out:
            write_pieces(cell, rate, pieces, out)
        files.append(path)
    return files[0], files[1]


def _record(job: RetimeJob, track: StoredTrack, made: Retimed, side: int) -> TrackRecord:
    edits: list[EditRecord] = [
        {"kind": e.kind, "unit": e.unit, "was_s": e.was / HEARD_HZ, "offset_s": e.now / HEARD_HZ}
        for e in made.edits
        if e.side == side
    ]
    return {
        **track.record,
        "session_id": job.session_id,
        "duration_samples": made.samples,
        "words": word_records(made.units[side]),
        "gated": [],
        "augmented": {"from": job.origin, "copy": job.copy, "edits": edits},
    }


def _flags(made: Retimed, settings: Settings) -> Callable[[Row], list[str]]:
    chunk = settings.grid.heard_samples

    def flags(row: Row) -> list[str]:
        first, last = row.first * chunk, (row.first + row.n_chunks - row.extended) * chunk
        here = {edit.kind for edit in made.edits if first <= _onset(made, edit) < last}
        return ["augmented", *sorted(here)]

    return flags


def _onset(made: Retimed, edit: Edit) -> int:
    return made.units[edit.side][edit.unit].start
