"""One session from corpus files to finished parts: audio, words, rows and what was counted. The unit of work and of resuming.

Runs the same in this process or in a worker; it touches only its own session's files.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sca.config import Settings
from sca.data.corpora.base import Track, Utterance
from sca.data.corpora.session_source import SessionSource
from sca.data.datasets.arrow import audio_cells
from sca.data.duplex.align.match import GivenWords, interpolate
from sca.data.duplex.align.track import TrackAligner, word_finder
from sca.data.duplex.audio.codec_targets import codes_column, load_codec
from sca.data.duplex.audio.encode_tracks import EncodedTrack, encode_tracks
from sca.data.duplex.audio.speaker_embedding import embed_speaker
from sca.data.duplex.audio.vad_spans import spoken_spans
from sca.data.duplex.augment.retime import offset_pool
from sca.data.duplex.build.crosstalk import overhear, worst_bleed
from sca.data.duplex.model.records import TrackRecord
from sca.data.duplex.model.rows import Row
from sca.data.duplex.model.session import SessionPaths, SessionResult
from sca.data.duplex.model.spans import Span
from sca.data.duplex.model.units import Unit, UnitWord
from sca.data.duplex.rows.assemble import TokenizedUnit, make_row, tokenize_units
from sca.data.duplex.rows.params import layout_of, window_plan
from sca.data.duplex.rows.text import clean, make_units
from sca.data.duplex.rows.turn_labels import label
from sca.data.duplex.rows.windows import plan_windows
from sca.data.duplex.storage.digests import record_digest
from sca.data.duplex.storage.records import row_record, track_record, word_records
from sca.data.duplex.storage.writer import write_table
from sca.data.duplex.verify.context import proof_context
from sca.data.duplex.verify.rows import RowVerifier
from sca.data.duplex.verify.track_counts import SILENT_PEAK, count_track
from sca.data.runs.files import write_json
from sca.textutil import counted
from sca.tokenizer.base import TextTokenizer
from sca.units import HEARD_HZ, seconds_to_samples

__all__ = [
    "SessionJob",
    "build_session",
    "time_track",
    "write_rows",
    "write_storage",
]

_PAST_END = HEARD_HZ // 2


class _DropError(Exception):
    """The session is not fit for training; the message says why."""


@dataclass(frozen=True, slots=True)
class SessionJob:
    """A session to build: its source, the key of its content and the settings, the files' stat and SHA-256."""

    source: SessionSource
    key: str
    stat: list[list[str | int]]
    sha256: Mapping[Path, str]


def build_session(job: SessionJob, root: Path, settings: Settings, tokenizer: TextTokenizer) -> SessionResult:
    """Build one session's parts under `root` and its record, which is written last and makes the session count as done.

    Raises `InputError` for audio or text that cannot be read and `OutputError` where it cannot write.
    """
    session_id = job.source.session_id
    paths = SessionPaths(root, session_id)
    result = SessionResult(session_id, job.key, "kept", stat=job.stat)
    conversation = job.source.read()
    for issue in conversation.issues:
        (result.notices if issue.level == "note" else result.skipped).append(str(issue))
    shutil.rmtree(paths.scratch, ignore_errors=True)
    paths.scratch.mkdir(parents=True)
    try:
        encoded = encode_tracks(
            [t.audio for t in conversation.tracks],
            paths.scratch,
            settings.duplex.audio_format,
            [t.part for t in conversation.tracks],
        )
        samples = encoded[0].samples
        units = [
            _units(track, audio, settings, result) for track, audio in zip(conversation.tracks, encoded, strict=True)
        ]
        _check_audible(conversation.tracks, encoded, units)
        result.samples, result.tracks = samples, len(encoded)
        result.speakers = [track.speaker_id for track in conversation.tracks]
        talk = [
            spoken_spans(audio.heard) if track.transcript is None else [(unit.start, unit.end) for unit in side]
            for track, audio, side in zip(conversation.tracks, encoded, units, strict=True)
        ]
        heard = overhear(result.speakers, encoded, talk, settings.duplex.on_bleed)
        if settings.duplex.on_bleed == "drop" and (
            why := worst_bleed(result.speakers, heard, settings.duplex.max_bleed)
        ):
            raise _DropError(why)
        records = []
        for track, audio, spoken, spans, over in zip(conversation.tracks, encoded, units, talk, heard, strict=True):
            voice = embed_speaker(settings, audio.heard, spans)
            sha256 = job.sha256[track.audio]
            records.append(track_record(paths.session_id, track, audio, sha256, spoken, spans, over, voice))
        result.transfers = offset_pool(units) if len(units) == 2 else []
        write_storage(paths, records, [(audio.heard, audio.spoken) for audio in encoded], settings, result)
        spoken_by = [units[n] if track.transcript else None for n, track in enumerate(conversation.tracks)]
        write_rows(paths, result.speakers, spoken_by, talk, samples, settings, tokenizer, result)
    except _DropError as drop:
        result.status, result.reason = "dropped", str(drop)
        for part in (paths.storage, paths.rows):
            part.unlink(missing_ok=True)
    finally:
        shutil.rmtree(paths.scratch, ignore_errors=True)
    write_json(paths.record, result.to_json())
    return result


def time_track(
    track: Track,
    samples: int,
    skipped: list[str],
    notices: list[str],
    find: Callable[[str, int, int], tuple[UnitWord, ...]] = interpolate,
) -> list[tuple[str, tuple[UnitWord, ...]]]:
    """The cleaned text of every utterance inside the recording, with its words' times; `skipped` gets what is left out.

    find: gives the words of an utterance `[start, end)` whose times are not given.
    """
    given = GivenWords(track.words) if track.words is not None else None
    timed: list[tuple[str, tuple[UnitWord, ...]]] = []
    if track.transcript is None:
        return timed
    earliest = 0
    mismatched: list[Utterance] = []
    for utterance in track.utterances:
        text = clean(utterance.text).text
        if not text:
            continue
        if utterance.start >= samples or utterance.end > samples + _PAST_END:
            reason = f"ends at {utterance.end / HEARD_HZ:.3f} s, the recording at {samples / HEARD_HZ:.3f} s"
            skipped.append(str(utterance.issue("skipped", track.transcript, reason)))
            continue
        end = min(utterance.end, samples)
        words = given.take(text, utterance.start, utterance.end) if given is not None else None
        if words is None:
            if given is not None:
                mismatched.append(utterance)
            words = find(text, utterance.start, end)
        words = _in_order(words, earliest, samples)
        earliest = words[-1].start
        timed.append((text, words))
    how = "interpolated" if find is interpolate else "aligned"
    reason = f"the given word times do not match this utterance, so its words are {how}"
    notices.extend(str(utterance.issue("note", track.transcript, reason)) for utterance in mismatched)
    return timed


def _in_order(words: Sequence[UnitWord], earliest: int, samples: int) -> tuple[UnitWord, ...]:
    """Words whose onsets do not run back and that end within the recording."""
    ordered: list[UnitWord] = []
    for word in words:
        start = min(max(word.start, earliest), samples)
        ordered.append(replace(word, start=start, end=min(max(word.end, start), samples)))
        earliest = start
    return tuple(ordered)


def _units(track: Track, audio: EncodedTrack, settings: Settings, result: SessionResult) -> list[Unit]:
    gap = seconds_to_samples(settings.duplex.unit_gap_s, HEARD_HZ)
    finder = word_finder(settings)
    if finder is None:
        return make_units(time_track(track, audio.samples, result.skipped, result.notices), gap)
    aligner = TrackAligner(finder, audio.heard, settings.duplex.align)
    timed = time_track(track, audio.samples, result.skipped, result.notices, aligner)
    result.counters.alignment.add(aligner.counts)
    return make_units(timed, gap)


def _check_audible(tracks: Sequence[Track], encoded: Sequence[EncodedTrack], units: Sequence[list[Unit]]) -> None:
    """A recording without sound whose transcript has words would teach a model to speak over nothing."""
    for track, audio, spoken in zip(tracks, encoded, units, strict=True):
        if spoken and track.transcript is not None and audio.peak < SILENT_PEAK:
            words = sum(len(unit.words) for unit in spoken)
            raise _DropError(
                f"{track.audio} is silent (peak {audio.peak:.1e}) but {track.transcript.name} has {counted(words, 'word')}"
            )
    if not any(units):
        raise _DropError("no track has any words")


def write_storage(
    paths: SessionPaths,
    records: Sequence[TrackRecord],
    files: Sequence[tuple[Path, Path]],
    settings: Settings,
    result: SessionResult,
) -> None:
    """Write a session's table of tracks and count them.   files: the audio of each at 16 and 24 kHz; they are taken away."""
    coder, n_chunks = load_codec(settings), settings.grid.chunks(result.samples)

    def batches() -> Any:
        for record, audio in zip(records, files, strict=True):
            count_track(record, result.counters)
            learned = record["provenance"]["transcript"] is not None
            codes = coder.encode(audio[1], n_chunks) if coder is not None and learned else None
            digested = [*map(_blocks, audio), *([] if codes is None else [[codes.tobytes()]])]
            result.storage_digests.append(record_digest(record, *digested))
            cells = [*audio_cells(audio), codes_column(codes)]
            yield {name: [value] for name, value in record.items()} | dict(
                zip(("audio_16k", "audio_24k", "codes"), cells, strict=True)
            )
            del cells
            # Each track's files are dropped from the disk as soon as they are in the table.
            for file in audio:
                file.unlink()

    write_table(paths.storage, "storage", batches())


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            yield block


def write_rows(
    paths: SessionPaths,
    speakers: Sequence[str],
    units: Sequence[Sequence[Unit] | None],
    spans: Sequence[Sequence[Span]],
    samples: int,
    settings: Settings,
    tokenizer: TextTokenizer,
    result: SessionResult,
    flags: Callable[[Row], list[str]] = lambda row: [],
) -> None:
    """Rows of every ordered pair of speakers, proven as they are written.

    units: what each says; None where nobody knows, then he only listens.   spans: where each speaks.   flags: more flags of a row.
    """
    session_id = paths.session_id
    layout, plan, context = (
        layout_of(settings, tokenizer),
        window_plan(settings, tokenizer),
        proof_context(settings, tokenizer),
    )
    n_chunks = settings.grid.chunks(samples)
    stored = [word_records(side or ()) for side in units]

    def batches() -> Any:
        for spoken_by, speaker in enumerate(speakers):
            side = units[spoken_by]
            if side is None:
                continue
            words: list[Span] = [(w.start, w.end) for unit in side for w in unit.words]
            tokenized: list[TokenizedUnit] | None = None
            for heard_by, listener in enumerate(speakers):
                if heard_by == spoken_by:
                    continue
                labels = [
                    label(span, len(unit.words), spans[heard_by])
                    for span, unit in zip(spans[spoken_by], side, strict=True)
                ]
                if tokenized is None:
                    tokenized = tokenize_units(side, labels, tokenizer)
                labelled = [replace(unit, label=found) for unit, found in zip(tokenized, labels, strict=True)]
                windows = plan_windows(n_chunks, words, spans[spoken_by], spans[heard_by], plan)
                name = f"{session_id}:{listener}>{speaker}"
                view = RowVerifier(name, stored[spoken_by], spans[heard_by], n_chunks, context)
                for window in windows:
                    row = make_row(window, window is windows[-1], labelled, layout)
                    record = row_record(session_id, listener, speaker, row, layout, flags(row))
                    view.add(record)
                    result.row_digests.append(record_digest(record))
                    result.rows += 1
                    yield {name: [value] for name, value in record.items()}
                view.finish()
                if view.problems:
                    raise AssertionError(f"a row that was just made does not prove: {view.problems[0]}")
                result.counters.add(view.counters)

    write_table(paths.rows, "rows", batches())
