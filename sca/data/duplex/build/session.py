"""Builds one session: audio, words, rows and counts. A session is the unit of work and of resuming.

Runs the same in this process or in a worker, and writes only the files of its own session.
"""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sca.config import DuplexConfig, Settings
from sca.data.corpora.base import Conversation, Issue, Track
from sca.data.corpora.session_source import SessionSource
from sca.data.duplex.align.registry import load_aligner
from sca.data.duplex.align.track import TrackAligner
from sca.data.duplex.audio.encode_tracks import EncodedTrack, encode_tracks
from sca.data.duplex.audio.speaker_embedding import embed_speaker
from sca.data.duplex.audio.vad_spans import Listened, TrackListener, listen
from sca.data.duplex.augment.retime import offset_pool
from sca.data.duplex.build.crosstalk import excess_bleed, process_crosstalk
from sca.data.duplex.build.tables import Side, write_rows, write_storage
from sca.data.duplex.build.word_times import TimedTrack, time_words
from sca.data.duplex.evidence.measure import measure_session
from sca.data.duplex.evidence.unlabelled import set_unlabelled, within_session
from sca.data.duplex.model.records import TrackRecord
from sca.data.duplex.model.session import SessionPaths, SessionResult
from sca.data.duplex.model.units import Unit
from sca.data.duplex.rows.text import make_units
from sca.data.duplex.storage.records import track_record, unlabelled_of, unlabelled_records
from sca.data.duplex.verify.track_counts import SILENT_PEAK
from sca.data.runs.files import write_json
from sca.textutil import counted
from sca.tokenizer.base import TextTokenizer
from sca.units import HEARD_HZ, seconds_to_samples

__all__ = ["SessionJob", "build_session"]


class _DropError(Exception):
    """The session is not suitable for training; the message is the reason."""


@dataclass(frozen=True, slots=True)
class SessionJob:
    """A session to build.

    Attributes:
        source: The session in its corpus.
        key: Digest of its content, the settings and the models.
        stat: Name, size and time of its files, and the models; see `SessionResult.stat`.
        sha256: The SHA-256 of its files.
    """

    source: SessionSource
    key: str
    stat: list[list[str | int]]
    sha256: Mapping[Path, str]


def build_session(job: SessionJob, root: Path, settings: Settings, tokenizer: TextTokenizer) -> SessionResult:
    """Build the files of one session, and its record, which is written last and marks the session as done.

    Args:
        job: The session.
        root: The data set.
        settings: The settings.
        tokenizer: The tokenizer.

    Raises:
        InputError: Audio or text of the session cannot be read.
        OutputError: A file cannot be written.
    """
    paths = SessionPaths(root, job.source.session_id)
    result = SessionResult(paths.session_id, job.key, "kept", stat=job.stat)
    conversation = job.source.read()
    _add_issues(conversation.issues, result)
    shutil.rmtree(paths.scratch, ignore_errors=True)
    paths.scratch.mkdir(parents=True)
    try:
        _write_tables(conversation, job, paths, settings, tokenizer, result)
    except _DropError as drop:
        result.status, result.reason = "dropped", str(drop)
        for part in (paths.storage, paths.rows):
            part.unlink(missing_ok=True)
    finally:
        shutil.rmtree(paths.scratch, ignore_errors=True)
    write_json(paths.record, result.to_json())
    return result


def _write_tables(
    conversation: Conversation,
    job: SessionJob,
    paths: SessionPaths,
    settings: Settings,
    tokenizer: TextTokenizer,
    result: SessionResult,
) -> None:
    tracks, duplex = conversation.tracks, settings.duplex
    # The speech of a track without transcript is stored, so it is that of every frame.
    listeners = [TrackListener(every_frame=track.transcript is None) for track in tracks]
    encoded = encode_tracks(
        [track.audio for track in tracks],
        paths.scratch,
        duplex.audio_format,
        [track.part for track in tracks],
        [listener.push for listener in listeners],
    )
    timed = [_timed(track, audio, settings, result) for track, audio in zip(tracks, encoded, strict=True)]
    units = [make_units(one.utterances, seconds_to_samples(duplex.unit_gap_s, HEARD_HZ)) for one in timed]
    _check_audible(tracks, encoded, units)
    result.samples, result.tracks = encoded[0].samples, len(encoded)
    result.speakers = [track.speaker_id for track in tracks]
    heard = [listener.finish() for listener in listeners]
    speech = [
        found.speech if track.transcript is None else [unit.span for unit in own]
        for track, found, own in zip(tracks, heard, units, strict=True)
    ]
    crosstalk = process_crosstalk(result.speakers, encoded, speech, duplex.on_bleed)
    if duplex.on_bleed == "drop" and (reason := excess_bleed(result.speakers, crosstalk, duplex.max_bleed)):
        raise _DropError(reason)
    embeddings = [embed_speaker(settings, audio.heard, spans) for audio, spans in zip(encoded, speech, strict=True)]
    records = [
        track_record(paths.session_id, track, audio, job.sha256[track.audio], own, spans, found, embedding)
        for track, audio, own, spans, found, embedding in zip(
            tracks, encoded, units, speech, crosstalk, embeddings, strict=True
        )
    ]
    # The gate has changed the files of its tracks.
    heard = [
        listen(audio.heard) if found.gated else before
        for audio, found, before in zip(encoded, crosstalk, heard, strict=True)
    ]
    result.evidence = measure_session(records, [audio.heard for audio in encoded], heard)
    _add_unlabelled(records, timed, heard, duplex)
    result.transfers = offset_pool(units) if len(units) == 2 else []
    write_storage(paths, records, [(audio.heard, audio.spoken) for audio in encoded], settings, result)
    sides = [
        Side(record["speaker_id"], own if track.transcript is not None else None, spans, unlabelled_of(record))
        for track, record, own, spans in zip(tracks, records, units, speech, strict=True)
    ]
    write_rows(paths, sides, settings, tokenizer, result)


def _add_unlabelled(
    records: Sequence[TrackRecord], timed: Sequence[TimedTrack], heard: Sequence[Listened], duplex: DuplexConfig
) -> None:
    """Add the speech without words to the records of the tracks: what the transcript says, and what the VAD finds."""
    if duplex.unlabelled_speech == "keep":
        return
    for record, one in zip(records, timed, strict=True):
        spans = within_session(one.unlabelled, record["duration_samples"])
        record["unlabelled"] = unlabelled_records(spans)
    set_unlabelled(records, [one.speech for one in heard], duplex.max_bleed)


def _add_issues(issues: Iterable[Issue], result: SessionResult) -> None:
    for issue in issues:
        (result.notices if issue.level == "note" else result.skipped).append(str(issue))


def _timed(track: Track, audio: EncodedTrack, settings: Settings, result: SessionResult) -> TimedTrack:
    """Return the utterances of a track with the times of their words."""
    method, model = settings.duplex.align, load_aligner(settings)
    keep_tags = settings.duplex.tags == "keep"
    recorded = audio.samples - audio.padded  # padding has no speech
    if model is None or method == "interpolate":
        timed = time_words(track, recorded, keep_tags=keep_tags)
    else:
        aligner = TrackAligner(model, audio.heard, method)
        timed = time_words(track, recorded, aligner, keep_tags=keep_tags)
        result.counters.alignment.add(aligner.counters)
    result.counters.tags.update(timed.tags)
    _add_issues(timed.issues, result)
    return timed


def _check_audible(tracks: Sequence[Track], encoded: Sequence[EncodedTrack], units: Sequence[list[Unit]]) -> None:
    """Drop the session if a recording with a transcript is silent, or if it has no words at all."""
    for track, audio, own in zip(tracks, encoded, units, strict=True):
        if own and track.transcript is not None and audio.peak < SILENT_PEAK:
            words = counted(sum(len(unit.words) for unit in own), "word")
            raise _DropError(f"{track.audio} is silent (peak {audio.peak:.1e}) but {track.transcript.name} has {words}")
    if not any(units):
        raise _DropError("no track has any words")
