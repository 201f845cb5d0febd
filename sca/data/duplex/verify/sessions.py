"""Verify one session: its tracks, and the rows of every pair of speakers."""

from collections.abc import Callable, Sequence
from fractions import Fraction

from sca.config import Settings
from sca.data.duplex.audio.codec_targets import broken_codes, frames_of
from sca.data.duplex.evidence.measure import measure_session
from sca.data.duplex.model.records import RowRecord
from sca.data.duplex.model.session import SessionResult
from sca.data.duplex.storage.detect import StoredRow, StoredSession
from sca.data.duplex.storage.digests import record_digest
from sca.data.duplex.storage.records import speech_of
from sca.data.duplex.storage.tracks import StoredTrack
from sca.data.duplex.verify.audio.embedding import EmbeddingCheck
from sca.data.duplex.verify.audio.provenance import provenance_problems
from sca.data.duplex.verify.audio.stored_audio import decode_track
from sca.data.duplex.verify.audio.two_rates import rates_problem
from sca.data.duplex.verify.causality import CausalityCheck
from sca.data.duplex.verify.check_table import Problems
from sca.data.duplex.verify.context import proof_context
from sca.data.duplex.verify.crosstalk import bleed_problems
from sca.data.duplex.verify.retiming import retimed_flag_problems, retimed_problems
from sca.data.duplex.verify.rows import RowVerifier
from sca.data.duplex.verify.track_counts import SILENT_PEAK, count_track
from sca.errors import InputError
from sca.textutil import counted
from sca.tokenizer import TextTokenizer
from sca.units import HEARD_HZ, SPOKEN_HZ, half_up

__all__ = ["SessionVerifier"]

Side = tuple[str, str]
"""Listener and speaker of a row."""


class SessionVerifier:
    """Verifies the sessions of a data set, one after the other.

    Attributes:
        causality: The test of rows for causality.
        codec_frames: Codec frames verified.
    """

    def __init__(self, settings: Settings, tokenizer: TextTokenizer, problems: Problems) -> None:
        self.causality = CausalityCheck(settings.grid)
        self.codec_frames = 0
        self._settings = settings
        self._context = proof_context(settings, tokenizer)
        self._problems = problems
        self._row_ids: set[str] = set()
        self._embeddings = EmbeddingCheck(settings.duplex.speaker_model)

    def verify(self, session: StoredSession, take_rows: Callable[[str], dict[str, list[StoredRow]]]) -> SessionResult:
        """Verify a session.

        Args:
            session: The session.
            take_rows: Returns the rows of a session id by split, without splits that have none.

        Returns:
            The counts and digests of the session.

        Raises:
            InputError: The session cannot be read.
        """
        tracks = session.read()
        if not tracks:
            raise InputError(f"{session.location} contains no track")
        first = tracks[0].record
        session_id = first["session_id"]
        result = SessionResult(session_id, "", "kept", samples=first["duration_samples"], tracks=len(tracks))
        if session.name != session_id:
            self._problems.add("audio", f"{session.location} contains session {session_id}")
        measurable = self._check_tracks(tracks, result, has_audio=session.has_audio)
        rows = take_rows(session_id)
        result.split = next(iter(rows), "train")
        if len(rows) > 1:
            self._problems.add("rows", f"{session_id}: has rows in {' and in '.join(rows)}")
        if measurable and not first["augmented"]:
            result.evidence = measure_session([track.record for track in tracks], [track.heard for track in tracks])
        result.augmented_from = first["augmented"]["from"] if first["augmented"] else None
        for problem in retimed_problems(tracks, result.split):
            self._problems.add("rows", f"{session_id}: {problem}")
        in_order = [row for part in rows.values() for row in part]
        records = [row.record for row in in_order]
        for problem in retimed_flag_problems(records, tracks, self._settings.grid.heard_samples):
            self._problems.add("rows", problem)
        self._check_rows(tracks, in_order, result)
        return result

    def _check_tracks(self, tracks: Sequence[StoredTrack], result: SessionResult, *, has_audio: bool) -> bool:
        """Verify the tracks. Returns whether there is audio and all of it is correct."""
        result.speakers = [track.record["speaker_id"] for track in tracks]
        if sorted(set(result.speakers)) != result.speakers:
            self._problems.add(
                "audio", f"{result.session_id}: speakers {result.speakers} are not in order, or one appears twice"
            )
        decodable = has_audio
        for track in tracks:
            self._check_track(track, result)
            if has_audio:
                decodable &= self._check_audio(track, result)
        for problem in bleed_problems(tracks) if decodable else ():
            self._problems.add("audio", f"{result.session_id}: {problem}")
        return decodable

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
        if problem := self._embeddings.problem(record["speaker_id"], record["speaker_embedding"]):
            self._problems.add("audio", f"{name}: {problem}")
        count_track(record, result.counters)

    def _check_audio(self, track: StoredTrack, result: SessionResult) -> bool:
        """Verify the audio and codec codes of a track. Returns whether the audio is correct."""
        name = f"{result.session_id} {track.record['speaker_id']}"
        samples = track.record["duration_samples"]
        heard, spoken = (
            decode_track(audio, rate_hz, half_up(Fraction(samples * rate_hz, HEARD_HZ)))
            for audio, rate_hz in ((track.heard, HEARD_HZ), (track.spoken, SPOKEN_HZ))
        )
        found = [f"the {HEARD_HZ // 1000} kHz track {problem}" for problem in heard.problems]
        found += [f"the {SPOKEN_HZ // 1000} kHz track {problem}" for problem in spoken.problems]
        correct = not found
        if correct:
            difference = rates_problem(heard.means, spoken.means)
            found += [difference] if difference else []
            found += provenance_problems(track.record, heard, spoken)
        for problem in found:
            self._problems.add("audio", f"{name}: {problem}")
        result.storage_digests.append(record_digest(track.record, *track.cells))
        wanted = self._settings.duplex.codes != "none" and track.has_transcript
        frames = frames_of(self._settings.grid) if wanted else 0
        n_chunks = self._settings.grid.chunks(samples)
        broken = broken_codes(track.codes, wanted, n_chunks, frames)
        if broken is not None:
            self._problems.add("codes", f"{name}: {broken}")
        elif wanted:
            self.codec_frames += n_chunks * frames
        return correct

    def _check_rows(self, tracks: Sequence[StoredTrack], rows: Sequence[StoredRow], result: SessionResult) -> None:
        by_speaker = {track.record["speaker_id"]: track for track in tracks}
        sides = [
            (listener, speaker)
            for speaker, track in by_speaker.items()
            for listener in by_speaker
            if listener != speaker and track.has_transcript
        ]
        self._check_sides([_side(row.record) for row in rows], sides, result.session_id)
        verifiers = {side: self._row_verifier(side, by_speaker, result) for side in sides}
        tested: dict[Side, StoredRow] = {}
        for row in rows:
            record, side = row.record, _side(row.record)
            if record["row_id"] in self._row_ids:
                self._problems.add("rows", f"{record['row_id']}: appears twice")
            self._row_ids.add(record["row_id"])
            result.row_digests.append(record_digest(record))
            result.rows += 1
            if side in verifiers:
                verifiers[side].add(record)
                tested.setdefault(side, row)
        for side, verifier in verifiers.items():
            verifier.finish()
            for problem in verifier.problems:
                self._problems.add("rows", problem)
            result.counters.add(verifier.counters)
            if side in tested:
                self._check_causality(tested[side], by_speaker[side[0]])

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
                self._problems.add("rows", f"{session_id}: the rows of {side[0]}>{side[1]} are out of order")
            before = side

    def _row_verifier(self, side: Side, tracks: dict[str, StoredTrack], result: SessionResult) -> RowVerifier:
        listener, speaker = side
        return RowVerifier(
            f"{result.session_id}:{listener}>{speaker}",
            tracks[speaker].record["words"],
            speech_of(tracks[listener].record),
            self._settings.grid.chunks(result.samples),
            self._context,
        )

    def _check_causality(self, row: StoredRow, listener: StoredTrack) -> None:
        import pyarrow as pa

        if row.heard is not None:
            problems = self.causality.problems(row.record, pa.py_buffer(row.heard), row.record["start_chunk"])
        elif listener.heard.size:
            problems = self.causality.problems(row.record, listener.heard, 0)
        else:
            return
        for problem in problems:
            self._problems.add("causality", problem)


def _side(row: RowRecord) -> Side:
    return row["listener"], row["speaker"]
