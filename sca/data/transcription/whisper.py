"""faster-whisper, loaded with clear refusals and run so that the VAD is asked once: words on the recording's own time line.

The batched pipeline gets the speech of a recording joined without its pauses, as it would join it itself, and the times it
returns are put back on the recording's time line here, where the speech spans are needed anyway. Knows nothing of files, guards
or events.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sca.data.transcription.hallucinations import RecognizedWord
from sca.errors import MissingToolError, ScaError, UpstreamError, UsageError
from sca.textutil import first_line
from sca.units import HEARD_HZ

__all__ = ["Recogniser", "RecogniserOptions", "Transcription", "pack", "restore"]

DEFAULT_MODEL = "large-v3-turbo"
_NEEDED = (("model.bin",), ("config.json",), ("vocabulary.json", "vocabulary.txt"), ("tokenizer.json",))
_WINDOW_SAMPLES = 30 * HEARD_HZ
# What faster-whisper's own batched pipeline asks of the VAD (transcribe.py, 1.2).
_MIN_SILENCE_MS = 160

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class RecogniserOptions:
    """How speech is recognised.

    model: a size faster-whisper knows, a hub id, or a folder in CTranslate2's format.   device: auto, cpu or cuda.   compute_type:
    CTranslate2's name, or auto for what the weights are stored in.   workers: recordings at a time; 0 is one a GPU, or one on a
    CPU.
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
        """What decides the result: all but where it is computed and how many at a time."""
        names = ("model", "compute_type", "batch_size", "language", "vad", "word_timestamps")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Transcription:
    """What was recognised. phrases: one list of words a segment; without word times, one `RecognizedWord` that is the whole segment.

    speech: where the VAD hears speech, `(start, end)` in samples at 16 kHz.
    """

    phrases: list[list[RecognizedWord]]
    speech: list[Span]
    language: str
    language_probability: float = field(default=1.0)


class Recogniser:
    """A loaded model. `workers` threads may call `hear` at the same time.

    Raises `MissingToolError` for a folder that lacks a file and for CUDA where there is none, `UpstreamError` when the hub does not
    answer, `UsageError` for a compute type the device does not have.
    """

    def __init__(self, options: RecogniserOptions, *, cpu_threads: int = 0) -> None:
        from faster_whisper import BatchedInferencePipeline

        self.options = options
        gpus = _gpus(options.device)
        self.workers = options.workers or max(gpus, 1)
        self._model = _load(options, gpus, self.workers, cpu_threads)
        if options.language is not None and options.language not in self._model.supported_languages:
            raise UsageError(
                f"the model {options.model} knows no language {options.language!r}",
                hint=f"one of {', '.join(self._model.supported_languages[:12])}, …; leave --language out to detect it",
            )
        self._batched = BatchedInferencePipeline(self._model)
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let every `hear` under way end with an `InterruptedError` after the batch in hand."""
        self._stopped.set()

    def _phrases(self, segments: Iterable[Any]) -> Iterator[list[RecognizedWord]]:
        """The words of each segment; the recogniser works while this is read."""
        for segment in segments:
            if self._stopped.is_set():
                raise InterruptedError("the run was stopped")
            words = _words(segment)
            if words:
                yield words

    def hear(self, samples: NDArray[np.float32]) -> Transcription:
        """Recognise a recording: float32 mono `(n,)` at 16 kHz. Raises `ScaError` when the recogniser fails on it."""
        speech = find_speech(samples)
        try:
            return self._in_batches(samples, speech) if self.options.vad else self._in_turn(samples, speech)
        except RuntimeError as error:  # CTranslate2's only kind: out of memory, a lost device, a broken model
            raise ScaError(f"the recogniser failed: {error}") from error

    def _in_batches(self, samples: NDArray[np.float32], speech: list[Span]) -> Transcription:
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
        flat = [span for chunk in chunks for span in chunk]
        phrases = [_restored(words, flat) for words in self._phrases(segments)]
        return Transcription(phrases, speech, info.language, float(info.language_probability))

    def _in_turn(self, samples: NDArray[np.float32], speech: list[Span]) -> Transcription:
        segments, info = self._model.transcribe(
            samples,
            language=self.options.language,
            word_timestamps=self.options.word_timestamps,
            condition_on_previous_text=False,  # what was misheard once would be said again
            vad_filter=False,
        )
        return Transcription(list(self._phrases(segments)), speech, info.language, float(info.language_probability))


def find_speech(samples: NDArray[np.float32]) -> list[Span]:
    """Where speech is, as faster-whisper's batched pipeline finds it: spans of at most 30 s, `(start, end)` in samples."""
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    if not len(samples):
        return []
    options = VadOptions(max_speech_duration_s=_WINDOW_SAMPLES / HEARD_HZ, min_silence_duration_ms=_MIN_SILENCE_MS)
    return [(int(span["start"]), int(span["end"])) for span in get_speech_timestamps(samples, options)]


def pack(speech: Sequence[Span], most: int) -> list[list[Span]]:
    """Put spans together, in order, as many as `most` samples hold."""
    packed: list[list[Span]] = []
    held = most + 1
    for start, end in speech:
        if held + end - start > most:
            packed.append([])
            held = 0
        packed[-1].append((start, end))
        held += end - start
    return packed


def restore(start_s: float, end_s: float, speech: Sequence[Span]) -> tuple[float, float]:
    """Times in the joined speech as times in the recording. A word lies in one span: the one its middle is in."""
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
    """Where the chunks lie in the joined speech, as faster-whisper wants it: seconds, from which it makes samples again."""
    clips = []
    at = 0
    for chunk in chunks:
        length = sum(end - start for start, end in chunk)
        # Half a sample more: it rounds down.
        clips.append({"start": (at + 0.5) / HEARD_HZ, "end": (at + length + 0.5) / HEARD_HZ})
        at += length
    return clips


def _words(segment: Any) -> list[RecognizedWord]:
    if segment.words is None:
        text = segment.text if segment.text.startswith(" ") else f" {segment.text}"
        return [RecognizedWord(text, float(segment.start), float(segment.end), 1.0)] if text.strip() else []
    return [
        RecognizedWord(word.word, *_rounded((float(word.start), float(word.end))), float(word.probability))
        for word in segment.words
    ]


def _gpus(device: str) -> int:
    import ctranslate2

    there_are = int(ctranslate2.get_cuda_device_count()) if device != "cpu" else 0
    if device == "cuda" and not there_are:
        raise MissingToolError(
            "--device cuda, and there is no CUDA device here", hint="use --device cpu, or auto for whatever there is"
        )
    return there_are


def _load(options: RecogniserOptions, gpus: int, workers: int, cpu_threads: int) -> Any:
    import ctranslate2
    from faster_whisper import WhisperModel

    device = "cuda" if gpus else "cpu"
    known = ctranslate2.get_supported_compute_types(device)
    if options.compute_type not in ("auto", "default", *known):
        raise UsageError(
            f"this {device} cannot compute in {options.compute_type}",
            hint=f"it can in {', '.join(sorted(known))}; auto chooses",
        )
    _check_folder(options.model)
    try:
        return WhisperModel(
            options.model,
            device=device,
            device_index=list(range(min(gpus, workers))) if gpus else 0,
            compute_type="default" if options.compute_type == "auto" else options.compute_type,
            cpu_threads=cpu_threads,
            num_workers=workers if not gpus else 1,
        )
    except Exception as error:
        raise _refusal(options.model, error) from error


def _check_folder(model: str) -> None:
    """A folder is complete, or it says what it lacks: CTranslate2 and the tokenizer would fail late, or ask the hub."""
    path = Path(model).expanduser()
    if not path.is_dir():
        if path.exists() or model.startswith((".", "/", "~")):
            raise MissingToolError(
                f"{model} is no folder with a model in it", hint="give a folder, a hub id or a size such as small"
            )
        return
    missing = [" or ".join(names) for names in _NEEDED if not any((path / name).is_file() for name in names)]
    if missing:
        raise MissingToolError(
            f"the model folder {model} lacks {', '.join(missing)}",
            hint="ct2-transformers-converter --model … --copy_files tokenizer.json preprocessor_config.json makes a complete one",
        )


def _refusal(model: str, error: Exception) -> ScaError:
    """What kept the model from being loaded, in a line."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    first = first_line(error)
    if Path(model).expanduser().is_dir():
        return MissingToolError(
            f"the model in {model} cannot be loaded: {first}", hint="it has to be in CTranslate2's format"
        )
    if kinds & {"RepositoryNotFoundError", "HFValidationError"} or isinstance(error, ValueError):
        return UsageError(f"there is no model {model}: {first}", hint="give a size such as small, a hub id or a folder")
    if isinstance(error, OSError) or kinds & {"LocalEntryNotFoundError", "HfHubHTTPError", "OfflineModeIsEnabled"}:
        return UpstreamError(
            f"the hub did not give the model {model}: {first}", hint="check the network, or give a folder that holds it"
        )
    return ScaError(f"the model {model} cannot be loaded: {first}")
