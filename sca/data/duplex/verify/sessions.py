"""Verify one session: its tracks, and the rows of every speaker."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sca.config import Settings
from sca.data.duplex.audio.codec_targets import broken_codes, frames_of
from sca.data.duplex.evidence.measure import listen_to_tracks, measure_session
from sca.data.duplex.evidence.unlabelled import unlabelled_problems
from sca.data.duplex.model.heard import heard_groups, heard_speakers, joint_speech, listener_name
from sca.data.duplex.model.left_out import LeftOutRow
from sca.data.duplex.model.records import RowRecord
from sca.data.duplex.model.row_names import typed_row_id
from sca.data.duplex.model.session import SessionResult
from sca.data.duplex.rows.params import layout_of
from sca.data.duplex.storage.build_settings import tokenizer_of
from sca.data.duplex.storage.detect import StoredRow, StoredSession
from sca.data.duplex.storage.digests import record_digest, track_digest
from sca.data.duplex.storage.records import speech_of, unlabelled_of
from sca.data.duplex.storage.tracks import StoredTrack
from sca.data.duplex.verify.audio.causality import CausalityCheck
from sca.data.duplex.verify.audio.crosstalk import bleed_problems
from sca.data.duplex.verify.audio.embedding import (
    EmbeddedTrack,
    SpeakerModelUsed,
    embedded_tracks,
    embedding_problem,
    recomputed_problems,
)
from sca.data.duplex.verify.audio.provenance import provenance_problems
from sca.data.duplex.verify.audio.recordings import RecordingsFound, find_recordings
from sca.data.duplex.verify.audio.stored_audio import DecodedAudio, decode_track
from sca.data.duplex.verify.audio.two_rates import rates_problem
from sca.data.duplex.verify.check_table import Problems
from sca.data.duplex.verify.context import proof_context
from sca.data.duplex.verify.evidence import repair_problems
from sca.data.duplex.verify.retiming import retimed_flag_problems, retimed_problems
from sca.data.duplex.verify.rows import LeftOutRows, RowVerifier
from sca.data.duplex.verify.text_rate import text_rate_of
from sca.data.duplex.verify.track_counts import SILENT_PEAK, count_track
from sca.errors import InputError
from sca.textutil import counted
from sca.tokenizer import TextTokenizer
from sca.units import HEARD_HZ, SPOKEN_HZ, half_up

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SessionJob", "SessionOrigin", "VerifiedSession", "verify_session"]

Side = tuple[str, str]
"""Listener and speaker of a row."""


class SessionOrigin(Protocol):
    """A session of a corpus, to compare stored tracks with. Picklable."""

    def __call__(self, tracks: Sequence[StoredTrack], settings: Settings) -> Iterable[str]:
        """Return where stored tracks differ from the session, or from the session that they are retimed from.

        Args:
            tracks: The tracks.
            settings: The settings of the data set.
        """
        ...


@dataclass(frozen=True, slots=True)
class SessionJob:
    """A session to verify.

    Attributes:
        root: The data set.
        session: The session.
        rows: Reads its rows by split, without splits that have none.
        origin: The session in its corpus; None to verify the data set alone.
        speaker: The model to compute its embeddings with; None to compare them with each other only.
        left_out: The rows that are left out, as the report names them.
    """

    root: Path
    session: StoredSession
    rows: Callable[[], dict[str, list[StoredRow]]]
    origin: SessionOrigin | None = None
    speaker: SpeakerModelUsed | None = None
    left_out: tuple[LeftOutRow, ...] = ()


@dataclass(slots=True)
class VerifiedSession:
    """What was found in a session.

    Attributes:
        result: Its counts and digests.
        problems: What is broken.
        causal_rows: Rows that were tested for causality.
        leak_s: The largest leak found in them, in seconds.
        codec_frames: Codec frames verified.
        embeddings: The speaker embeddings with what they are computed from.
        recordings: The recordings that are at hand.
    """

    result: SessionResult
    problems: Problems = field(default_factory=Problems)
    causal_rows: int = 0
    leak_s: float = 0.0
    codec_frames: int = 0
    embeddings: list[EmbeddedTrack] = field(default_factory=list)
    recordings: RecordingsFound = field(default_factory=RecordingsFound)


def verify_session(job: SessionJob, settings: Settings) -> VerifiedSession:
    """Verify a session, in this process or in a worker.

    Args:
        job: The session.
        settings: The settings of the data set.

    Raises:
        InputError: The session cannot be read.
    """
    return _SessionVerifier(settings, tokenizer_of(settings)).verify(job)


class _SessionVerifier:
    """Verifies one session."""

    def __init__(self, settings: Settings, tokenizer: TextTokenizer) -> None:
        self._settings = settings
        self._context = proof_context(settings, tokenizer)
        self._causality = CausalityCheck(settings.grid)
        self._problems = Problems()
        self._row_ids: set[str] = set()
        self._codec_frames = 0

    def verify(self, job: SessionJob) -> VerifiedSession:
        session = job.session
        tracks = session.read()
        if not tracks:
            raise InputError(f"{session.location} contains no track")
        first = tracks[0].record
        session_id = first["session_id"]
        result = SessionResult(session_id, "", "kept", samples=first["duration_samples"], tracks=len(tracks))
        if session.name != session_id:
            self._problems.add("audio", f"{session.location} contains session {session_id}")
        self._check_tracks(tracks, result, job.speaker, has_audio=session.has_audio)
        self._check_repairs(tracks, result)
        rows = job.rows()
        result.split = next(iter(rows), "train")
        if len(rows) > 1:
            self._problems.add("rows", f"{session_id}: has rows in {' and in '.join(rows)}")
        result.augmented_from = first["augmented"]["from"] if first["augmented"] else None
        for problem in retimed_problems(tracks, result.split):
            self._problems.add("rows", f"{session_id}: {problem}")
        in_order = [row for part in rows.values() for row in part]
        records = [row.record for row in in_order]
        for problem in retimed_flag_problems(records, tracks, self._settings.grid.heard_samples):
            self._problems.add("rows", problem)
        self._check_rows(tracks, in_order, result, job.left_out)
        return VerifiedSession(
            result,
            self._problems,
            self._causality.rows,
            self._causality.leak_s,
            self._codec_frames,
            embedded_tracks(tracks),
            self._check_origin(job, tracks),
        )

    def _check_origin(self, job: SessionJob, tracks: Sequence[StoredTrack]) -> RecordingsFound:
        """Compare the tracks with their corpus if it is given, or else with the recordings that are at hand."""
        found = RecordingsFound(tracks=len(tracks)) if job.origin else find_recordings(job.root, tracks)
        problems = job.origin(tracks, self._settings) if job.origin else found.problems
        for problem in problems:
            self._problems.add("source", f"{job.session.name} {problem}")
        return found

    def _check_tracks(
        self,
        tracks: Sequence[StoredTrack],
        result: SessionResult,
        speaker: SpeakerModelUsed | None,
        *,
        has_audio: bool,
    ) -> None:
        """Verify the tracks, and measure their words against their sound if all audio is correct."""
        result.speakers = [track.record["speaker_id"] for track in tracks]
        if sorted(set(result.speakers)) != result.speakers:
            self._problems.add(
                "audio", f"{result.session_id}: speakers {result.speakers} are not in order, or one appears twice"
            )
        for track in tracks:
            self._check_track(track, result)
        if not has_audio:
            return
        with DecodedAudio() as decoded:
            audio = [self._check_audio(track, result, decoded) for track in tracks]
            heard = [file for file in audio if file is not None]
            if len(heard) != len(tracks):
                return
            for problem in bleed_problems(tracks, heard):
                self._problems.add("audio", f"{result.session_id}: {problem}")
            for problem in recomputed_problems(tracks, heard, speaker) if speaker else ():
                self._problems.add("embeddings", f"{result.session_id} {problem}")
            self._check_speech(tracks, heard, result)

    def _check_speech(
        self, tracks: Sequence[StoredTrack], audio: "Sequence[Path | pa.Buffer]", result: SessionResult
    ) -> None:
        """Measure the words of the tracks against their sound, and verify the speech without words."""
        records = [track.record for track in tracks]
        augmented = records[0]["augmented"] is not None
        if augmented and not self._context.masks_unlabelled:
            return
        heard = listen_to_tracks(audio)
        if not augmented:
            result.evidence = measure_session(records, audio, heard)
        for record, own in zip(records, heard, strict=True) if self._context.masks_unlabelled else ():
            for problem in unlabelled_problems(record, records, own.speech, self._settings.duplex.max_bleed):
                self._problems.add("audio", f"{result.session_id} {record['speaker_id']}: {problem}")

    def _check_repairs(self, tracks: Sequence[StoredTrack], result: SessionResult) -> None:
        for track in tracks:
            if repair := track.record["provenance"].get("repair"):
                result.repairs[track.record["speaker_id"]] = repair
        for problem in repair_problems(result.repairs, result.evidence, result.speakers, self._settings.duplex):
            self._problems.add("audio", f"{result.session_id}: {problem}")

    def _check_track(self, track: StoredTrack, result: SessionResult) -> None:
        record, name = track.record, f"{result.session_id} {track.record['speaker_id']}"
        samples = record["duration_samples"]
        if record["session_id"] != result.session_id or samples != result.samples:
            self._problems.add(
                "audio",
                f"{name}: a track of {record['session_id']} with {counted(samples, 'sample')} "
                f"among tracks with {result.samples}",
            )
        if record["words"] and record["provenance"]["peak"] < SILENT_PEAK:
            self._problems.add("audio", f"{name}: silent, but has {counted(len(record['words']), 'word')}")
        if problem := embedding_problem(record["speaker_embedding"], self._settings.duplex.speaker_model):
            self._problems.add("embeddings", f"{name}: {problem}")
        if record["unlabelled"] and not self._context.masks_unlabelled:
            self._problems.add("audio", f"{name}: has unlabelled speech, but unlabelled_speech is keep")
        count_track(record, result.counters)

    def _check_audio(
        self, track: StoredTrack, result: SessionResult, decoded: DecodedAudio
    ) -> "Path | pa.Buffer | None":
        """Verify the audio and codec codes of a track. Returns its decoded 16 kHz audio; None if it is broken."""
        name = f"{result.session_id} {track.record['speaker_id']}"
        samples = track.record["duration_samples"]
        heard = decoded.decode(track.heard, samples)
        spoken = decode_track(track.spoken, SPOKEN_HZ, half_up(Fraction(samples * SPOKEN_HZ, HEARD_HZ)))
        found = [f"the {HEARD_HZ // 1000} kHz track {problem}" for problem in heard.problems]
        found += [f"the {SPOKEN_HZ // 1000} kHz track {problem}" for problem in spoken.problems]
        correct = not found
        if correct:
            difference = rates_problem(heard.means, spoken.means)
            found += [difference] if difference else []
            found += provenance_problems(track.record, heard, spoken)
        for problem in found:
            self._problems.add("audio", f"{name}: {problem}")
        result.storage_digests.append(track_digest(track.record, *track.cells))
        wanted = self._settings.duplex.codes != "none" and track.has_transcript
        frames = frames_of(self._settings.grid) if wanted else 0
        n_chunks = self._settings.grid.chunks(samples)
        broken = broken_codes(track.codes, wanted, n_chunks, frames)
        if broken is not None:
            self._problems.add("codes", f"{name}: {broken}")
        elif wanted:
            self._codec_frames += n_chunks * frames
        return heard.file if correct else None

    def _check_rows(
        self,
        tracks: Sequence[StoredTrack],
        rows: Sequence[StoredRow],
        result: SessionResult,
        left_out: Sequence[LeftOutRow],
    ) -> None:
        by_speaker = {track.record["speaker_id"]: track for track in tracks}
        mixes = self._settings.duplex.others == "mix"
        sides = [
            (listener_name(heard), speaker)
            for speaker, track in by_speaker.items()
            for heard in heard_groups(speaker, list(by_speaker), mixes=mixes)
            if track.has_transcript
        ]
        absent = {side: LeftOutRows(left_out, result, side) for side in sides}
        found = [_side(row.record) for row in rows]
        self._check_sides(found, [side for side in sides if side in found or not absent[side].rows], result.session_id)
        verifiers = {side: self._row_verifier(side, by_speaker, result) for side in sides}
        tested: dict[Side, StoredRow] = {}
        self._count_text_rate(rows, sides, by_speaker, result)
        for row in rows:
            record, side = row.record, _side(row.record)
            if record["row_id"] in self._row_ids:
                self._problems.add("rows", f"{typed_row_id(record['row_id'])}: appears twice")
            self._row_ids.add(record["row_id"])
            result.row_digests.append(record_digest(record))
            result.rows += 1
            if side in verifiers:
                absent[side].skip(verifiers[side], record["start_chunk"])
                verifiers[side].add(record)
                tested.setdefault(side, row)
        for side, verifier in verifiers.items():
            absent[side].skip(verifier)
            verifier.finish()
            for problem in verifier.problems:
                self._problems.add("rows", problem)
            result.counters.add(verifier.counters)
            if side in tested:
                self._check_causality(tested[side], _heard_tracks(side, by_speaker))

    def _count_text_rate(
        self,
        rows: Sequence[StoredRow],
        sides: Sequence[Side],
        by_speaker: Mapping[str, StoredTrack],
        result: SessionResult,
    ) -> None:
        """Count the tokens of each speaker once, whatever the number of listeners."""
        first_sides = {speaker: (listener, speaker) for listener, speaker in reversed(sides)}
        layout, tokenizer = layout_of(self._settings, self._context.tokenizer), self._context.tokenizer
        for speaker, side in first_sides.items():
            own = [row.record for row in rows if _side(row.record) == side]
            words = by_speaker[speaker].record["words"]
            result.text_rate.add(text_rate_of(words, own, layout, tokenizer))

    def _check_sides(self, found: Sequence[Side], expected: list[Side], session_id: str) -> None:
        """Verify that the rows of each side are together, and the sides in order."""
        unique = list(dict.fromkeys(found))
        if unique != expected:
            self._problems.add(
                "rows",
                f"{session_id}: has rows of the sides (listener, speaker) {unique}, "
                f"should have {expected} in this order",
            )
        before = None
        complete: set[Side] = set()
        for side in found:
            if side != before and before is not None:
                complete.add(before)
            if side in complete:
                self._problems.add("rows", f"{session_id}: the rows of {side[0]}..{side[1]} are out of order")
            before = side

    def _row_verifier(self, side: Side, tracks: dict[str, StoredTrack], result: SessionResult) -> RowVerifier:
        listener, speaker = side
        return RowVerifier(
            f"{result.session_id}:{listener}>{speaker}",
            tracks[speaker].record["words"],
            joint_speech([speech_of(track.record) for track in _heard_tracks(side, tracks)]),
            [(span.start, span.end) for span in unlabelled_of(tracks[speaker].record)],
            self._settings.grid.chunks(result.samples),
            self._context,
        )

    def _check_causality(self, row: StoredRow, listeners: Sequence[StoredTrack]) -> None:
        import pyarrow as pa

        if row.heard is not None:
            problems = self._causality.problems(row.record, [pa.py_buffer(row.heard)], row.record["start_chunk"])
        elif all(track.heard.size for track in listeners):
            problems = self._causality.problems(row.record, [track.heard for track in listeners], 0)
        else:
            return
        try:
            for problem in problems:
                self._problems.add("causality", problem)
        except InputError as error:
            self._problems.add("audio", f"{typed_row_id(row.record['row_id'])}: {error.message}")


def _side(row: RowRecord) -> Side:
    return row["listener"], row["speaker"]


def _heard_tracks(side: Side, tracks: Mapping[str, StoredTrack]) -> list[StoredTrack]:
    return [tracks[name] for name in heard_speakers(*side, list(tracks))]
