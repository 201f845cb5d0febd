"""Everything about a session except its rows: audio, words, cross-talk and evidence. Nothing is stored yet."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sca.config import DuplexConfig, Settings
from sca.data.corpora.base import Conversation, Issue, Track
from sca.data.duplex.align.registry import aligner_profile, load_aligner
from sca.data.duplex.align.track import TrackAligner
from sca.data.duplex.audio.encode_tracks import EncodedTrack, encode_tracks
from sca.data.duplex.audio.speaker_embedding import embed_speaker
from sca.data.duplex.audio.vad_spans import Listened, TrackListener, amplified, listen
from sca.data.duplex.build.crosstalk import excess_bleed, process_crosstalk
from sca.data.duplex.build.repair import confirmed, repaired
from sca.data.duplex.build.word_times import TimedTrack, time_words
from sca.data.duplex.evidence.measure import measure_session
from sca.data.duplex.evidence.unlabelled import set_unlabelled, within_session
from sca.data.duplex.model.crosstalk import CrosstalkResult
from sca.data.duplex.model.evidence import TrackEvidence
from sca.data.duplex.model.records import RepairRecord, TrackRecord
from sca.data.duplex.model.session import SessionResult
from sca.data.duplex.model.spans import Span
from sca.data.duplex.model.units import Unit
from sca.data.duplex.rows.text import make_units
from sca.data.duplex.storage.records import track_record, unlabelled_records
from sca.data.duplex.verify.track_counts import SILENT_PEAK
from sca.textutil import counted
from sca.units import HEARD_HZ, seconds_to_samples

__all__ = ["DropError", "Prepared", "Preparer"]


class DropError(Exception):
    """The session is not suitable for training; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A session whose tables can be written.

    Attributes:
        tracks: The speakers in their corpus.
        files: The encoded audio of each track.
        units: The units of each speaker.
        speech: Where each of them speaks.
        records: The records of the tracks.
        result: What was counted and noted.
        evidence: Measurements of the tracks.
        as_recorded: The same before cross-talk was silenced. With words in the wrong places, the gate silences speech.
        excess: Why there is too much cross-talk, if that matters.
    """

    tracks: tuple[Track, ...]
    files: Sequence[EncodedTrack]
    units: Sequence[Sequence[Unit]]
    speech: Sequence[Sequence[Span]]
    records: Sequence[TrackRecord]
    result: SessionResult
    evidence: list[TrackEvidence]
    as_recorded: list[TrackEvidence]
    excess: str | None


@dataclass(frozen=True, slots=True)
class Preparer:
    """Prepares a session, as its corpus gives it or repaired.

    Attributes:
        conversation: The session in its corpus.
        sha256: The SHA-256 of its files.
        scratch: A folder for its audio.
        settings: The settings.
    """

    conversation: Conversation
    sha256: Mapping[Path, str]
    scratch: Path
    settings: Settings

    def prepare(self, result: SessionResult, name: str, repairs: Mapping[str, RepairRecord] | None = None) -> Prepared:
        """Prepare the session.

        Args:
            result: Gets the counts and notes.
            name: The name of a subfolder for the audio.
            repairs: Repairs by speaker.

        Raises:
            DropError: The session has no words, or a speaker with words has no sound.
            InputError: Audio of the session cannot be read.
        """
        conversation = repaired(self.conversation, repairs) if repairs else self.conversation
        tracks, duplex = conversation.tracks, self.settings.duplex
        add_issues(conversation.issues, result)
        encoded, heard = _encode(tracks, self.scratch / name, self.settings)
        # Two tracks may be channels of one recording.
        remarks = {
            f"{track.audio}: {note}" for track, audio in zip(tracks, encoded, strict=True) for note in audio.notes
        }
        result.notices += sorted(remarks)
        timed = [_timed(track, audio, self.settings, result) for track, audio in zip(tracks, encoded, strict=True)]
        units = [make_units(one.utterances, seconds_to_samples(duplex.unit_gap_s, HEARD_HZ)) for one in timed]
        _check_audible(tracks, encoded, units)
        result.samples, result.tracks = encoded[0].samples, len(encoded)
        result.speakers = [track.speaker_id for track in tracks]
        speech = [
            found.speech if track.transcript is None else [unit.span for unit in own]
            for track, found, own in zip(tracks, heard, units, strict=True)
        ]
        crosstalk = process_crosstalk(result.speakers, encoded, speech, duplex.on_bleed)
        excess = excess_bleed(result.speakers, crosstalk, duplex.max_bleed) if duplex.on_bleed == "drop" else None
        records = [
            self._record(result.session_id, track, encoded[n], units[n], speech[n], crosstalk[n], repairs)
            for n, track in enumerate(tracks)
        ]
        files, recorded = [audio.heard for audio in encoded], [audio.samples - audio.padded for audio in encoded]
        heard = [amplified(found, file) for found, file in zip(heard, files, strict=True)]
        evidence = as_recorded = confirmed(measure_session(records, files, heard), conversation, recorded)
        if any(found.gated for found in crosstalk):
            # The gate has changed the files of its tracks.
            heard = [
                listen(file) if found.gated else before
                for file, found, before in zip(files, crosstalk, heard, strict=True)
            ]
            evidence = confirmed(measure_session(records, files, heard), conversation, recorded)
        result.evidence = evidence
        _add_unlabelled(records, timed, heard, duplex)
        return Prepared(tracks, encoded, units, speech, records, result, evidence, as_recorded, excess)

    def _record(
        self,
        session_id: str,
        track: Track,
        audio: EncodedTrack,
        units: Sequence[Unit],
        speech: Sequence[Span],
        crosstalk: CrosstalkResult,
        repairs: Mapping[str, RepairRecord] | None,
    ) -> TrackRecord:
        embedding = embed_speaker(self.settings, audio.heard, speech)
        repair = (repairs or {}).get(track.speaker_id)
        sha256 = self.sha256[track.audio]
        return track_record(session_id, track, audio, sha256, units, speech, crosstalk, embedding, repair)


def _encode(tracks: Sequence[Track], folder: Path, settings: Settings) -> tuple[list[EncodedTrack], list[Listened]]:
    """Write the audio of the tracks, and return it with the speech in it."""
    folder.mkdir(parents=True)
    # The speech of a track without transcript is stored, so it is that of every frame.
    listeners = [TrackListener(every_frame=track.transcript is None) for track in tracks]
    sources, parts = [track.audio for track in tracks], [track.part for track in tracks]
    encoded = encode_tracks(
        sources,
        folder,
        settings.duplex.audio_format,
        parts,
        [listener.push for listener in listeners],
        reading=settings.audio.reading,
    )
    return encoded, [listener.finish() for listener in listeners]


def add_issues(issues: Iterable[Issue], result: SessionResult) -> None:
    """Note what was left out or is irregular."""
    for issue in issues:
        (result.notices if issue.level == "note" else result.skipped).append(str(issue))


def _add_unlabelled(
    records: Sequence[TrackRecord], timed: Sequence[TimedTrack], heard: Sequence[Listened], duplex: DuplexConfig
) -> None:
    """Add the speech without words to the records of the tracks: that of the transcript, and that found by the VAD."""
    if duplex.unlabelled_speech == "keep":
        return
    for record, one in zip(records, timed, strict=True):
        spans = within_session(one.unlabelled, record["duration_samples"])
        record["unlabelled"] = unlabelled_records(spans)
    set_unlabelled(records, [one.speech for one in heard], duplex.max_bleed)


def _timed(track: Track, audio: EncodedTrack, settings: Settings, result: SessionResult) -> TimedTrack:
    """Return the utterances of a track with the times of their words."""
    method, model = settings.duplex.align, load_aligner(settings)
    keep_tags = settings.duplex.tags == "keep"
    recorded = audio.samples - audio.padded  # padding has no speech
    if model is None or method == "interpolate":
        timed = time_words(track, recorded, keep_tags=keep_tags)
    else:
        profile = aligner_profile(settings)
        aligner = TrackAligner(model, audio.heard, method, None if profile is None else profile.correction)
        timed = time_words(track, recorded, aligner, keep_tags=keep_tags)
        result.counters.alignment.add(aligner.counters)
    result.counters.tags.update(timed.tags)
    add_issues(timed.issues, result)
    return timed


def _check_audible(tracks: Sequence[Track], encoded: Sequence[EncodedTrack], units: Sequence[list[Unit]]) -> None:
    """Drop the session if a recording with a transcript is silent, or if it has no words at all."""
    for track, audio, own in zip(tracks, encoded, units, strict=True):
        if own and track.transcript is not None and audio.peak < SILENT_PEAK:
            words = counted(sum(len(unit.words) for unit in own), "word")
            raise DropError(f"{track.audio} is silent (peak {audio.peak:.1e}) but {track.transcript.name} has {words}")
    if not any(units):
        raise DropError("no track has any words")
