"""Speakers in a transcription: the speaker of each word and event, the turns of a line, and their file in RTTM."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sca.audio.samples import Samples
from sca.config import DiarizationConfig
from sca.data.diarization.diarizer import Diarizer, SpeakerCount
from sca.data.diarization.timeline import SpeakerFrames, SpokenSpan, speaker_name
from sca.data.runs.model_identity import model_identity
from sca.data.speakers.registry import speaker_digest
from sca.data.speakers.windows import load_window_model
from sca.data.transcription.hallucinations import OVERLAPPING, RecognizedWord
from sca.data.transcription.speech import Span
from sca.textutil import counted
from sca.timeline import ComedianEvent, OtherSpeakerEvent, SpeakerTurn

__all__ = ["Speakers", "diarization_identity", "find_speakers", "load_diarizer", "speech_event"]


@dataclass(frozen=True, slots=True)
class Speakers:
    """The speakers of a recording.

    Attributes:
        frames: The speakers of each moment.
        notes: Remarks about the number of speakers.
    """

    frames: SpeakerFrames
    notes: tuple[str, ...] = ()

    def named(self, words: Sequence[RecognizedWord]) -> list[RecognizedWord]:
        """Return words with their speakers. Words during which two people speak are in doubt."""
        speakers = self.frames.speakers_of(_spans(words))
        named = []
        for word, speaker in zip(words, speakers, strict=True):
            overlaps = word.doubt is None and self.frames.is_overlap(word.start, word.end)
            named.append(replace(word, speaker=speaker, doubt=OVERLAPPING if overlaps else word.doubt))
        return named

    def speaker_of(self, start: float, end: float) -> int:
        """Return the speaker of speech without words."""
        return self.frames.speakers_of([SpokenSpan("", start, end)])[0]

    def turns(self, words: Sequence[RecognizedWord]) -> tuple[SpeakerTurn, ...]:
        """Return the turns, which change at the borders of words.

        Args:
            words: The words with their speakers.
        """
        frames = self.frames.with_words(_spans(words), [word.speaker or 0 for word in words])
        return tuple(
            SpeakerTurn(start=turn.start_s, end=turn.end_s, speaker=speaker_name(turn.speaker))
            for turn in frames.turns()
        )


def load_diarizer(config: DiarizationConfig, cache_dir: Path | None = None) -> Diarizer:
    """Load the diarizer of the settings.

    Raises:
        ScaError: The model cannot be loaded, see `load_window_model`.
    """
    count = SpeakerCount(config.min_speakers, config.max_speakers)
    return Diarizer(load_window_model(config.model, cache_dir), count, config.threshold)


def diarization_identity(config: DiarizationConfig) -> dict[str, object]:
    """Return what decides the speakers, for the comparison with finished work."""
    model = speaker_digest(config.model) if config.model.startswith("ecapa") else model_identity(config.model)
    return {**config.model_dump(mode="json"), "model": model}


def find_speakers(diarizer: Diarizer, samples: Samples, voiced: Sequence[Span], least: int) -> Speakers:
    """Find the speakers of a recording.

    Args:
        diarizer: The diarizer.
        samples: float32 mono `(n,)` at 16 kHz.
        voiced: Where speech is, in samples.
        least: The number of speakers that was requested at least.

    Raises:
        InputError: The model failed.
    """
    frames = diarizer.diarize(samples, voiced)
    if not voiced or frames.speakers >= least:
        return Speakers(frames)
    found = counted(frames.speakers, "speaker")
    return Speakers(frames, (f"{found} found, {least} requested: there is too little speech to tell more apart",))


def speech_event(speaker: int | None, **fields: object) -> ComedianEvent | OtherSpeakerEvent:
    """Return an event of the speaker who speaks most, or of another one."""
    name = None if speaker is None else speaker_name(speaker)
    kind = OtherSpeakerEvent if speaker else ComedianEvent
    return kind.model_validate({**fields, "speaker": name})


def _spans(words: Sequence[RecognizedWord]) -> list[SpokenSpan]:
    return [SpokenSpan(word.text, word.start, word.end) for word in words]
