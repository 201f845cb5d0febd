"""Convert units, tracks and rows to stored records and back: seconds instead of samples, plain values."""

from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from sca.data.corpora.base import Track
from sca.data.duplex.audio.encode_tracks import EncodedTrack
from sca.data.duplex.model.crosstalk import Bleed, CrosstalkResult
from sca.data.duplex.model.records import (
    BleedRecord,
    DroppedRecord,
    ProvenanceRecord,
    RepairRecord,
    RowRecord,
    RowWordRecord,
    SegmentRecord,
    SpanRecord,
    TrackRecord,
    UnlabelledRecord,
    WordRecord,
)
from sca.data.duplex.model.row_names import row_id_of
from sca.data.duplex.model.rows import DroppedSegment, Row, Segment
from sca.data.duplex.model.spans import Span
from sca.data.duplex.model.units import Unit, UnitWord
from sca.data.duplex.model.unlabelled import UnlabelledSpan
from sca.data.duplex.rows.assemble import Layout
from sca.units import HEARD_HZ, samples_to_seconds, seconds_to_samples

__all__ = [
    "bleed_record",
    "row_record",
    "span_of",
    "speech_of",
    "track_record",
    "units_of",
    "unlabelled_of",
    "unlabelled_records",
    "word_records",
]


def word_records(units: Sequence[Unit]) -> list[WordRecord]:
    """Convert the units of one speaker. The records contain everything about them; `units_of` converts back."""
    records = []
    for number, unit in enumerate(units):
        char_end = 0
        for word in unit.words:
            records.append(
                WordRecord(
                    word=word.text,
                    start=_seconds(word.start),
                    end=_seconds(word.end),
                    source=word.source,
                    unit=number,
                    space=word.char_start > char_end,
                )
            )
            char_end = word.char_start + len(word.text)
    return records


def units_of(words: Iterable[WordRecord]) -> list[Unit]:
    """Return the units that stored words belong to."""
    units: list[Unit] = []
    for _, members in groupby(words, key=lambda record: record["unit"]):
        text = ""
        unit_words = []
        for record in members:
            text += " " if record["space"] else ""
            word, (start, end) = record["word"], span_of(record)
            unit_words.append(UnitWord(word, len(text), len(text) + len(word), start, end, record["source"]))
            text += word
        units.append(Unit(text, tuple(unit_words)))
    return units


def span_of(record: WordRecord | SpanRecord | UnlabelledRecord) -> Span:
    """Return the samples at 16 kHz of a stored word or span."""
    return seconds_to_samples(record["start"], HEARD_HZ), seconds_to_samples(record["end"], HEARD_HZ)


def speech_of(record: TrackRecord) -> list[Span]:
    """Return where the speaker of a track speaks: the units, or the speech found by the VAD without a transcript."""
    return [span_of(span) for span in record["speech"]] or [unit.span for unit in units_of(record["words"])]


def unlabelled_records(spans: Iterable[UnlabelledSpan]) -> list[UnlabelledRecord]:
    """Convert speech without words, in time order; `unlabelled_of` converts back."""
    return [{"start": _seconds(span.start), "end": _seconds(span.end), "reason": span.reason} for span in sorted(spans)]


def unlabelled_of(record: TrackRecord) -> list[UnlabelledSpan]:
    """Return the speech without words of a track."""
    return [UnlabelledSpan(*span_of(one), one["reason"]) for one in record["unlabelled"]]


def bleed_record(bleed: Bleed) -> BleedRecord:
    """Convert a cross-talk measurement."""
    return {
        "of": bleed.of,
        "tried_s": _seconds(bleed.tried),
        "bleed_s": _seconds(bleed.samples),
        "level_db": bleed.level_db,
        "delay_ms": bleed.delay_ms,
    }


def track_record(
    session_id: str,
    track: Track,
    audio: EncodedTrack,
    sha256: str,
    units: Sequence[Unit],
    speech: Sequence[Span],
    crosstalk: CrosstalkResult,
    embedding: NDArray[np.float32] | None,
    repair: RepairRecord | None = None,
) -> TrackRecord:
    """Return the record of a track.

    Args:
        session_id: Id of the session.
        track: The track in its corpus.
        audio: Its encoded audio.
        sha256: SHA-256 of its recording's file.
        units: Units of the speaker.
        speech: Where the speaker speaks. Stored for tracks without transcript only.
        crosstalk: Cross-talk in the track.
        embedding: Speaker embedding `(192,)`.
        repair: How the track was repaired.
    """
    return {
        "session_id": session_id,
        "speaker_id": track.speaker_id,
        "duration_samples": audio.samples,
        "words": word_records(units),
        "speech": _span_records(() if track.transcript else speech),
        "bleed": [bleed_record(bleed) for bleed in crosstalk.bleed],
        "gated": _span_records(crosstalk.gated),
        "augmented": None,
        "speaker_embedding": None if embedding is None else embedding.tolist(),
        "provenance": _provenance(track, audio, sha256, repair),
        "unlabelled": [],
    }


def _provenance(track: Track, audio: EncodedTrack, sha256: str, repair: RepairRecord | None) -> ProvenanceRecord:
    transcript = None if track.transcript is None else (track.origin or track.transcript).name
    return {
        # File names without folders: a data set does not reveal the paths of the machine that built it.
        "audio": track.audio.name,
        "transcript": transcript,
        "sha256": sha256,
        "rate_hz": audio.rate_hz,
        "channels": audio.channels,
        "padded_samples": audio.padded,
        "peak": _float32(audio.peak),
        "clipped_samples": audio.clipped,
        "non_finite_samples": audio.non_finite,
        "repair": repair,
    }


def row_record(
    session_id: str, listener: str, speaker: str, row: Row, layout: Layout, flags: Sequence[str] = ()
) -> RowRecord:
    """Return the record of a row.

    Args:
        session_id: Id of the session.
        listener: Who is heard, a speaker or several joined by `+`.
        speaker: Speaker that the row teaches to speak.
        row: The row.
        layout: How the row was built.
        flags: Flags in addition to those of the row.
    """
    origin = row.first * layout.chunk_samples
    sources = {word.word.source for segment in row.segments for word in segment.words}
    return {
        "row_id": row_id_of(session_id, listener, speaker, row.first),
        "session_id": session_id,
        "listener": listener,
        "speaker": speaker,
        "start_chunk": row.first,
        "n_chunks": row.n_chunks,
        "extended_chunks": row.extended,
        "prompt_tokens": len(layout.prompt_ids),
        "input_ids": row.input_ids.tolist(),
        "segments": [_segment_record(segment, origin) for segment in row.segments],
        "dropped": [_dropped_record(segment, origin) for segment in row.dropped],
        "flags": [*row.flags, *flags],
        "align_source": "none" if not sources else sources.pop() if len(sources) == 1 else "mixed",
        "unlabelled": [{"first": first, "end": end} for first, end in row.unlabelled],
    }


def _segment_record(segment: Segment, origin: int) -> SegmentRecord:
    words: list[RowWordRecord] = [
        {
            "word": word.word.text,
            "start_s": _seconds(word.word.start - origin),
            "end_s": _seconds(word.word.end - origin),
            "chunk": word.chunk,
            "k": word.k,
            "n_tokens": word.n_tokens,
        }
        for word in segment.words
    ]
    first, last, offset = segment.tokens[0], segment.tokens[-1], segment.label.offset
    return {
        "text": segment.text,
        "leading_space": segment.leading_space,
        "start_s": words[0]["start_s"],
        "end_s": max(word["end_s"] for word in words),
        "kind": segment.label.kind,
        "overlap": _float32(segment.label.overlap),
        "floor_offset_s": None if offset is None else _seconds(offset),
        "lag_chunks": segment.lag,
        "first_chunk": first.chunk,
        "first_k": first.k,
        "last_chunk": last.chunk,
        "last_k": last.k,
        "n_tokens": len(segment.tokens),
        "first_word": segment.first_word,
        "n_words": len(words),
        "words": words,
    }


def _dropped_record(segment: DroppedSegment, origin: int) -> DroppedRecord:
    return {
        "text": segment.text,
        "start_s": _seconds(segment.start - origin),
        "end_s": _seconds(segment.end - origin),
        "n_tokens": segment.n_tokens,
        "first_word": segment.first_word,
        "n_words": segment.n_words,
    }


def _span_records(spans: Iterable[Span]) -> list[SpanRecord]:
    return [{"start": _seconds(start), "end": _seconds(end)} for start, end in spans]


def _seconds(samples: int) -> float:
    return samples_to_seconds(samples, HEARD_HZ)


def _float32(value: float) -> float:
    """Return the value that a float32 column stores, so that a record read equals the record written."""
    return float(np.float32(value))
