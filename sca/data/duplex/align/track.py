"""Alignment of a track: every utterance with its own audio, accepted only if the word times are plausible."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from sca.audio.vad import speech_segments
from sca.data.corpora.base import TimedWord, WordSource
from sca.data.duplex.align.base import WordAligner
from sca.data.duplex.align.match import fill_in, interpolate
from sca.data.duplex.align.plausibility import implausibility
from sca.data.duplex.audio.vad_spans import shared_vad
from sca.data.duplex.model.counters import AlignmentCounters
from sca.data.duplex.model.spans import Span
from sca.units import HEARD_HZ, seconds_to_samples
from sca.word_times.correction import Correction, corrected

__all__ = ["TrackAligner", "corrected_spans"]

_MAX_SAMPLES = 120 * HEARD_HZ
_MIN_SAMPLES = HEARD_HZ // 20  # shorter audio makes no frame in the front ends of the models
_VAD_FRAME = 512


@dataclass(slots=True)
class TrackAligner:
    """Times the utterances of one track; those that fail are interpolated.

    Attributes:
        aligner: The model.
        heard: The track at 16 kHz, mono.
        source: The source of the words that it finds.
        correction: What is added to the times that it finds; None for nothing.
        counters: The utterances by result.
    """

    aligner: WordAligner
    heard: Path
    source: WordSource
    correction: Correction | None = None
    counters: AlignmentCounters = field(default_factory=AlignmentCounters)

    def __call__(self, text: str, start: int, end: int) -> tuple[TimedWord, ...]:
        """Return the words of the utterance `[start, end)`."""
        self.counters.utterances += 1
        words, problem = self._align(text, start, end)
        if problem is None:
            self.counters.aligned += 1
            return words
        self.counters.fallbacks[problem] += 1
        return interpolate(text, start, end)

    def _align(self, text: str, start: int, end: int) -> tuple[tuple[TimedWord, ...], str | None]:
        """Return the words that the model found, and why they cannot be used."""
        if end - start > _MAX_SAMPLES:
            return (), "too_long"
        audio, _ = soundfile.read(self.heard, start=start, stop=end, dtype="float32")
        if len(audio) < _MIN_SAMPLES:
            return (), "too_short"
        spans = self.aligner.align(text, audio)
        if spans is None:
            return (), "not_found"
        probabilities = shared_vad().probabilities(np.pad(audio, (0, -len(audio) % _VAD_FRAME)))
        voiced = speech_segments(probabilities, min_speech_samples=1)
        if self.correction is not None:
            spans = corrected_spans(text.split(), spans, voiced, self.correction, len(audio))
        in_track = [None if span is None else (span[0] + start, span[1] + start) for span in spans]
        words = fill_in(text, start, end, in_track, self.source)
        speech = [(a + start, b + start) for a, b in voiced]
        return words, implausibility(words, speech)


def corrected_spans(
    texts: Sequence[str], spans: Sequence[Span | None], speech: Sequence[Span], correction: Correction, samples: int
) -> list[Span | None]:
    """Correct the spans of the words of one utterance.

    Args:
        texts: The words of the utterance.
        spans: The samples of each word at 16 kHz; None for a word that was not found.
        speech: What the VAD finds.
        correction: The correction.
        samples: The length of the utterance, which no word exceeds.
    """
    found = [(start / HEARD_HZ, end / HEARD_HZ) for start, end in filter(None, spans)]
    voiced = [(start / HEARD_HZ, end / HEARD_HZ) for start, end in speech]
    words = [text for text, span in zip(texts, spans, strict=True) if span is not None]
    times = iter(corrected(found, voiced, correction, words))

    def next_span() -> Span:
        start, end = next(times)
        return min(seconds_to_samples(start, HEARD_HZ), samples), min(seconds_to_samples(end, HEARD_HZ), samples)

    return [None if span is None else next_span() for span in spans]
