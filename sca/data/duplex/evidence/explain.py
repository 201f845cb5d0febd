"""Find what would bring the words of a session back to their speech: an exchange of recordings, an offset, a drift.

It is tried on the spans of words and speech, and kept only if it explains what good data has, so that nothing remains
for the user to decide.
"""

from collections.abc import Iterator, Sequence

from sca.data.duplex.evidence.overlap import intersect, length_of
from sca.data.duplex.evidence.refine import TimeMap, refine
from sca.data.duplex.evidence.timing import Timing, correlation, find_timing
from sca.data.duplex.model.evidence import Explanation, TrackEvidence
from sca.data.duplex.model.records import TrackRecord
from sca.data.duplex.model.spans import Span
from sca.data.duplex.storage.records import span_of
from sca.spans import merge_spans
from sca.units import HEARD_HZ

__all__ = ["explain", "is_better"]

_SPEAKERS = 2
# In shorter talk, an offset can fit by chance.
_LEAST_WORDS_S = 5.0
# Good data has at least this share of its words in speech, with interpolated times too; see docs/duplex.md.
_GOOD_SHARE = 0.77
# Good data correlates by 0.83 and more, other transcripts by at most 0.33, with the best of all offsets and drifts.
_GOOD_FIT = 0.7
# A time map has to be clearly better than none.
_GAIN = 0.1
# An exchange has to be clearly better than the best that the own recordings give.
_GAIN_OF_EXCHANGE = 0.2
# Words may end this much after the recording, or begin this much before it.
_PAST_EDGE = HEARD_HZ // 2


def explain(
    tracks: Sequence[TrackEvidence], records: Sequence[TrackRecord], speech: Sequence[Sequence[Span]]
) -> list[TrackEvidence]:
    """Return the tracks of a session with what explains the places of their words, where that is beyond doubt.

    Args:
        tracks: The measurements.
        records: The tracks.
        speech: The speech of each track, disjoint.
    """
    if len(tracks) != _SPEAKERS or tracks[0].audio == tracks[1].audio or not any(map(_is_off, tracks)):
        return list(tracks)
    words = [merge_spans(span_of(word) for word in record["words"]) for record in records]
    recorded = [record["duration_samples"] - record["provenance"]["padded_samples"] for record in records]
    samples = records[0]["duration_samples"]
    found: list[Explanation | None] = []
    if all(_fits_nowhere(track) for track in tracks):
        crossed = [
            _explained(track, words[n], speech[1 - n], samples, recorded[1 - n], exchanged=True)
            for n, track in enumerate(tracks)
        ]
        found = crossed if all(crossed) else [None] * len(tracks)
    else:
        found = [
            _explained(track, words[n], speech[n], samples, recorded[n], exchanged=False) if _is_off(track) else None
            for n, track in enumerate(tracks)
        ]
    return [
        track.model_copy(update={"explained": one}) if one is not None else track
        for track, one in zip(tracks, found, strict=True)
    ]


def is_better(before: TrackEvidence, after: TrackEvidence) -> bool:
    """Whether the words of a repaired track follow its speech as in good data, and clearly better than before."""
    least_fit = max(_GOOD_FIT, before.fit + _GAIN)
    return (after.words_in_own or 0.0) >= _GOOD_SHARE and after.fit >= least_fit


def _is_off(track: TrackEvidence) -> bool:
    """Whether the words of a track are in other places than its speech, according to its measurements."""
    return track.words_s >= _LEAST_WORDS_S and (track.best_fit - track.fit >= _GAIN or _fits_nowhere(track))


def _fits_nowhere(track: TrackEvidence) -> bool:
    return track.words_s >= _LEAST_WORDS_S and track.best_fit < _GOOD_FIT and (track.words_in_own or 0.0) < _GOOD_SHARE


def _explained(
    track: TrackEvidence, words: Sequence[Span], speech: Sequence[Span], samples: int, recorded: int, *, exchanged: bool
) -> Explanation | None:
    """Return what explains the words by this speech, or None."""
    least_fit = track.best_fit + _GAIN_OF_EXCHANGE if exchanged else track.fit + _GAIN
    timing = (
        find_timing(words, speech, samples)
        if exchanged
        else Timing(track.fit, track.best_fit, track.offset_s, track.drift)
    )
    for time_map in _maps(words, speech, timing):
        moved = merge_spans(map(time_map.span, words))
        if moved[0][0] < -_PAST_EDGE or moved[-1][1] > recorded + _PAST_EDGE:
            continue
        share = length_of(intersect(moved, speech)) / length_of(moved)
        fit = correlation(moved, speech, samples)
        if share >= _GOOD_SHARE and fit >= max(_GOOD_FIT, least_fit):
            return Explanation(
                exchanged=exchanged,
                offset_s=time_map.offset_s,
                drift=time_map.drift,
                words_in_own=round(share, 4),
                fit=round(fit, 4),
            )
    return None


def _maps(words: Sequence[Span], speech: Sequence[Span], timing: Timing) -> Iterator[TimeMap]:
    """Yield the time maps to try: none if the words fit as they are, otherwise the refined timing."""
    if timing.best_fit - timing.fit < _GAIN:
        yield TimeMap()
    elif refined := refine(words, speech, TimeMap(timing.offset_s, timing.drift)):
        yield refined
