"""Instructions that are spoken: the sound of a request, and its recognition."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from anyio import to_thread
from numpy.typing import NDArray

from sca.audio.pcm import pcm16_samples
from sca.config import Settings
from sca.infer.recognition.base import RecognizerEngine
from sca.infer.recognition.registry import load_recognizer, recognizer_problem
from sca.infer.server.core.errors import RequestRejectedError
from sca.infer.server.http.form import check_not_compressed, read_request_body
from sca.infer.server.http.upload import decode_upload
from sca.units import HEARD_HZ

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["MAX_SPEECH_S", "LoadRecognizer", "SpokenInstructions", "read_speech"]

MAX_SPEECH_S = 30
"""The longest spoken instruction, in seconds."""
_MAX_PCM_BYTES = MAX_SPEECH_S * HEARD_HZ * 2
_MAX_WAV_BYTES = MAX_SPEECH_S * 48_000 * 2 * 2 + 65_536
"""Stereo at 48 kHz, int16, with its header."""
_WAV_TYPES = ("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave")
_PCM_TYPE = "audio/pcm"
_ANSWER_S = 60.0
"""After this time, recognition has failed."""

LoadRecognizer = Callable[[str | None, Settings], RecognizerEngine]


class SpokenInstructions:
    """Recognizes one instruction at a time. The recognizer is loaded for the first one, and again after a failure to load.

    Args:
        settings: The settings of the recognizer.
        load: Loads it, as `load_recognizer`.
    """

    def __init__(self, settings: Settings, load: LoadRecognizer = load_recognizer) -> None:
        self._settings, self._load = settings, load
        self._engine: RecognizerEngine | None = None
        self._busy = threading.Lock()

    @property
    def problem(self) -> str | None:
        """Why nothing can be recognized; None if nothing is known against it. Nothing is loaded."""
        return None if self._engine is not None else recognizer_problem(self._settings)

    def check(self) -> None:
        """Check that a recognizer is available.

        Raises:
            RequestRejectedError: There is none (503).
        """
        if problem := self.problem:
            raise RequestRejectedError(503, f"no speech is recognized: {problem}", close=True)

    def recognize(self, samples: NDArray[np.float32]) -> str:
        """Return the words of a recording. Takes its time.

        Args:
            samples: Float32 mono `(n,)` at 16 kHz.

        Raises:
            RequestRejectedError: Another recording is being recognized (503), there are no words (422), or recognition
                takes too long (504).
            ScaError: The recognizer cannot be loaded, or fails.
        """
        if not self._busy.acquire(blocking=False):
            raise RequestRejectedError(503, "another instruction is being recognized", retry_after_s=1)
        try:
            if self._engine is None:
                self._engine = self._load(None, self._settings)
            text = _words(self._engine, samples)
        finally:
            self._busy.release()
        if not text:
            raise RequestRejectedError(422, "no words were recognized")
        return text


def _words(engine: RecognizerEngine, samples: NDArray[np.float32]) -> str:
    recognizer = engine.open()
    try:
        recognizer.start_processing()
        recognizer.put_audio_chunk(samples)
        recognizer.finish()
        return recognizer.get_final(_ANSWER_S).text.strip()
    except TimeoutError as error:
        raise RequestRejectedError(504, f"nothing was recognized within {_ANSWER_S:g} s") from error
    finally:
        recognizer.close()


async def read_speech(request: "Request", settings: Settings) -> NDArray[np.float32]:
    """Return the sound in the body of a request: float32 mono `(n,)` at 16 kHz.

    Args:
        request: The request. Its body is a WAV file, or with the type audio/pcm int16 little-endian mono at 16 kHz.
        settings: The settings with the time limit of bodies.

    Raises:
        RequestRejectedError: The body has another type or is compressed (415), is too large or too long (413), is too
            slow (408), or is not sound (422).
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _PCM_TYPE and kind not in _WAV_TYPES:
        raise RequestRejectedError(
            415, "send a WAV file as audio/wav, or int16 mono at 16 kHz as audio/pcm", close=True
        )
    check_not_compressed(request)
    max_bytes = _MAX_PCM_BYTES if kind == _PCM_TYPE else _MAX_WAV_BYTES
    data = await read_request_body(request, max_bytes, settings.serve)
    if not data:
        raise RequestRejectedError(422, "the body is empty")
    if kind != _PCM_TYPE:
        return await to_thread.run_sync(decode_upload, data, MAX_SPEECH_S)
    if len(data) % 2:
        raise RequestRejectedError(422, "the body has half a sample: samples are int16")
    return pcm16_samples(data)
