"""The proof of a whole data set, recomputed from its files: every row, every track, every digest, the report.

Goes session by session, so memory does not grow with the data set. Trusts nothing but the settings beside the data, and checks
that those belong to the tokenizer that is loaded.
"""

import json
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from pydantic import ValidationError

from sca.audio.mel import MEL_BINS, log_mel
from sca.config import PathsConfig, Settings
from sca.data.duplex.audio.codec_targets import CODEBOOKS, broken_codes, frames_of
from sca.data.duplex.audio.stored_samples import chunked
from sca.data.duplex.model.report import Report
from sca.data.duplex.model.session import SessionResult
from sca.data.duplex.report.summary import make_report
from sca.data.duplex.storage.build_settings import differences, made_with, read_settings, settings_of, tokenizer_of
from sca.data.duplex.storage.detect import (
    CARRIED,
    StoredSession,
    broken_files,
    export_of,
    grid_export_of,
    splits_of,
    stored_rows,
    stored_sessions,
)
from sca.data.duplex.storage.digests import digest_of
from sca.data.duplex.storage.records import speech_of
from sca.data.duplex.storage.tracks import StoredTrack, has_transcript
from sca.data.duplex.storage.writer import features
from sca.data.duplex.verify.check_table import Check, Verification, checks_of
from sca.data.duplex.verify.context import ProofContext, proof_context
from sca.data.duplex.verify.crosstalk import bleed_problems
from sca.data.duplex.verify.retiming import retimed_problems
from sca.data.duplex.verify.rows import RowVerifier
from sca.data.duplex.verify.track_counts import SILENT_PEAK, count_audio
from sca.errors import InputError
from sca.textutil import counted, first_line
from sca.tokenizer import TextTokenizer
from sca.units import HEARD_HZ, SPOKEN_HZ, half_up
from sca.version import __version__

__all__ = ["leaked_chunks", "verify"]

# Not in both: who made it, what never got in, what a model made of the audio, and the leak, which only the verifier measures.
_NOT_RECOMPUTED = (
    *("sca_version", "leak.structural_s", "skipped", "notices", "sessions.dropped", "sessions.failed"),
    *("alignment.utterances", "alignment.aligned", "alignment.fallbacks"),
)
_DECODE_BLOCK = 1 << 18
_CAUSAL_CHUNKS = 64
_UNIT_LENGTH = 1e-3


def verify(
    root: Path,
    *,
    cache_dir: Path | None = None,
    on_start: Callable[[int, int], None] | None = None,
    on_session: Callable[[str, float], None] | None = None,
) -> Verification:
    """Recompute the proof of the data set at `root`.

    on_start: called with the number of sessions, twice.   on_session: called with a session's id and seconds.
    Raises `InputError` when `root` is not a data set at all, `UpstreamError` when its tokenizer cannot be loaded; everything else
    that is wrong is a problem in the result.
    """
    export = grid_export_of(root)
    made = read_settings(root)
    settings = settings_of(made)
    if cache_dir is not None:
        settings = settings.model_copy(update={"paths": PathsConfig(cache_dir=cache_dir)})
    tokenizer = tokenizer_of(settings)
    outcome = Verification(root, None)
    outcome.problems += [f"settings.json: {line}" for line in differences(made, made_with(settings, tokenizer))]
    outcome.problems += broken_files(root, export)
    work = _Verifier(root, settings, tokenizer, outcome.problems)
    results = work.run(on_start, on_session)
    outcome.report = make_report(settings, made, __version__, results, [], work.leak_s)
    found = len(outcome.problems)
    stored = _stored_report(root, outcome.problems)
    if stored is not None:
        outcome.problems += _compare(stored, outcome.report, () if work.tracks_whole else ("storage_digest",))
    work.by_kind["report"] = len(outcome.problems) - found
    outcome.checks = checks_of(outcome.report, work.by_kind, settings.grid, work.causal_rows)
    if settings.duplex.codes != "none" and work.tracks_whole:
        found_codes = f"{work.codec_frames} frames × {CODEBOOKS} codebooks"
        outcome.checks.insert(1, Check("codec targets", found_codes, not work.by_kind["codes"]))
    return outcome


class _Verifier:
    def __init__(self, root: Path, settings: Settings, tokenizer: TextTokenizer, problems: list[str]) -> None:
        self.root = root
        self.settings = settings
        self.problems = problems
        self.context: ProofContext = proof_context(settings, tokenizer)
        self.by_kind: dict[str, int] = {"audio": 0, "rows": 0, "causal": 0, "codes": 0}
        self.causal_rows = 0
        self.leak_s = 0.0
        self.tracks_whole = True
        self._decodes = True
        self.codec_frames = 0
        self._export = export_of(root)
        self._seen: set[str] = set()

    def run(
        self, on_start: Callable[[int, int], None] | None, on_session: Callable[[str, float], None] | None
    ) -> list[SessionResult]:
        sessions = stored_sessions(self.root, self._export)
        if on_start is not None:
            on_start(len(sessions), len(sessions))
        rows = {split: _Rows(self._rows(split)) for split in splits_of(self.root, self._export)}
        results: list[SessionResult] = []
        before = ""
        for session in sessions:
            try:
                result = self._session(session, rows)
            except InputError as error:
                self._problem("audio", error.message)
                continue
            if result.session_id <= before:
                self._problem("audio", f"storage: session {result.session_id} is out of order, after {before}")
            before = result.session_id
            results.append(result)
            if on_session is not None:
                on_session(result.session_id, result.samples / HEARD_HZ)
        left = [row_id for part in rows.values() for row_id in part.rest()]
        if left:
            self._problem(
                "rows", f"{counted(len(left), 'row')} of no session in storage, or out of order; the first is {left[0]}"
            )
        heard_in: dict[str, str] = {}
        for result in results:
            for speaker in result.speakers:
                if heard_in.setdefault(speaker, result.split) != result.split:
                    self._problem(
                        "rows",
                        f"{result.session_id}: speaker {speaker} is in {heard_in[speaker]} and in {result.split}",
                    )
        return results

    def _rows(self, split: str) -> Iterator[dict[str, Any]]:
        columns = list(features("rows"))
        for row in stored_rows(
            self.root, self._export, split, self.settings.grid, lambda text: self._problem("audio", text)
        ):
            if [name for name in row if name != CARRIED] != columns:
                raise InputError(
                    f"{self.root}: {split} has other columns than a duplex data set", hint="build it again"
                )
            yield row

    def _session(self, session: StoredSession, rows: dict[str, "_Rows"]) -> SessionResult:
        tracks = session.read()
        if not tracks:
            raise InputError(f"{session.where} holds no track")
        session_id = tracks[0].record["session_id"]
        result = SessionResult(session_id, "", "kept", samples=tracks[0].record["duration_samples"], tracks=len(tracks))
        self.tracks_whole &= session.audio
        self._decodes = True
        if session.name != session_id:
            self._problem("audio", f"{session.where} holds session {session_id}")
        speakers = [track.record["speaker_id"] for track in tracks]
        if sorted(set(speakers)) != speakers:
            self._problem("audio", f"{session_id}: speakers {speakers} are not in order, or one is there twice")
        result.speakers = speakers
        for track in tracks:
            self._track(session_id, track, result)
        for problem in bleed_problems(tracks) if self.tracks_whole and self._decodes else ():
            self._problem("audio", f"{session_id}: {problem}")
        found = {split: here for split, part in rows.items() if (here := part.of(session_id))}
        if len(found) > 1:
            self._problem("rows", f"{session_id}: has rows in {' and in '.join(found)}")
        result.split = next(iter(found), "train")
        retimed = tracks[0].record["augmented"]
        result.augmented_from = retimed["from"] if retimed else None
        for problem in retimed_problems(tracks, result.split):
            self._problem("rows", f"{session_id}: {problem}")
        self._views(session_id, tracks, [row for here in found.values() for row in here], result)
        return result

    def _track(self, session_id: str, track: StoredTrack, result: SessionResult) -> None:
        record, name = track.record, f"{session_id} {track.record['speaker_id']}"
        samples = record["duration_samples"]
        if record["session_id"] != session_id or samples != result.samples:
            self._problem(
                "audio",
                f"{name}: a track of {record['session_id']} with {counted(samples, 'sample')} among those of {result.samples}",
            )
        wanted = (
            (track.heard, HEARD_HZ, samples),
            (track.spoken, SPOKEN_HZ, half_up(Fraction(samples * SPOKEN_HZ, HEARD_HZ))),
        )
        for audio, rate_hz, length in wanted if self.tracks_whole else ():
            for problem in _decode(audio, rate_hz, length):
                self._decodes = False
                self._problem("audio", f"{name}: the {rate_hz // 1000} kHz track {problem}")
        provenance = record["provenance"]
        if record["words"] and provenance["peak"] < SILENT_PEAK:
            self._problem("audio", f"{name}: silent, but has {counted(len(record['words']), 'word')}")
        if self.tracks_whole:
            result.storage_digests.append(digest_of(record, *track.cells))
            self._codes(name, track)
        embedding = record["speaker_embedding"]
        if embedding is not None and not abs(float(np.linalg.norm(embedding)) - 1) < _UNIT_LENGTH:
            self._problem("audio", f"{name}: its speaker embedding is no direction of length 1")
        count_audio(record, result.tally)

    def _codes(self, name: str, track: StoredTrack) -> None:
        wanted = self.settings.duplex.codes != "none" and has_transcript(track)
        frames = frames_of(self.settings.grid) if wanted else 0
        n_chunks = self.settings.grid.chunks(track.record["duration_samples"])
        problem = broken_codes(track.codes, wanted, n_chunks, frames)
        if problem is not None:
            self._problem("codes", f"{name}: {problem}")
        elif wanted:
            self.codec_frames += n_chunks * frames

    def _views(
        self, session_id: str, tracks: list[StoredTrack], rows: list[dict[str, Any]], result: SessionResult
    ) -> None:
        import pyarrow as pa

        by_speaker = {track.record["speaker_id"]: track for track in tracks}
        n_chunks = self.settings.grid.chunks(result.samples)
        wanted = [(b, a) for a in by_speaker for b in by_speaker if a != b and has_transcript(by_speaker[a])]
        found = list(dict.fromkeys((row["listener"], row["speaker"]) for row in rows))
        if found != wanted:
            self._problem(
                "rows", f"{session_id}: has the sides (listener, speaker) {found}, should have {wanted} in this order"
            )
        views = {
            side: RowVerifier(
                f"{session_id}:{side[0]}>{side[1]}",
                by_speaker[side[1]].record["words"],
                speech_of(by_speaker[side[0]].record),
                n_chunks,
                self.context,
            )
            for side in wanted
        }
        before = None
        closed: set[tuple[str, str]] = set()
        carried = {row["row_id"]: row.pop(CARRIED) for row in rows if CARRIED in row}
        for row in rows:
            side = (row["listener"], row["speaker"])
            if side != before and before is not None:
                closed.add(before)
            if side in closed:
                self._problem("rows", f"{row['row_id']}: out of order, the rows of this side had ended")
            before = side
            if row["row_id"] in self._seen:
                self._problem("rows", f"{row['row_id']}: is there twice")
            self._seen.add(row["row_id"])
            result.row_digests.append(digest_of(row))
            result.rows += 1
            if side in views:
                views[side].add(row)
        for side, view in views.items():
            view.finish()
            for problem in view.problems:
                self._problem("rows", problem)
            result.tally.add(view.tally)
            tried = next((row for row in rows if (row["listener"], row["speaker"]) == side), None)
            if tried is not None and carried:
                audio = carried[tried["row_id"]]  # begins where the row does
                if audio is not None:
                    self._causal(tried, pa.py_buffer(audio), tried["start_chunk"])
            elif tried is not None:
                self._causal(tried, by_speaker[side[0]].heard, 0)

    def _causal(self, row: dict[str, Any], audio: Any, origin: int) -> None:
        """Change the audio after a chunk in the middle of a row: the features up to it must not change by a bit.

        audio: what is heard, stored, beginning at chunk `origin`.
        """
        grid = self.settings.grid
        first = row["start_chunk"] + max(0, row["n_chunks"] - _CAUSAL_CHUNKS) // 2
        count = min(row["n_chunks"], _CAUSAL_CHUNKS)
        heard = chunked(audio, first - origin, count, grid.heard_samples, HEARD_HZ)
        middle = len(heard) // 2
        self.causal_rows += 1
        if (shape := log_mel(heard[:1]).shape) != (1, MEL_BINS, grid.mel_frames):
            self._problem("causal", f"{row['row_id']}: a chunk of it makes features {shape}")
        leaked = leaked_chunks(log_mel, heard, middle)
        if leaked:
            self.leak_s = max(self.leak_s, leaked * float(grid.chunk_s))
            self._problem(
                "causal",
                f"{row['row_id']}: audio after chunk {first + middle} of the session changes features "
                f"{counted(leaked, 'chunk')} back",
            )

    def _problem(self, kind: str, text: str) -> None:
        self.by_kind[kind] += 1
        self.problems.append(text)


def leaked_chunks(
    features_of: Callable[[NDArray[np.float32]], NDArray[np.float32]], heard: NDArray[np.float32], middle: int
) -> int:
    """How many chunks, from `middle` back, have other features when all audio after `middle` is another.

    features_of: makes features `(n, …)` of chunks `(n, samples)`.   heard: float32 `(n, samples)`.
    """
    changed = heard.copy()
    changed[middle + 1 :] = np.float32(0.5) - changed[middle + 1 :]
    before, after = features_of(heard)[: middle + 1], features_of(changed)[: middle + 1]
    differ = np.flatnonzero((before != after).reshape(middle + 1, -1).any(axis=1))
    return middle + 1 - int(differ[0]) if len(differ) else 0


class _Rows:
    """The rows of the file in order, given out session by session."""

    def __init__(self, rows: Iterator[dict[str, Any]]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def of(self, session_id: str) -> list[dict[str, Any]]:
        found = []
        while self._next is not None and self._next["session_id"] == session_id:
            found.append(self._next)
            self._next = next(self._rows, None)
        return found

    def rest(self) -> list[str]:
        left = [] if self._next is None else [self._next["row_id"]]
        return left + [row["row_id"] for row in self._rows]


def _decode(audio: Any, rate_hz: int, length: int) -> Iterator[str]:
    """Decode a stored track to its end and say what is wrong with it."""
    import pyarrow as pa

    try:
        with soundfile.SoundFile(pa.BufferReader(audio)) as file:
            if (file.samplerate, file.channels, file.subtype) != (rate_hz, 1, "PCM_16"):
                yield (
                    f"is {file.samplerate} Hz, {counted(file.channels, 'channel')}, {file.subtype}; it should "
                    f"be {rate_hz} Hz mono PCM_16"
                )
            frames = sum(map(len, iter(partial(file.read, _DECODE_BLOCK, dtype="int16"), _EMPTY)))
    except (soundfile.LibsndfileError, RuntimeError) as error:
        yield f"cannot be decoded ({error})"
        return
    if frames != length:
        yield f"has {counted(frames, 'sample')}, the session's length asks for {length}"


class _Empty:
    """Equal to an empty array: the sentinel that ends reading."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, np.ndarray) and len(other) == 0

    __hash__ = None  # type: ignore[assignment]  # an array cannot be hashed either


_EMPTY = _Empty()


def _stored_report(root: Path, problems: list[str]) -> Report | None:
    path = root / "report.json"
    try:
        return Report.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        problems.append("report.json is missing")
    except (OSError, ValueError, ValidationError) as error:
        problems.append(f"report.json cannot be read: {first_line(error)}")
    return None


def _compare(stored: Report, found: Report, passed_over: tuple[str, ...]) -> list[str]:
    old, new = stored.model_dump(mode="json"), found.model_dump(mode="json")
    for name in _NOT_RECOMPUTED + passed_over:
        *parents, leaf = name.split(".")
        for document in (old, new):
            part = document
            for parent in parents:
                part = part[parent]
            part.pop(leaf)
    return [f"report.json: {line}" for line in differences(old, new)]
