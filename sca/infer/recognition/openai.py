"""The recognizer `openai`: a server with the endpoint `/v1/audio/transcriptions` of OpenAI. It has final results only.

    failure                                              exception        exit code
    recognition.base_url is not set, 401 or 403          ConfigError      3
    400, 413, 415, 422: the server refuses the request   InputError       5
    no server, no answer in time, a broken connection,
    429, 5xx, another status, not the expected JSON      UpstreamError    6

The audio of an utterance is sent as one WAV when the utterance ends, without the silence around the speech; silence is
not sent. The times of words are requested from servers that have them; otherwise the times are spread over the speech in
proportion to the letters.
"""

import io
import json
import threading
import time
from typing import TYPE_CHECKING

import httpx
import numpy as np
import soundfile
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import override

from sca.audio.vad import SileroVad, shared_vad, speech_segments
from sca.config import secret_text
from sca.errors import ConfigError, InputError, ScaError, UpstreamError
from sca.infer.openai_server import auth_headers, error_text, open_client, split_address
from sca.infer.recognition.base import CommittedWord, Recognition, Recognizer, RecognizerEngine
from sca.infer.recognition.threaded import ThreadedRecognizer, UtteranceStream
from sca.textutil import first_line
from sca.units import HEARD_HZ, seconds_to_samples

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.config.sections.recognition import RecognitionConfig

__all__ = ["OpenAiEngine", "load"]

_MAX_ANSWER_BYTES = 1 << 22
_MARGIN_SAMPLES = HEARD_HZ // 5
_ENDPOINT = "/audio/transcriptions"


def load(settings: "Settings") -> "OpenAiEngine":
    """Return the recognizer of the server that the settings name."""
    return OpenAiEngine(settings.recognition)


class OpenAiEngine(RecognizerEngine):
    """A server that recognizers share.

    Args:
        config: Its address, key, model and time limit.

    Raises:
        ConfigError: The address is not set or not an address, or the key cannot be sent.
    """

    name = "openai"

    def __init__(self, config: "RecognitionConfig") -> None:
        self._config = config
        self._url = _endpoint(config.base_url)
        key = secret_text(config.api_key)
        self._headers = auth_headers(key, "recognition")
        self._vad = shared_vad()

    @override
    def open(self) -> Recognizer:
        return ThreadedRecognizer(lambda: _Upload(self._config, self._url, self._headers, self._vad))


class _TimedWord(BaseModel):
    model_config = ConfigDict(extra="ignore")

    word: str
    start: float = Field(ge=0, le=86_400)
    end: float = Field(ge=0, le=86_400)


class _Answer(BaseModel):
    # Servers add fields of their own.
    model_config = ConfigDict(extra="ignore")

    text: str
    words: list[_TimedWord] | None = None


class _Upload(UtteranceStream):
    """One utterance: it is collected, and sent at its end."""

    def __init__(self, config: "RecognitionConfig", url: str, headers: dict[str, str], vad: SileroVad) -> None:
        self._config, self._url, self._headers, self._vad = config, url, headers, vad
        self._chunks: list[NDArray[np.float32]] = []
        self._result = Recognition()
        self._cancelled = threading.Event()
        self._where = url.removesuffix(_ENDPOINT)

    @property
    @override
    def result(self) -> Recognition:
        return self._result

    @override
    def push(self, samples: NDArray[np.float32], *, every_step: bool = True) -> None:
        self._chunks.append(samples)
        self._result = Recognition(audio_samples=self._result.audio_samples + len(samples))

    @override
    def cancel(self) -> None:
        self._cancelled.set()

    @override
    def finish(self) -> None:
        audio = np.concatenate([np.zeros(0, np.float32), *self._chunks])
        speech = speech_segments(self._vad.probabilities(audio), total_samples=len(audio))
        words: tuple[CommittedWord, ...] = ()
        if speech and not self._cancelled.is_set():
            first = max(speech[0][0] - _MARGIN_SAMPLES, 0)
            sent = audio[first : speech[-1][1] + _MARGIN_SAMPLES]
            words = _words(self._transcribed(sent), speech[0][0] - first, speech[-1][1] - first, first, len(audio))
        self._result = Recognition(words, "", len(audio), is_final=True)

    def _transcribed(self, audio: NDArray[np.float32]) -> _Answer:
        status, text = self._post(audio, with_words=True)
        if status == 400 and "response_format" in text:  # models without word times
            status, text = self._post(audio, with_words=False)
        if status != 200:
            raise self._refusal(status, text)
        try:
            return _Answer.model_validate_json(text)
        except ValidationError as error:
            problem = "incomplete JSON" if not _is_json(text) else "JSON without the fields of a transcription"
            raise UpstreamError(
                f"{self._where} sent {problem}", hint="is recognition.base_url the address of a transcription server?"
            ) from error

    def _post(self, audio: NDArray[np.float32], *, with_words: bool) -> tuple[int, str]:
        """Send the audio and return the status and the body of the answer."""
        wav = io.BytesIO()
        soundfile.write(wav, audio, HEARD_HZ, format="WAV", subtype="PCM_16")
        fields = {"model": self._config.api_model, "response_format": "verbose_json" if with_words else "json"}
        if with_words:
            fields["timestamp_granularities[]"] = "word"
        if self._config.language is not None:
            fields["language"] = self._config.language
        limit_s = self._config.answer_timeout_s
        deadline_s = time.monotonic() + limit_s
        body = bytearray()
        try:
            with (
                open_client(self._url, self._headers, connect_s=limit_s, read_s=limit_s) as client,
                client.stream(
                    "POST",
                    self._url,
                    data=fields,
                    files={"file": ("speech.wav", wav.getvalue(), "audio/wav")},
                ) as response,
            ):
                for chunk in response.iter_bytes():
                    body += chunk
                    if time.monotonic() > deadline_s:
                        raise httpx.ReadTimeout("the answer is incomplete")
                    if self._cancelled.is_set() or len(body) > _MAX_ANSWER_BYTES:
                        break
        except httpx.ConnectTimeout as error:
            raise UpstreamError(f"cannot connect to {self._where}: it does not respond") from error
        except httpx.TimeoutException as error:
            raise UpstreamError(
                f"{self._where} did not answer within {limit_s:g} s",
                hint="recognition.answer_timeout_s gives more time",
            ) from error
        except httpx.HTTPError as error:
            raise UpstreamError(
                f"the request to {self._where} failed: {first_line(error)}",
                hint="is the server running, and is recognition.base_url its address?",
            ) from error
        return response.status_code, bytes(body).decode(errors="replace")

    def _refusal(self, status: int, text: str) -> ScaError:
        message = f"{self._where} answers with status {status}: {error_text(text)}"
        if status in (401, 403):
            return ConfigError(message, hint="set SCA_RECOGNITION_API_KEY to the key of the server")
        if status in (400, 413, 415, 422):
            return InputError(message)
        hint = "the server has too much to do; try again later" if status in (429, 503) else None
        return UpstreamError(message, hint=hint)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _endpoint(base_url: str | None) -> str:
    if base_url is None:
        raise ConfigError(
            "the recognizer openai needs the address of a server",
            hint="set recognition.base_url, such as http://127.0.0.1:8000/v1",
        )
    address = split_address(base_url, _ENDPOINT)
    if address is None:
        raise ConfigError(
            f"recognition.base_url is not the address of a server: {base_url!r}",
            hint="such as http://127.0.0.1:8000/v1",
        )
    return "".join([*address, _ENDPOINT])


def _words(answer: _Answer, start: int, end: int, first: int, total: int) -> tuple[CommittedWord, ...]:
    """Return the words with their positions in the utterance.

    Args:
        answer: The answer of the server.
        start: Where the speech starts in the audio that was sent.
        end: Where it ends.
        first: Where that audio starts in the utterance.
        total: The length of the utterance.
    """
    timed = [
        (word.word.strip(), seconds_to_samples(word.start, HEARD_HZ), seconds_to_samples(word.end, HEARD_HZ))
        for word in answer.words or ()
    ]
    if not timed:
        timed = _spread(answer.text.split(), start, end)
    words: list[CommittedWord] = []
    for text, word_start, word_end in timed:
        earliest = words[-1].end_sample if words else 0
        begins = min(max(first + word_start, earliest), total)
        if text:
            words.append(CommittedWord(text, begins, min(max(first + word_end, begins), total), 1.0))
    return tuple(words)


def _spread(texts: list[str], start: int, end: int) -> list[tuple[str, int, int]]:
    """Divide a stretch of audio among words by their letters."""
    letters = np.cumsum([0, *(len(text) for text in texts)])
    at = (start + letters * (end - start) // max(int(letters[-1]), 1)).tolist()
    return list(zip(texts, at[:-1], at[1:], strict=True))
