"""faster-whisper, run so that the VAD is called once: words on the time line of the recording.

The batched pipeline gets the speech of a recording joined without its pauses, as it would join it itself. The times it
returns are mapped back to the time line of the recording here, because the speech spans are needed here anyway.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sca.data.transcription.hallucinations import RecognizedWord
from sca.data.transcription.whisper_model import load_model
from sca.errors import ScaError, UsageError
from sca.units import HEARD_HZ

if TYPE_CHECKING:
    from faster_whisper.transcribe import Segment

__all__ = ["Recognizer", "RecognizerOptions", "Transcription", "find_speech", "pack", "restore"]

DEFAULT_MODEL = "large-v3-turbo"
_WINDOW_SAMPLES = 30 * HEARD_HZ
_MIN_SILENCE_MS = 160
"""The VAD option of faster-whisper's own batched pipeline (faster_whisper/transcribe.py, version 1.2)."""

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class RecognizerOptions:
    """How speech is recognized.

    Attributes:
        model: A size that faster-whisper has, a hub id, a folder in CTranslate2's format, or a model of `sca.models`.
        device: "auto", "cpu" or "cuda".
        compute_type: CTranslate2's name, or "auto" for the type that the weights are stored in.
        batch_size: Stretches of 30 s that are decoded together.
        language: A code such as "en"; None detects it.
        vad: Whether only speech is decoded.
        word_timestamps: Whether words get times.
        workers: Recordings at a time; 0 is one per GPU, or one on a CPU.
    """

    model: str = DEFAULT_MODEL
    device: str = "auto"
    compute_type: str = "auto"
    batch_size: int = 8
    language: str | None = None
    vad: bool = True
    word_timestamps: bool = True
    workers: int = 0

    def identity(self) -> dict[str, object]:
        """Return the options that decide the result: all except the device and the number of workers."""
        names = ("model", "compute_type", "batch_size", "language", "vad", "word_timestamps")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Transcription:
    """What was recognized in a recording.

    Attributes:
        segments: The words of each segment. Without word times, one `RecognizedWord` is a whole segment.
        speech: Where the VAD found speech: `(start, end)` in samples at 16 kHz.
        language: The language code; empty if unknown.
        language_probability: Its probability.
    """

    segments: list[list[RecognizedWord]]
    speech: list[Span]
    language: str
    language_probability: float = field(default=1.0)


class Recognizer:
    """A loaded model. `workers` threads may call `transcribe` at the same time."""

    def __init__(self, options: RecognizerOptions, *, cpu_threads: int = 0) -> None:
        """Load the model.

        Args:
            options: How speech is recognized.
            cpu_threads: Threads of each worker on a CPU; 0 is CTranslate2's default.

        Raises:
            MissingToolError: A model folder is incomplete, or CUDA was requested and no CUDA device is available.
            UpstreamError: The model cannot be downloaded.
            UsageError: The model or its language does not exist, or the device does not support the compute type.
        """
        from faster_whisper import BatchedInferencePipeline

        self.options = options
        self._model, self.workers = load_model(
            options.model, options.device, options.compute_type, options.workers, cpu_threads
        )
        if options.language is not None and options.language not in self._model.supported_languages:
            raise UsageError(
                f"the model {options.model} does not support the language {options.language!r}",
                hint=f"one of {', '.join(self._model.supported_languages[:12])}, …; leave --language out to detect it",
            )
        self._batched = BatchedInferencePipeline(self._model)
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Make every running `transcribe` raise `InterruptedError` after its current batch."""
        self._stopped.set()

    def transcribe(self, samples: NDArray[np.float32]) -> Transcription:
        """Recognize the speech of a recording.

        Args:
            samples: float32 mono `(n,)` at 16 kHz.

        Raises:
            ScaError: The recognizer failed.
            InterruptedError: `stop` was called.
        """
        speech = find_speech(samples)
        try:
            return self._in_batches(samples, speech) if self.options.vad else self._in_sequence(samples, speech)
        except RuntimeError as error:  # CTranslate2's only class: out of memory, a lost device, a broken model
            raise ScaError(f"the recognizer failed: {error}") from error

    def _in_batches(self, samples: NDArray[np.float32], speech: list[Span]) -> Transcription:
        """Decode only the speech, several windows together."""
        if not speech:
            return Transcription([], [], self.options.language or "", 0.0)
        chunks = pack(speech, _WINDOW_SAMPLES)
        joined = np.concatenate([samples[start:end] for chunk in chunks for start, end in chunk])
        segments, info = self._batched.transcribe(
            joined,
            clip_timestamps=_clips(chunks),
            language=self.options.language,
            batch_size=self.options.batch_size,
            word_timestamps=self.options.word_timestamps,
            without_timestamps=self.options.word_timestamps,
        )
        spans = [span for chunk in chunks for span in chunk]
        restored = [_restored(words, spans) for words in self._words_of(segments)]
        return Transcription(restored, speech, info.language, float(info.language_probability))

    def _in_sequence(self, samples: NDArray[np.float32], speech: list[Span]) -> Transcription:
        """Decode everything, one window after another."""
        segments, info = self._model.transcribe(
            samples,
            language=self.options.language,
            word_timestamps=self.options.word_timestamps,
            condition_on_previous_text=False,  # a wrong text would be repeated in the next window
            vad_filter=False,
        )
        return Transcription(list(self._words_of(segments)), speech, info.language, float(info.language_probability))

    def _words_of(self, segments: "Iterable[Segment]") -> Iterator[list[RecognizedWord]]:
        """Yield the words of each segment. The model works while `segments` is read."""
        for segment in segments:
            if self._stopped.is_set():
                raise InterruptedError("the run was stopped")
            words = _words(segment)
            if words:
                yield words


def find_speech(samples: NDArray[np.float32]) -> list[Span]:
    """Find speech as faster-whisper's batched pipeline does.

    Args:
        samples: float32 mono `(n,)` at 16 kHz.

    Returns:
        Spans `(start, end)` of at most 30 s, in samples.
    """
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    if not len(samples):
        return []
    options = VadOptions(max_speech_duration_s=_WINDOW_SAMPLES / HEARD_HZ, min_silence_duration_ms=_MIN_SILENCE_MS)
    return [(int(span["start"]), int(span["end"])) for span in get_speech_timestamps(samples, options)]


def pack(speech: Sequence[Span], max_samples: int) -> list[list[Span]]:
    """Group consecutive spans, each group as large as `max_samples` allows."""
    packed: list[list[Span]] = []
    size = max_samples + 1
    for start, end in speech:
        if size + end - start > max_samples:
            packed.append([])
            size = 0
        packed[-1].append((start, end))
        size += end - start
    return packed


def restore(start_s: float, end_s: float, speech: Sequence[Span]) -> tuple[float, float]:
    """Map the times of a word from the joined speech to the recording.

    Args:
        start_s: The start in the joined speech.
        end_s: The end in the joined speech.
        speech: The spans that were joined, in samples at 16 kHz. The word belongs to the span that its middle is in.

    Returns:
        The start and the end in the recording, within that span.
    """
    lengths = np.asarray([end - start for start, end in speech], np.int64)
    joined = np.concatenate([[0], np.cumsum(lengths)])
    at = int(np.searchsorted(joined, (start_s + end_s) / 2 * HEARD_HZ, "right")) - 1
    at = min(max(at, 0), len(lengths) - 1)
    first, last = speech[at]
    shift = (first - int(joined[at])) / HEARD_HZ
    low, high = first / HEARD_HZ, last / HEARD_HZ
    return min(max(start_s + shift, low), high), min(max(end_s + shift, low), high)


def _restored(words: list[RecognizedWord], speech: Sequence[Span]) -> list[RecognizedWord]:
    return [RecognizedWord(w.text, *_rounded(restore(w.start, w.end, speech)), w.probability) for w in words]


def _rounded(times: tuple[float, float]) -> tuple[float, float]:
    return round(times[0], 3), round(times[1], 3)


def _clips(chunks: Sequence[Sequence[Span]]) -> list[dict[str, float]]:
    """Return the places of the chunks in the joined speech, in seconds as faster-whisper requires."""
    clips = []
    at = 0
    for chunk in chunks:
        length = sum(end - start for start, end in chunk)
        # Half a sample is added because faster-whisper rounds down.
        clips.append({"start": (at + 0.5) / HEARD_HZ, "end": (at + length + 0.5) / HEARD_HZ})
        at += length
    return clips


def _words(segment: "Segment") -> list[RecognizedWord]:
    if segment.words is None:
        text = segment.text if segment.text.startswith(" ") else f" {segment.text}"
        return [RecognizedWord(text, float(segment.start), float(segment.end), 1.0)] if text.strip() else []
    return [
        RecognizedWord(word.word, *_rounded((float(word.start), float(word.end))), float(word.probability))
        for word in segment.words
    ]
