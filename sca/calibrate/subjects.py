"""What is calibrated: the recognizer of `sca transcribe`, or an alignment model of `sca build-duplex`."""

from collections.abc import Callable, Iterator

from sca.calibrate.tracks import FoundSegment, HeardTrack, found_segments, seconds, true_words
from sca.config import Settings
from sca.data.duplex.align.registry import load_aligner
from sca.data.transcription.speech import detect_speech
from sca.data.transcription.whisper import Recognizer, RecognizerOptions
from sca.synth.conversation import Event, SyntheticConversation
from sca.units import HEARD_HZ
from sca.word_times.profile import Use

__all__ = ["Listen", "heard_tracks", "load_subject"]

Listen = Callable[[SyntheticConversation, int], tuple[FoundSegment, ...]]
"""Finds the words of one speaker of a conversation."""
_MARGIN_S = 0.3
"""What an alignment model gets around an utterance: transcripts of corpora are not exact either."""


def load_subject(use: Use, model: str, settings: Settings, recognizer: Recognizer | None = None) -> Listen:
    """Load a model.

    Args:
        use: What it is used for.
        model: A model of `sca.models`, a folder, a size or a hub id.
        settings: The settings.
        recognizer: A recognizer that is loaded; by default one for the CPU or GPU with the default options.

    Raises:
        MissingToolError: The model is not on this machine, or a library is missing.
        UpstreamError: The model cannot be downloaded.
        UsageError: The model does not exist.
    """
    if use == "transcribe":
        loaded = recognizer or Recognizer(RecognizerOptions(model))
        return lambda conversation, speaker: found_segments(loaded.transcribe(conversation.tracks[speaker]))
    return _aligner(use, model, settings)


def _aligner(use: Use, model: str, settings: Settings) -> Listen:
    duplex = settings.duplex.model_copy(update={"align": use, "align_model": model})
    aligner = load_aligner(settings.model_copy(update={"duplex": duplex}))
    assert aligner is not None

    def listen(conversation: SyntheticConversation, speaker: int) -> tuple[FoundSegment, ...]:
        track = conversation.tracks[speaker]
        found = []
        for event in conversation.events:
            if event.speaker == speaker and event.words:
                first, last = _around(event, len(track))
                spans = aligner.align(event.text, track[first:last])
                words = _placed(event.text.split(), spans or [], first)
                found.append(FoundSegment(words=tuple(words)))
        return tuple(found)

    return listen


def _around(event: Event, samples: int) -> tuple[int, int]:
    margin = int(_MARGIN_S * HEARD_HZ)
    return max(0, event.start - margin), min(samples, event.end + margin)


def _placed(
    texts: list[str], spans: list[tuple[int, int] | None], first: int
) -> Iterator[tuple[str, float, float, float]]:
    for text, span in zip(texts, spans, strict=False):
        if span is not None:
            start, end = (round((at + first) / HEARD_HZ, 4) for at in span)
            yield f" {text}", start, end, 1.0


def heard_tracks(conversation: SyntheticConversation, noise: str, listen: Listen) -> list[HeardTrack]:
    """Let a model find the words of both speakers of a conversation."""
    return [
        HeardTrack(
            noise=noise,
            voice=str(conversation.voices[speaker]),
            audio_s=round(len(track) / HEARD_HZ, 3),
            truth=true_words(conversation, speaker),
            found=listen(conversation, speaker),
            voiced=seconds(detect_speech(track)),
        )
        for speaker, track in enumerate(conversation.tracks)
    ]
