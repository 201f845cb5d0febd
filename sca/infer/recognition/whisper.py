"""The recognizer `whisper`: a model of faster-whisper that commits words while the speaker is still speaking."""

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import override

from sca.audio.vad import shared_vad
from sca.errors import ScaError
from sca.infer.recognition.base import RecognizerEngine
from sca.infer.recognition.stream import SpeechStream, StreamOptions
from sca.infer.recognition.threaded import ThreadedRecognizer
from sca.infer.recognition.whisper_window import WhisperWindowDecoder
from sca.models.whisper import load_model
from sca.units import HEARD_HZ

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

    from sca.config import Settings
    from sca.config.sections.recognition import RecognitionConfig

__all__ = ["StreamingRecognizer", "StreamingWhisperASR", "WhisperEngine", "load"]


def load(settings: "Settings") -> "WhisperEngine":
    """Load the model that the settings name."""
    return WhisperEngine(settings.recognition)


class WhisperEngine(RecognizerEngine):
    """A loaded model that any number of recognizers share.

    Args:
        config: The model, its language, and when words are committed.

    Raises:
        MissingToolError: The model is not on this machine, or its folder is incomplete.
        UpstreamError: The model cannot be downloaded.
        UsageError: The model or its language does not exist, or the device does not support the compute type.
    """

    def __init__(self, config: "RecognitionConfig") -> None:
        self._config = config
        self.name = Path(config.model).name
        self._vad = shared_vad()
        self._model = _loaded(config)
        WhisperWindowDecoder(self._model, config.language)  # a language that does not exist is an error now

    @property
    def options(self) -> StreamOptions:
        """When streams decode and commit."""
        config, per_ms = self._config, HEARD_HZ // 1000
        return StreamOptions(
            step_samples=config.step_ms * per_ms,
            margin_samples=config.margin_ms * per_ms,
            end_silence_samples=config.end_silence_ms * per_ms,
            pause_samples=config.pause_ms * per_ms,
        )

    def stream(self) -> SpeechStream:
        """Return the stream of one utterance, which works in the thread of the caller."""
        return SpeechStream(WhisperWindowDecoder(self._model, self._config.language), self._vad.stream(), self.options)

    @override
    def open(self) -> "StreamingRecognizer":
        return StreamingRecognizer(self)

    def lower_priority(self) -> None:
        """Give the calling thread the priority of the settings."""
        _lower_priority(self._config.nice)


class StreamingRecognizer(ThreadedRecognizer):
    """A recognizer of live speech that works in a thread: words with their times, while the speaker is speaking.

    Args:
        model: A loaded `WhisperEngine`, which recognizers may share; or the name of a model, a size, a hub id or a folder.
        language: The language code, such as `en`; None detects it. An engine has its own.

    Raises:
        ScaError: The model cannot be loaded.

    Example:
        ```python
        import sca


        def text_of(audio, model):  # float32 (n,) at 16 kHz
            recognizer = sca.StreamingRecognizer(model, language="en")
            recognizer.start_processing()
            for start in range(0, len(audio), 5120):
                recognizer.put_audio_chunk(audio[start : start + 5120])
                print(recognizer.get_latest_partial().text)
            recognizer.finish()
            return recognizer.get_final().text
        ```
    """

    def __init__(self, model: WhisperEngine | str = "whisper-base", *, language: str | None = None) -> None:
        from sca.config.sections.recognition import RecognitionConfig

        engine = (
            model if not isinstance(model, str) else WhisperEngine(RecognitionConfig(model=model, language=language))
        )
        super().__init__(engine.stream, engine.lower_priority)


StreamingWhisperASR = StreamingRecognizer
"""Another name of `StreamingRecognizer`."""


def _loaded(config: "RecognitionConfig") -> "WhisperModel":
    """Load a model in a thread of low priority, which the threads of CTranslate2 inherit."""
    import ctranslate2

    found: list[WhisperModel] = []
    failed: list[Exception] = []

    def work() -> None:
        on_cpu = config.device == "cpu" or not ctranslate2.get_cuda_device_count()
        try:
            if on_cpu:
                _lower_priority(config.nice)
            compute_type = "int8" if config.compute_type == "auto" and on_cpu else config.compute_type
            model, _ = load_model(config.model, config.device, compute_type, 1, config.cpu_threads)
            found.append(model)
        except Exception as error:  # noqa: BLE001 - raised by the caller
            failed.append(error)

    thread = threading.Thread(target=work, name="sca recognizer loading")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    if not found:
        raise ScaError(f"the model {config.model} was not loaded")
    return found[0]


def _lower_priority(nice: int) -> None:
    # On Linux a thread has a priority of its own, and its number is accepted in place of that of a process.
    if sys.platform == "linux" and nice:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
