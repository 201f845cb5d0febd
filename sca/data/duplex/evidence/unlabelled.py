"""Speech without words, by voice activity detection: what the rows must not teach as silence.

Speech in a speaker's own track is without words where it is outside of the speaker's utterances. Another speaker who is
audible in the track (cross-talk) explains speech during the utterances of that speaker; one who is not does not.
"""

from collections.abc import Iterable, Iterator, Sequence

from sca.data.duplex.evidence.overlap import length_of, subtract, widen
from sca.data.duplex.model.records import TrackRecord
from sca.data.duplex.model.spans import Span
from sca.data.duplex.model.unlabelled import UnlabelledSpan
from sca.data.duplex.storage.records import speech_of, unlabelled_of, unlabelled_records
from sca.spans import merge_spans
from sca.units import HEARD_HZ, samples_to_seconds, seconds_to_samples

__all__ = ["outside", "set_unlabelled", "unlabelled_problems", "within_session"]

# An utterance's first and last sounds are often a little outside of its times.
_EDGE = seconds_to_samples(0.25, HEARD_HZ)
# Shorter sounds outside the utterances are breaths, laughter and remains of cross-talk.
_SHORTEST = seconds_to_samples(0.3, HEARD_HZ)
# Processors can differ in the last bits of a speech probability. That moves the edge of a span by a few frames of the
# VAD (32 ms), and in rare cases adds or removes a faint span.
_EDGE_TOLERANCE = seconds_to_samples(0.1, HEARD_HZ)
_TOLERANCE = seconds_to_samples(0.6, HEARD_HZ)
_TOLERANCE_SHARE = 0.02


def outside(speech: Sequence[Span], utterances: Iterable[Span]) -> list[Span]:
    """Return the parts of speech outside of utterances that are long enough to be speech.

    Args:
        speech: The speech, in any order.
        utterances: The utterances, in any order.
    """
    return [
        span
        for span in subtract(merge_spans(speech), widen(merge_spans(utterances), _EDGE))
        if span[1] - span[0] >= _SHORTEST
    ]


def within_session(spans: Iterable[UnlabelledSpan], samples: int) -> Iterator[UnlabelledSpan]:
    """Yield the parts of spans that lie in a session.

    If the transcript continues after the end of the recording, the speaker's part of the session is unknown from there
    to the end: there are no words with sound, and silence was not recorded either.

    Args:
        spans: Speech without words.
        samples: Length of the session.
    """
    for span in spans:
        end = samples if span.reason == "past_end" else min(span.end, samples)
        if span.start < end:
            yield span._replace(end=end)


def set_unlabelled(records: Sequence[TrackRecord], speech: Sequence[Sequence[Span]], max_bleed: float) -> None:
    """Add the speech that the VAD finds without words to the records of the tracks of a session.

    Args:
        records: The tracks. Their `unlabelled` holds the spans of the transcript.
        speech: Speech in each track.
        max_bleed: Largest share of cross-talk that counts as none.
    """
    for record, own in zip(records, speech, strict=True):
        heard = [UnlabelledSpan(*span, "speech") for span in _without_words(record, records, own, max_bleed)]
        record["unlabelled"] = unlabelled_records([*unlabelled_of(record), *heard])


def unlabelled_problems(
    record: TrackRecord, records: Sequence[TrackRecord], own: Sequence[Span], max_bleed: float
) -> list[str]:
    """Compare the speech without words of a stored track with what the VAD finds in its audio.

    Args:
        record: The track.
        records: All tracks of the session.
        own: Speech in the track.
        max_bleed: Largest share of cross-talk that counts as none.
    """
    stored = unlabelled_of(record)
    covered = merge_spans((span.start, span.end) for span in stored)
    heard = merge_spans((span.start, span.end) for span in stored if span.reason == "speech")
    own = merge_spans(own)
    narrow = [(start + _EDGE_TOLERANCE, end - _EDGE_TOLERANCE) for start, end in own]
    certain = _without_words(record, records, narrow, max_bleed)
    possible = _without_words(record, records, widen(own, _EDGE_TOLERANCE), max_bleed)
    tolerated = max(_TOLERANCE, round(_TOLERANCE_SHARE * length_of(own)))
    problems = []
    if (missing := length_of(subtract(certain, covered))) > tolerated:
        seconds = samples_to_seconds(missing, HEARD_HZ)
        problems.append(f"{seconds:.2f} s of speech without words are not in unlabelled, and taught as silence")
    if (added := length_of(subtract(heard, possible))) > tolerated:
        seconds = samples_to_seconds(added, HEARD_HZ)
        problems.append(f"{seconds:.2f} s of unlabelled are not speech without words")
    return problems


def _without_words(
    record: TrackRecord, records: Sequence[TrackRecord], own: Sequence[Span], max_bleed: float
) -> list[Span]:
    if record["provenance"]["transcript"] is None:
        return []
    utterances = [span for other in records if _explains(other, record, max_bleed) for span in speech_of(other)]
    return outside(own, utterances)


def _explains(other: TrackRecord, record: TrackRecord, max_bleed: float) -> bool:
    """Return whether the speech of `other` can be in the track of `record`. It can if that could not be measured."""
    if other is record:
        return True
    measured = next((bleed for bleed in record["bleed"] if bleed["of"] == other["speaker_id"]), None)
    return measured is None or not measured["tried_s"] or measured["bleed_s"] > max_bleed * measured["tried_s"]
