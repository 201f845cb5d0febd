"""Measure tracks: the errors of word times, words that were lost or invented, and the correction that fits."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from sca.calibrate.tracks import HeardTrack, TrueWord
from sca.data.transcription.hallucinations import RecognizedWord, Speech, guard_words
from sca.data.transcription.speech import padded
from sca.synth.score import paired, plain
from sca.units import HEARD_HZ, seconds_to_samples
from sca.word_times.correction import Correction, corrected, lengths
from sca.word_times.profile import MAX_LETTER_S, MAX_SHIFT_S, Measured

__all__ = ["fit", "measure", "measure_by_noise"]

ALL = "all"
_PAUSE_S = 0.16
"""The shortest silence that splits the speech that the VAD finds."""
_FAR_S = 0.5
"""A word farther than this from all true words is invented."""
_EARLY_WEIGHT, _LATE_WEIGHT = 0.3, 1.0
"""`Correction.early_weight` of models whose words are too early, and of the others. Measured, see docs/LOG.md."""
_NONE = Correction(at_onsets=False)
_FEWEST_WORDS = 100
"""With fewer words, their lengths are not corrected."""
_SAME_S = 1e-6
_ROUNDS, _NEAR_S = 50, 0.01
"""Of the regression: rounds, and the error below which all words have the same weight."""


@dataclass(slots=True)
class _Errors:
    """Sums over tracks; times are found minus true, in seconds."""

    starts: list[float] = field(default_factory=list)
    within: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    onsets: list[float] = field(default_factory=list)
    by_length: list[tuple[float, ...]] = field(default_factory=list)
    audio_s: float = 0.0
    words: int = 0
    wrong: int = 0
    lost: int = 0
    unsure: int = 0
    invented: int = 0
    invented_sure: int = 0


def fit(tracks: Sequence[HeardTrack]) -> Correction:
    """Return the correction with the smallest errors: medians, because single words are at wrong places.

    Errors of more than a second are not corrected: the model does not find words at all.
    """
    raw = _errors((track, _NONE) for track in tracks)
    if not raw.starts:
        return _NONE
    shifted = Correction(-_median(raw.within or raw.starts), -_median(raw.ends), at_onsets=False)
    if max(abs(shifted.start_s), abs(shifted.end_s)) > MAX_SHIFT_S:
        return _NONE
    weight = _EARLY_WEIGHT if shifted.start_s > 0 else _LATE_WEIGHT
    snapped = replace(shifted, onset_s=-_median(raw.onsets), at_onsets=True, early_weight=weight)
    candidates = (shifted, snapped, _with_lengths(shifted, tracks), _with_lengths(snapped, tracks))
    smallest = min(candidates, key=lambda one: _mean_abs(tracks, one))
    numbers = {name: round(value, 3) for name, value in asdict(smallest).items() if not isinstance(value, bool)}
    return replace(smallest, **numbers)


def _with_lengths(correction: Correction, tracks: Sequence[HeardTrack]) -> Correction:
    """Return a correction that also depends on the lengths of words: a regression with the smallest absolute errors."""
    errors = _errors((track, correction) for track in tracks)
    if len(errors.by_length) < _FEWEST_WORDS:
        return correction
    table = np.asarray(errors.by_length)
    weights = _least_absolute(np.column_stack([np.ones(len(table)), table[:, 1:]]), table[:, 0])
    start_s, before_letter_s, letter_s, length_share = (-float(weight) for weight in weights)
    return replace(
        correction,
        start_s=correction.start_s + start_s,
        before_letter_s=_within(before_letter_s, MAX_LETTER_S),
        letter_s=_within(letter_s, MAX_LETTER_S),
        length_share=_within(length_share, 1.0),
    )


def _within(value: float, most: float) -> float:
    return min(max(value, -most), most)


def _least_absolute(values: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights with the smallest sum of absolute errors, by least squares that are weighted again and again."""
    weights = np.linalg.lstsq(values, wanted, rcond=None)[0]
    for _ in range(_ROUNDS):
        scale = 1 / np.sqrt(np.maximum(np.abs(wanted - values @ weights), _NEAR_S))
        weights = np.linalg.lstsq(values * scale[:, None], wanted * scale, rcond=None)[0]
    return np.asarray(weights, np.float64)


def _mean_abs(tracks: Sequence[HeardTrack], correction: Correction) -> float:
    return float(np.abs(_errors((track, correction) for track in tracks).starts).mean())


def measure_by_noise(tracks: Sequence[tuple[HeardTrack, Correction | None]]) -> tuple[Measured, ...]:
    """Measure all tracks, and those of each noise. See `measure`."""
    noises = dict.fromkeys(track.noise for track, _ in tracks)
    return (measure(tracks, ALL), *(measure([one for one in tracks if one[0].noise == n], n) for n in noises))


def measure(tracks: Iterable[tuple[HeardTrack, Correction | None]], noise: str) -> Measured:
    """Measure tracks.

    Args:
        tracks: The tracks, each with what is added to the times that were found; None for nothing.
        noise: The name of the result.
    """
    found = _errors((track, correction or _NONE) for track, correction in tracks)
    starts, ends = np.asarray(found.starts), np.asarray(found.ends)
    has = bool(len(starts))
    return Measured(
        noise=noise,
        audio_s=round(found.audio_s, 1),
        words=found.words,
        matched=len(starts),
        start_bias_s=_rounded(starts.mean()) if has else None,
        start_mean_abs_s=_rounded(np.abs(starts).mean()) if has else None,
        start_p95_s=_rounded(np.quantile(np.abs(starts), 0.95)) if has else None,
        end_bias_s=_rounded(ends.mean()) if has else None,
        end_mean_abs_s=_rounded(np.abs(ends).mean()) if has else None,
        lost=found.lost,
        unsure=found.unsure,
        invented=found.invented,
        invented_sure=found.invented_sure,
        wer=_rounded(found.wrong / found.words) if found.words else None,
    )


def _rounded(value: float) -> float:
    return round(float(value), 4)


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else 0.0


def _errors(tracks: Iterable[tuple[HeardTrack, Correction]]) -> _Errors:
    errors = _Errors()
    for track, correction in tracks:
        _add(errors, track, correction)
    return errors


def _add(errors: _Errors, track: HeardTrack, correction: Correction) -> None:
    raw = list(track.words())
    spans, texts = [(word.start, word.end) for word in raw], [word.text for word in raw]
    times = corrected(spans, track.voiced, correction, texts)
    by_length = lengths(spans, texts)
    words = [replace(word, start=start, end=end) for word, (start, end) in zip(raw, times, strict=True)]
    errors.audio_s += track.audio_s
    errors.words += len(track.truth)
    onsets = np.asarray([start for start, _ in track.voiced])
    for true, found in paired([word[0] for word in track.truth], [word.text for word in words]):
        if true is None or found is None or plain(track.truth[true][0]) != plain(words[found].text):
            continue
        _, start, end = track.truth[true]
        error = words[found].start - start
        errors.starts.append(error)
        errors.ends.append(words[found].end - end)
        is_shifted = abs(words[found].start - raw[found].start - correction.start_s) < _SAME_S
        if is_shifted and (length := by_length[found]) is not None:
            errors.by_length.append((error, *length))
        if true and start - track.truth[true - 1][2] < _PAUSE_S:
            errors.within.append(error)
        elif len(onsets) and abs(near := float(onsets[np.abs(onsets - start).argmin()] - start)) < _PAUSE_S:
            errors.onsets.append(near)
    _add_words(errors, track.truth, _guarded(words, track))


def _guarded(words: Sequence[RecognizedWord], track: HeardTrack) -> list[RecognizedWord]:
    """Return the words as `sca transcribe` writes them. Words without evidence are those of an aligner, and stay."""
    if all(segment.evidence is None for segment in track.found):
        return list(words)
    spans = [(seconds_to_samples(start, HEARD_HZ), seconds_to_samples(end, HEARD_HZ)) for start, end in track.voiced]
    margins = padded(spans, seconds_to_samples(track.audio_s, HEARD_HZ))
    speech = Speech([(start / HEARD_HZ, end / HEARD_HZ) for start, end in margins], track.voiced)
    return guard_words(words, speech, Counter())


def _add_words(errors: _Errors, truth: Sequence[TrueWord], words: Sequence[RecognizedWord]) -> None:
    for true, found in paired([word[0] for word in truth], [word.text for word in words]):
        errors.lost += found is None
        errors.unsure += true is not None and found is not None and words[found].doubt is not None
        errors.wrong += true is None or found is None or plain(truth[true][0]) != plain(words[found].text)
    starts, ends = (np.asarray([word[at] for word in truth]) for at in (1, 2))
    for word in words:
        if not np.any((starts - _FAR_S < word.end) & (ends + _FAR_S > word.start)):
            errors.invented += 1
            errors.invented_sure += word.doubt is None
