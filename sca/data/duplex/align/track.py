"""Align a track's utterances with a model: each on its own audio, believed only when it passes the gate.

What fails, and why, is counted by name; those words are shared out by letters.
"""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from sca.audio.vad import speech_segments
from sca.config import DuplexConfig, Settings
from sca.data.duplex.align.ctc import CtcWords
from sca.data.duplex.align.match import fill_in, interpolate
from sca.data.duplex.align.plausibility import gate_failure
from sca.data.duplex.align.whisper import WhisperWords
from sca.data.duplex.audio.vad_spans import shared_vad
from sca.data.duplex.model.counters import AlignmentCounters
from sca.data.duplex.model.spans import Span
from sca.data.duplex.model.units import UnitWord
from sca.units import HEARD_HZ

__all__ = ["TrackAligner", "WordFinder", "finder_model", "word_finder"]

_LONGEST = 120 * HEARD_HZ
_DEFAULT_MODEL = {"whisper": "small", "ctc": "facebook/wav2vec2-base-960h"}


class WordFinder(Protocol):
    """A model that finds the words of a known text in a piece of audio."""

    def spans(self, text: str, heard: NDArray[np.float32]) -> list[Span | None] | None:
        """For each word its samples in `heard`, None where it was not found; None in place of the list when none was."""


def finder_model(duplex: DuplexConfig) -> str | None:
    """The name of the model that finds words; None for interpolation, which has none."""
    return None if duplex.align == "interpolate" else duplex.align_model or _DEFAULT_MODEL[duplex.align]


def word_finder(settings: Settings) -> WordFinder | None:
    """The model that the settings ask for, loaded once a process; None for interpolation."""
    duplex = settings.duplex
    model = finder_model(duplex)
    if model is None:
        return None
    return _load(duplex.align, model, settings.paths.resolved_cache_dir, duplex.align_language)


@cache
def _load(method: str, model: str, cache_dir: Path, language: str | None) -> WordFinder:
    folder = str(cache_dir / "models")
    return WhisperWords(model, folder, language) if method == "whisper" else CtcWords(model, folder)


@dataclass(slots=True)
class TrackAligner:
    """Times the utterances of one track. heard: its recording at 16 kHz, mono.   source: what its words' `source` says.

    counts: the results, by reason for those that were not aligned.
    """

    finder: WordFinder
    heard: Path
    source: str
    counts: AlignmentCounters = field(default_factory=AlignmentCounters)

    def __call__(self, text: str, start: int, end: int) -> tuple[UnitWord, ...]:
        """The words of an utterance `[start, end)`: aligned, or shared out by letters where that cannot be believed."""
        self.counts.utterances += 1
        words, failure = self._align(text, start, end)
        if failure is None and words is not None:
            self.counts.aligned += 1
            return words
        self.counts.fallbacks[str(failure)] += 1
        return interpolate(text, start, end)

    def _align(self, text: str, start: int, end: int) -> tuple[tuple[UnitWord, ...] | None, str | None]:
        if end - start > _LONGEST:
            return None, "too_long"
        heard, _ = soundfile.read(self.heard, start=start, stop=end, dtype="float32")
        # Shorter than this the models' own front ends have no frame to look at.
        if len(heard) < HEARD_HZ // 20:
            return None, "too_short"
        spans = self.finder.spans(text, heard)
        if spans is None:
            return None, "not_found"
        moved = [None if span is None else (span[0] + start, span[1] + start) for span in spans]
        words = fill_in(text, start, end, moved, self.source)
        probabilities = shared_vad().probabilities(np.pad(heard, (0, -len(heard) % 512)))
        speech = [(a + start, b + start) for a, b in speech_segments(probabilities, min_speech_samples=1)]
        return words, gate_failure(words, speech)
