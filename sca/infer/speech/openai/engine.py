"""The engine openai: any server with `/v1/audio/speech`, one request per clause, heard while it is made.

Word times are those of the server where it gives them (`speech.stream_format=captions`), and estimates otherwise.
"""

import threading
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np
from typing_extensions import override

from sca.config import Settings, SpeechConfig, secret_text
from sca.errors import MissingToolError, UsageError
from sca.infer.openai_server import OPENAI_VOICES, auth_headers, open_client, split_address
from sca.infer.speech.base import PieceVoice, SpeechEngine, SpeechVoice, UnitSound, VoiceInfo, WordTime
from sca.infer.speech.estimated_words import UnitClock, WordClock
from sca.infer.speech.openai.audio import Heard
from sca.infer.speech.openai.captions import CaptionMatcher
from sca.infer.speech.openai.request import SpeechRequest, hear

__all__ = ["OpenAiSpeechEngine", "load", "speech_url"]

_PAUSE_MS = 40
_ENDPOINT, _CAPTIONS = "/audio/speech", "/dev/captioned_speech"


def load(settings: Settings) -> "OpenAiSpeechEngine":
    """Return the engine for the server of `settings.speech`. It connects when a text is spoken."""
    return OpenAiSpeechEngine(settings.speech)


def speech_url(speech: SpeechConfig) -> str:
    """Return the address of the endpoint.

    Args:
        speech: The settings; `base_url` is the address of the server, with or without `/v1` and `/audio/speech`.

    Raises:
        MissingToolError: No server is named.
        UsageError: It is not an address.
    """
    given = speech.base_url
    if given is None:
        raise MissingToolError(
            "the engine openai needs the address of a server",
            hint="set SCA_SPEECH_BASE_URL or --set speech.base_url=URL",
        )
    address = split_address(given, _ENDPOINT)
    if address is None:
        raise UsageError(f"{given!r} is not the address of a speech server", hint="such as http://127.0.0.1:8880/v1")
    origin, path = address
    if speech.stream_format == "captions":
        return f"{origin}{path.removesuffix('/v1')}{_CAPTIONS}"
    return f"{origin}{path}{_ENDPOINT}"


class OpenAiSpeechEngine(SpeechEngine):
    """Voices of a server.

    Args:
        speech: The server.
    """

    name = "openai"

    def __init__(self, speech: SpeechConfig) -> None:
        self._speech = speech

    @override
    def voices(self) -> Sequence[VoiceInfo]:
        names = sorted({*OPENAI_VOICES, self._speech.voice})
        return [VoiceInfo(name, "und", "a voice of the server, or one of OpenAI's") for name in names]

    @property
    def default_voice(self) -> str:
        """The voice of the settings."""
        return self._speech.voice

    def check(self) -> None:
        """Return if a server is named; it is not contacted. Raise `MissingToolError` otherwise."""
        speech_url(self._speech)

    @override
    def open(self, voice: str | None = None) -> SpeechVoice:
        return OpenAiVoice(self._speech, speech_url(self._speech), voice or self._speech.voice)


class OpenAiVoice(PieceVoice):
    """A voice of a server. Which names exist, the server knows.

    Args:
        speech: The settings.
        url: The address of the endpoint.
        voice: The name.

    Raises:
        ConfigError: The key cannot be sent in an HTTP header.
    """

    def __init__(self, speech: SpeechConfig, url: str, voice: str) -> None:
        super().__init__(speech.sample_rate, sentences=True)
        self._config, self._url, self._voice = speech, url, voice
        read_s = max(speech.first_audio_timeout_s, speech.stall_timeout_s) + 1.0  # the reader gives up first
        headers = {"Accept-Encoding": "identity"} | auth_headers(secret_text(speech.api_key), "speech")
        self._http = open_client(url, headers, connect_s=speech.first_audio_timeout_s, read_s=read_s)
        self._clock = WordClock(self.sample_rate)

    @override
    def close(self) -> None:
        super().close()
        self._http.close()

    @override
    def pieces(self, text: str, cancelled: threading.Event) -> Generator[UnitSound, None, None]:
        clock = self._clock.unit(text)
        if not clock.has_words:
            yield UnitSound(np.zeros(0, np.float32), (), clock.skipped)
            return
        request = SpeechRequest(self._url, text.strip(), self._voice)
        with closing(hear(self._http, request, self._config, cancelled)) as pieces:
            if self._config.stream_format == "captions":
                yield from self._captioned(text, pieces, clock)
            else:
                for piece in pieces:
                    yield UnitSound(piece.samples, clock.push(piece.samples))
                yield clock.finish(self.sample_rate * _PAUSE_MS // 1000)

    def _captioned(
        self, text: str, pieces: Generator[Heard, None, None], clock: UnitClock
    ) -> Generator[UnitSound, None, None]:
        """Yield the audio with the words of the server; a word whose sound is over already starts with the next piece."""
        matcher = CaptionMatcher(text, self.sample_rate)
        waiting: list[WordTime] = []
        at = 0
        for piece in pieces:
            waiting += matcher.push(piece.words)
            if not len(piece.samples):
                continue
            end = at + len(piece.samples)
            count = next((n for n, word in enumerate(waiting) if word.start_sample >= end), len(waiting))
            yield UnitSound(piece.samples, tuple(_not_before(word, at) for word in waiting[:count]))
            waiting = waiting[count:]
            at = end
        waiting += matcher.finish(at / self.sample_rate)
        pause = np.zeros(self.sample_rate * _PAUSE_MS // 1000, np.float32)
        late = (replace(word, start_sample=at, end_sample=at + 1, is_estimated=True) for word in waiting)
        yield UnitSound(pause, tuple(late), clock.skipped)


def _not_before(word: WordTime, first: int) -> WordTime:
    if word.start_sample >= first:
        return word
    return replace(word, start_sample=first, end_sample=max(word.end_sample, first + 1), is_estimated=True)
