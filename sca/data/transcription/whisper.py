"""faster-whisper, run so that the VAD is called once: words on the time line of the recording.

The batched pipeline gets the speech of a recording joined without its pauses, as it would join it itself. The times it
returns are mapped back to the time line of the recording here, because the speech spans are needed here anyway.

The batched pipeline decodes once, at temperature 0. A window that the thresholds of Whisper reject is decoded again, one
segment after another and with the fallback temperatures, and the better result is kept.
"""

import math
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from sca.audio.samples import Samples
from sca.data.transcription.hallucinations import (
    MAX_COMPRESSION_RATIO,
    MIN_AVG_LOGPROB,
    Evidence,
    RecognizedWord,
)
from sca.data.transcription.speech import JoinedSpeech, Span, clips, detect_speech, pack, padded, restore
from sca.data.transcription.windows import PartialWork, WindowResult, cut_at_pauses
from sca.errors import ScaError, UsageError
from sca.models.whisper import load_model
from sca.units import HEARD_HZ

if TYPE_CHECKING:
    from faster_whisper.transcribe import Segment

__all__ = ["Recognizer", "RecognizerOptions", "Transcription"]

DEFAULT_MODEL = "large-v3-turbo"
_WINDOW_SAMPLES = 30 * HEARD_HZ
_LEAST_STRETCHES = 8
_SEED = 0


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
        beam_size: Hypotheses of the beam search.
        hotwords: Words that are likely to occur, such as names.
        initial_prompt: Text before each window; the transcript follows its style and spelling.
        multilingual: Whether the language is detected in every window.
    """

    model: str = DEFAULT_MODEL
    device: str = "auto"
    compute_type: str = "auto"
    batch_size: int = 8
    language: str | None = None
    vad: bool = True
    word_timestamps: bool = True
    workers: int = 0
    beam_size: int = 5
    hotwords: str | None = None
    initial_prompt: str | None = None
    multilingual: bool = False

    def identity(self) -> dict[str, object]:
        """Return the options that decide the result: all except the device and the number of workers."""
        names = ("model", "compute_type", "batch_size", "language", "vad", "word_timestamps")
        decided = {name: getattr(self, name) for name in names}
        # A default is left out, so that lines of versions without the option stay finished.
        newer = ("beam_size", "hotwords", "initial_prompt", "multilingual")
        defaults = RecognizerOptions()
        changed = {name for name in newer if getattr(self, name) != getattr(defaults, name)}
        return decided | {name: getattr(self, name) for name in newer if name in changed}


@dataclass(frozen=True, slots=True)
class Transcription:
    """What was recognized in a recording.

    Attributes:
        segments: The words of each segment. Without word times, one `RecognizedWord` is a whole segment.
        speech: What is decoded as speech: `(start, end)` in samples at 16 kHz, with margins of up to 0.4 s.
        language: The language code; empty if unknown.
        language_probability: Its probability.
        voiced: Where the VAD found speech, without margins.
        decoded_again: Windows that were decoded a second time.
    """

    segments: list[list[RecognizedWord]]
    speech: list[Span]
    language: str
    language_probability: float = field(default=1.0)
    voiced: list[Span] = field(default_factory=list)
    decoded_again: int = 0


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
        import ctranslate2

        ctranslate2.set_random_seed(_SEED)  # for the fallback temperatures, which sample
        self.options = options
        self._model, self.workers = load_model(
            options.model, options.device, options.compute_type, options.workers, cpu_threads
        )
        if options.language is not None and options.language not in self._model.supported_languages:
            raise UsageError(
                f"the model {options.model} does not support the language {options.language!r}",
                hint=f"one of {', '.join(self._model.supported_languages[:12])}, …; leave --language out to detect it",
            )
        if options.multilingual and not self._model.model.is_multilingual:
            raise UsageError(
                f"the model {options.model} knows only English", hint="leave --multilingual out, or give another model"
            )
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Make every running `transcribe` raise `InterruptedError` after its current batch."""
        self._stopped.set()

    def transcribe(
        self,
        samples: Samples,
        voiced: list[Span] | None = None,
        partial: PartialWork | None = None,
        progress: Callable[[int], None] = lambda done: None,
    ) -> Transcription:
        """Recognize the speech of a recording, window by window.

        A window is some batches of stretches of up to 30 s, and the result is that of all batches at once. Without the
        VAD, it is 8 to 10 minutes between two pauses.

        Args:
            samples: float32 mono `(n,)` at 16 kHz.
            voiced: Where `detect_speech` finds speech in them; None detects it.
            partial: The windows that an earlier run recognized, and the place of new ones.
            progress: Called with the number of samples of the recording that are done.

        Raises:
            ScaError: The recognizer failed.
            InterruptedError: `stop` was called.
        """
        voiced = detect_speech(samples) if voiced is None else voiced
        speech = padded(voiced, len(samples))
        recognize = self._in_batches if self.options.vad else self._in_sequence
        try:
            results = list(recognize(samples, speech, partial or PartialWork(), progress))
        except RuntimeError as error:  # CTranslate2's only class: out of memory, a lost device, a broken model
            raise ScaError(f"the recognizer failed: {error}") from error
        return Transcription(
            [words for result in results for words in result.segments],
            speech,
            results[0].language if results else self.options.language or "",
            results[0].language_probability if results else 0.0,
            voiced,
            sum(result.decoded_again for result in results),
        )

    def _in_batches(
        self, samples: Samples, speech: list[Span], partial: PartialWork, progress: Callable[[int], None]
    ) -> Iterator[WindowResult]:
        """Decode only the speech, several stretches together, and doubtful stretches again."""
        chunks = pack(speech, _WINDOW_SAMPLES)
        places = clips(chunks)
        size = self.options.batch_size * max(1, _LEAST_STRETCHES // self.options.batch_size)
        starts = range(0, len(chunks), size)
        joined = JoinedSpeech(samples, speech)
        before: WindowResult | None = None
        for window, first in enumerate(starts):
            result = partial.known(window)
            if result is None:
                result = self._batch(joined, places[first : first + size], before)
                if len(starts) > 1:
                    partial.add(result)
            before = before or result
            before = replace(before, last_end_s=result.last_end_s)
            progress(chunks[min(first + size, len(chunks)) - 1][-1][1])
            yield result

    def _batch(self, joined: JoinedSpeech, places: list[dict[str, float]], before: WindowResult | None) -> WindowResult:
        """Decode some stretches of the joined speech.

        Args:
            joined: The joined speech.
            places: Where the stretches are in it, in seconds.
            before: The language, and where the last word ended.
        """
        from faster_whisper import BatchedInferencePipeline

        base, sound = joined.part(places[0]["start"], places[-1]["end"])
        base_s = base / HEARD_HZ
        pipeline = BatchedInferencePipeline(self._model)  # its state is that of one recording
        pipeline.last_speech_timestamp = 0.0 if before is None else before.last_end_s - base_s
        segments, info = pipeline.transcribe(
            sound,
            clip_timestamps=[{side: at - base_s for side, at in place.items()} for place in places],
            language=self.options.language if before is None else before.language,
            batch_size=self.options.batch_size,
            word_timestamps=self.options.word_timestamps,
            beam_size=self.options.beam_size,
            hotwords=self.options.hotwords,
            initial_prompt=self.options.initial_prompt,
            multilingual=self.options.multilingual,
            without_timestamps=self.options.word_timestamps,
        )
        found: list[list[list[RecognizedWord]]] = [[] for _ in places]
        starts = [place["start"] for place in places]
        last_end_s = 0.0 if before is None else before.last_end_s
        for words in self._words_of(segments, base_s):
            last_end_s = base_s + pipeline.last_speech_timestamp
            middle = (words[0].start + words[-1].end) / 2
            found[max(0, bisect_right(starts, middle) - 1)].append(words)
        restored: list[list[RecognizedWord]] = []
        again = 0
        for place, stretch in zip(places, found, strict=True):
            if _is_doubtful(stretch):
                again += 1
                stretch = _better(stretch, self._again(joined, place, info.language))
            restored += [self._restored(words, joined.speech) for words in stretch]
        probability = float(info.language_probability) if before is None else before.language_probability
        return WindowResult(restored, info.language, probability, last_end_s, again)

    def _again(self, joined: JoinedSpeech, place: dict[str, float], language: str) -> list[list[RecognizedWord]]:
        """Decode one stretch of the joined speech with the fallback temperatures of Whisper."""
        first, last = int(place["start"] * HEARD_HZ), int(place["end"] * HEARD_HZ)
        segments, _ = self._model.transcribe(
            joined.between(first, last),
            language=language,
            word_timestamps=self.options.word_timestamps,
            beam_size=self.options.beam_size,
            hotwords=self.options.hotwords,
            initial_prompt=self.options.initial_prompt,
            multilingual=self.options.multilingual,
            condition_on_previous_text=False,
            compression_ratio_threshold=MAX_COMPRESSION_RATIO,
            log_prob_threshold=MIN_AVG_LOGPROB,
            no_speech_threshold=None,  # the VAD found speech; what is heard there is judged, not skipped
            vad_filter=False,
        )
        return [
            [replace(word, start=word.start + first / HEARD_HZ, end=word.end + first / HEARD_HZ) for word in words]
            for words in self._words_of(segments)
        ]

    def _restored(self, words: list[RecognizedWord], speech: Sequence[Span]) -> list[RecognizedWord]:
        """Map words to the recording. Without word times, a word is a segment, which may reach over pauses."""
        restored = []
        for word in words:
            start, end = restore(word.start, word.end, speech, across=not self.options.word_timestamps)
            restored.append(replace(word, start=round(start, 3), end=round(end, 3)))
        return restored

    def _in_sequence(
        self, samples: Samples, speech: list[Span], partial: PartialWork, progress: Callable[[int], None]
    ) -> Iterator[WindowResult]:
        """Decode everything, one stretch after another."""
        windows = cut_at_pauses(speech, len(samples))
        language, probability = self.options.language, 0.0
        for window, (first, last) in enumerate(windows):
            result = partial.known(window)
            if result is None:
                segments, info = self._model.transcribe(
                    samples[first:last],
                    language=language,
                    word_timestamps=self.options.word_timestamps,
                    beam_size=self.options.beam_size,
                    hotwords=self.options.hotwords,
                    initial_prompt=None if window else self.options.initial_prompt,
                    multilingual=self.options.multilingual,
                    condition_on_previous_text=False,  # a wrong text would be repeated in the next stretch
                    vad_filter=False,
                )
                probability = probability if window else float(info.language_probability)
                words = list(self._words_of(segments, first / HEARD_HZ))
                result = WindowResult(words, info.language, probability)
                if len(windows) > 1:
                    partial.add(result)
            language, probability = result.language, result.language_probability
            progress(last)
            yield result

    def _words_of(self, segments: "Iterable[Segment]", base_s: float = 0.0) -> Iterator[list[RecognizedWord]]:
        """Yield the words of each segment, `base_s` later. The model works while `segments` is read."""
        for segment in segments:
            if self._stopped.is_set():
                raise InterruptedError("the run was stopped")
            words = _words(segment)
            if words and base_s:
                words = [
                    replace(word, start=round(word.start + base_s, 3), end=round(word.end + base_s, 3))
                    for word in words
                ]
            if words:
                yield words


def _is_doubtful(window: Sequence[Sequence[RecognizedWord]]) -> bool:
    """Return whether a window is to be decoded again: it has no words, or the thresholds of Whisper reject a segment."""
    evidence = [words[0].evidence for words in window]
    return not evidence or any(one is not None and one.in_doubt for one in evidence)


def _better(first: list[list[RecognizedWord]], second: list[list[RecognizedWord]]) -> list[list[RecognizedWord]]:
    """Return the result that the thresholds accept, or else the more probable one."""
    if not first or not second:
        return first or second
    return max(first, second, key=lambda window: (not _is_doubtful(window), _mean_logprob(window)))


def _mean_logprob(window: Sequence[Sequence[RecognizedWord]]) -> float:
    values = [word.evidence.avg_logprob for words in window for word in words if word.evidence is not None]
    return sum(values) / len(values) if values else -math.inf


def _rounded(times: tuple[float, float]) -> tuple[float, float]:
    return round(times[0], 3), round(times[1], 3)


def _words(segment: "Segment") -> list[RecognizedWord]:
    evidence = Evidence(
        round(float(segment.avg_logprob), 4),
        round(min(max(float(segment.no_speech_prob), 0.0), 1.0), 4),
        round(float(segment.compression_ratio), 4),
    )
    if segment.words is None:
        text = segment.text if segment.text.startswith(" ") else f" {segment.text}"
        probability = min(1.0, math.exp(evidence.avg_logprob))
        times = _rounded((float(segment.start), float(segment.end)))
        return [RecognizedWord(text, *times, probability, evidence)] if text.strip() else []
    return [
        RecognizedWord(word.word, *_rounded((float(word.start), float(word.end))), float(word.probability), evidence)
        for word in segment.words
    ]
