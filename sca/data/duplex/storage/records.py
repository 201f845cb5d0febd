"""Rows and tracks as the records that are stored: seconds instead of samples, plain types, the names of the columns."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sca.data.corpora.base import Track
from sca.data.duplex.audio.encode_tracks import EncodedTrack
from sca.data.duplex.model.crosstalk import Bleed, CrosstalkResult
from sca.data.duplex.model.rows import Dropped, Row, Segment
from sca.data.duplex.model.spans import Span
from sca.data.duplex.model.units import Unit, UnitWord
from sca.data.duplex.rows.assemble import Layout
from sca.units import HEARD_HZ

__all__ = ["bleed_record", "row_record", "speech_of", "storage_record", "units_of", "word_records"]


def word_records(units: Sequence[Unit]) -> list[dict[str, Any]]:
    """The words of one speaker for `storage`; they hold all of the units, which `units_of` gives back.

    start, end: seconds from the session's start.   unit: its number.   space: whether one stands before the word.
    """
    records = []
    for number, unit in enumerate(units):
        until = 0
        for word in unit.words:
            times = {"start": word.start / HEARD_HZ, "end": word.end / HEARD_HZ}
            records.append(
                {"word": word.text, **times, "source": word.source, "unit": number, "space": word.at > until}
            )
            until = word.at + len(word.text)
    return records


def bleed_record(bleed: Bleed) -> dict[str, Any]:
    """What of a speaker is in another's track: how long he speaks alone, how long of that he is heard there, how loud and late."""
    return {
        "of": bleed.of,
        "tried_s": bleed.tried / HEARD_HZ,
        "bleed_s": bleed.samples / HEARD_HZ,
        "level_db": bleed.level_db,
        "delay_ms": bleed.delay_ms,
    }


def _span_records(spans: Iterable[Span]) -> list[dict[str, float]]:
    return [{"start": start / HEARD_HZ, "end": end / HEARD_HZ} for start, end in spans]


def speech_of(record: Mapping[str, Any]) -> list[Span]:
    """Where the speaker of a row of `storage` speaks: his units, or what the VAD found where nobody wrote down what he says."""
    found = [(round(span["start"] * HEARD_HZ), round(span["end"] * HEARD_HZ)) for span in record["speech"]]
    return found or [(unit.start, unit.end) for unit in units_of(record["words"])]


def units_of(words: Iterable[Mapping[str, Any]]) -> list[Unit]:
    """The units of stored words."""
    units: list[Unit] = []
    for _, members in groupby(words, key=lambda record: record["unit"]):
        text, found = "", []
        for record in members:
            text += " " if record["space"] else ""
            start, end = round(record["start"] * HEARD_HZ), round(record["end"] * HEARD_HZ)
            word = record["word"]
            found.append(UnitWord(word, len(text), len(text) + len(word), start, end, record["source"]))
            text += word
        units.append(Unit(text, tuple(found)))
    return units


def storage_record(
    session_id: str,
    track: Track,
    audio: EncodedTrack,
    sha256: str,
    units: Sequence[Unit],
    speech: Sequence[Span],
    heard: CrosstalkResult,
    embedding: NDArray[np.float32] | None,
) -> dict[str, Any]:
    """A row of `storage` without its two audio cells.   sha256: of the recording's file.   embedding: of the voice, `(192,)`.

    speech: where he speaks; kept where no words say it.   heard: what of the others is in his track.
    """
    return {
        "session_id": session_id,
        "speaker_id": track.speaker_id,
        "duration_samples": audio.samples,
        "words": word_records(units),
        "speech": _span_records(() if track.transcript else speech),
        "bleed": [bleed_record(bleed) for bleed in heard.bleed],
        "gated": _span_records(heard.gated),
        "augmented": None,
        "speaker_embedding": None if embedding is None else embedding.tolist(),
        "provenance": {
            # Names, not paths: a data set should not tell where on whose machine it was made.
            "audio": track.audio.name,
            # Null: nobody wrote down what is said here, so the track is heard and never learned from.
            "transcript": None if track.transcript is None else (track.origin or track.transcript).name,
            "sha256": sha256,
            "rate_hz": audio.rate_hz,
            "channels": audio.channels,
            "padded_samples": audio.padded,
            "peak": _float32(audio.peak),
            "clipped_samples": audio.clipped,
            "non_finite_samples": audio.non_finite,
        },
    }


def row_record(session_id: str, listener: str, speaker: str, row: Row, layout: Layout) -> dict[str, Any]:
    """A row of `train`: times in seconds, chunks and places counted from the row's start."""
    origin = row.first * layout.chunk_samples
    sources = {word.word.source for segment in row.segments for word in segment.words}
    return {
        "row_id": f"{session_id}:{listener}>{speaker}:{row.first:06d}",
        "session_id": session_id,
        "listener": listener,
        "speaker": speaker,
        "start_chunk": row.first,
        "n_chunks": row.n_chunks,
        "extended_chunks": row.extended,
        "prompt_tokens": len(layout.prompt_ids),
        "input_ids": row.input_ids.tolist(),
        "segments": [_segment_record(segment, origin) for segment in row.segments],
        "dropped": [_dropped_record(part, origin) for part in row.dropped],
        "flags": list(row.flags),
        "align_source": "none" if not sources else sources.pop() if len(sources) == 1 else "mixed",
    }


def _float32(value: float) -> float:
    """The value a float32 column gives back, so that a record read equals the record written."""
    return float(np.float32(value))


def _segment_record(segment: Segment, origin: int) -> dict[str, Any]:
    words: list[dict[str, Any]] = [
        {
            "word": word.word.text,
            "start_s": (word.word.start - origin) / HEARD_HZ,
            "end_s": (word.word.end - origin) / HEARD_HZ,
            "chunk": word.chunk,
            "k": word.k,
            "n_tokens": word.tokens,
        }
        for word in segment.words
    ]
    offset = segment.label.offset
    return {
        "text": segment.text,
        "leading_space": segment.leading_space,
        "start_s": words[0]["start_s"],
        "end_s": max(word["end_s"] for word in words),
        "kind": segment.label.kind,
        "overlap": _float32(segment.label.overlap),
        "floor_offset_s": None if offset is None else offset / HEARD_HZ,
        "lag_chunks": segment.lag,
        "first_chunk": segment.slots[0],
        "first_k": segment.ks[0],
        "last_chunk": segment.slots[-1],
        "last_k": segment.ks[-1],
        "n_tokens": len(segment.ids),
        "first_word": segment.first_word,
        "n_words": len(words),
        "words": words,
    }


def _dropped_record(part: Dropped, origin: int) -> dict[str, Any]:
    return {
        "text": part.text,
        "start_s": (part.start - origin) / HEARD_HZ,
        "end_s": (part.end - origin) / HEARD_HZ,
        "n_tokens": part.tokens,
        "first_word": part.first_word,
        "n_words": part.words,
    }
