"""One track of a synthetic conversation: its true words, and what a model found in it. A line of the ledger."""

from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict

from sca.data.transcription.hallucinations import Evidence, RecognizedWord
from sca.data.transcription.whisper import Transcription
from sca.synth.conversation import SyntheticConversation
from sca.units import HEARD_HZ

__all__ = ["FoundSegment", "HeardTrack", "TrueWord", "found_segments", "seconds", "true_words"]

TrueWord = tuple[str, float, float]
"""A word with its start and end in seconds."""
FoundWord = tuple[str, float, float, float]
"""A word with its start and end in seconds, and its probability."""


class FoundSegment(BaseModel):
    """Words that were found together.

    Attributes:
        words: The words.
        evidence: `avg_logprob`, `no_speech_prob` and `compression_ratio` of Whisper; None if the model has none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    words: tuple[FoundWord, ...]
    evidence: tuple[float, float, float] | None = None


class HeardTrack(BaseModel):
    """What a model found in a track, before any correction.

    Attributes:
        noise: The name of what was done to the sound.
        voice: The voice.
        audio_s: The length.
        truth: The words that were spoken.
        found: The words that were found, in order.
        voiced: Where the VAD finds speech, in seconds, without margins.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    noise: str
    voice: str
    audio_s: float
    truth: tuple[TrueWord, ...]
    found: tuple[FoundSegment, ...]
    voiced: tuple[tuple[float, float], ...]

    def words(self) -> Iterator[RecognizedWord]:
        """Yield the words that were found."""
        for segment in self.found:
            evidence = None if segment.evidence is None else Evidence(*segment.evidence)
            for text, start, end, probability in segment.words:
                yield RecognizedWord(text, start, end, probability, evidence)


def found_segments(transcription: Transcription) -> tuple[FoundSegment, ...]:
    """Return the words of a transcription."""
    return tuple(
        FoundSegment(
            words=tuple((word.text, word.start, word.end, word.probability) for word in segment),
            evidence=_numbers(segment[0].evidence),
        )
        for segment in transcription.segments
        if segment
    )


def _numbers(evidence: Evidence | None) -> tuple[float, float, float] | None:
    return None if evidence is None else (evidence.avg_logprob, evidence.no_speech_prob, evidence.compression_ratio)


def true_words(conversation: SyntheticConversation, speaker: int) -> tuple[TrueWord, ...]:
    """Return the words of a speaker, in seconds."""
    rate_hz = conversation.rate_hz
    events = (event for event in conversation.events if event.speaker == speaker)
    return tuple(
        (word.text, round(word.start / rate_hz, 4), round(word.end / rate_hz, 4))
        for event in events
        for word in event.words
    )


def seconds(spans: Sequence[tuple[int, int]]) -> tuple[tuple[float, float], ...]:
    """Convert spans of samples at 16 kHz."""
    return tuple((round(start / HEARD_HZ, 3), round(end / HEARD_HZ, 3)) for start, end in spans)
