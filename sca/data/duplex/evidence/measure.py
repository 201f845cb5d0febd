"""Measure the tracks of a session: where their words are, and where their sound has speech."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from sca.data.duplex.audio.stored_samples import samples_digest
from sca.data.duplex.audio.vad_spans import Listened, fingerprint_of, listen
from sca.data.duplex.evidence.copies import encode_voice
from sca.data.duplex.evidence.explain import explain
from sca.data.duplex.evidence.overlap import intersect, length_of, longest, subtract
from sca.data.duplex.evidence.timing import find_timing
from sca.data.duplex.evidence.unlabelled import outside
from sca.data.duplex.model.evidence import TrackEvidence
from sca.data.duplex.model.records import TrackRecord
from sca.data.duplex.model.spans import Span
from sca.data.duplex.storage.records import span_of, units_of
from sca.spans import merge_spans
from sca.units import HEARD_HZ

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["add_fingerprints", "listen_to_tracks", "measure_session"]

# Fewer words are equal in many conversations.
_LEAST_WORDS = 10


def listen_to_tracks(audio: "Sequence[Path | pa.Buffer]") -> list[Listened]:
    """Find the speech of several tracks. `audio` is the 16 kHz audio of each, as a file or as the content of one."""
    # Decoding and the model release the interpreter lock, so the next track runs on a second core.
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(listen, audio))


def measure_session(
    records: Sequence[TrackRecord], audio: "Sequence[Path | pa.Buffer]", heard: Sequence[Listened] | None = None
) -> list[TrackEvidence]:
    """Measure every track of a session.

    Args:
        records: The tracks.
        audio: The 16 kHz audio of each, as a file or as the content of one.
        heard: What was found in each, if that is known. By default the audio is decoded.
    """
    if heard is None:
        heard = listen_to_tracks(audio)
    digests = [samples_digest(content) for content in audio]
    speech = [merge_spans(found.speech) for found in heard]
    utterances = [merge_spans(unit.span for unit in units_of(record["words"])) for record in records]
    anyone = [span for own in utterances for span in own]
    found = []
    for number, record in enumerate(records):
        others = merge_spans(span for other, spans in enumerate(speech) if other != number for span in spans)
        found.append(
            _measure(record, heard[number], digests[number], speech[number], others, utterances[number], anyone)
        )
    return explain(found, records, speech)


def add_fingerprints(
    measured: Sequence[TrackEvidence], records: Sequence[TrackRecord], audio: "Sequence[Path | pa.Buffer]"
) -> list[TrackEvidence]:
    """Add what measurements of earlier versions do not have, without finding the speech again.

    Args:
        measured: The measurements.
        records: The tracks, in the same order.
        audio: The 16 kHz audio of each, as a file or as the content of one.
    """
    return [
        track.model_copy(
            update={
                "audio": samples_digest(heard),  # reports without fingerprints have another digest of it
                "sound": fingerprint_of(heard),
                "text": _text_digest(record),
                "voice": encode_voice(record["speaker_embedding"]),
            }
        )
        for track, record, heard in zip(measured, records, audio, strict=True)
    ]


def _measure(
    record: TrackRecord,
    heard: Listened,
    digest: str,
    own: Sequence[Span],
    others: Sequence[Span],
    utterances: Sequence[Span],
    anyone: Sequence[Span],
) -> TrackEvidence:
    words = merge_spans(span_of(word) for word in record["words"])
    samples = record["duration_samples"]
    recorded = samples - record["provenance"]["padded_samples"]
    timing = find_timing(words, own, samples)
    transcribed = record["provenance"]["transcript"] is not None
    unlabelled = outside(own, anyone) if transcribed else []
    either = length_of(merge_spans([*own, *others]))
    return TrackEvidence(
        session=record["session_id"],
        speaker=record["speaker_id"],
        words_s=_seconds(length_of(words)),
        words_in_own=_share(length_of(intersect(words, own)), length_of(words)),
        words_in_other=_share(length_of(intersect(words, others)), length_of(words)),
        words_gap_at_s=_seconds(longest(subtract(words, own))[0]),
        past_end_s=_seconds(length_of(intersect(words, [(recorded, samples)])) if recorded < samples else 0),
        speech_s=_seconds(length_of(own)),
        speech_without_words=_share(length_of(outside(own, utterances)), length_of(own)) if transcribed else None,
        unlabelled_s=_seconds(length_of(unlabelled)),
        unlabelled_at_s=_seconds(longest(unlabelled)[0]),
        same_speech=_share(length_of(intersect(own, others)), either) or 0.0,
        peak=round(heard.peak, 4),
        fit=round(timing.fit, 4),
        best_fit=round(timing.best_fit, 4),
        offset_s=round(timing.offset_s, 3),
        drift=round(timing.drift, 5),
        audio=digest,
        words=_words_digest(record),
        sound=heard.fingerprint,
        text=_text_digest(record),
        voice=encode_voice(record["speaker_embedding"]),
    )


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _seconds(samples: int) -> float:
    return round(samples / HEARD_HZ, 3)


def _words_digest(record: TrackRecord) -> str:
    if not record["words"]:
        return ""
    content = [[word["word"], word["start"], word["end"]] for word in record["words"]]
    return blake2b(json.dumps(content, ensure_ascii=False).encode(), digest_size=16).hexdigest()


def _text_digest(record: TrackRecord) -> str:
    """Return the digest of the words without times, case and punctuation; empty for fewer than 10 words."""
    words = ["".join(filter(str.isalnum, word["word"].casefold())) for word in record["words"]]
    words = [word for word in words if word]
    return blake2b(" ".join(words).encode(), digest_size=16).hexdigest() if len(words) >= _LEAST_WORDS else ""
