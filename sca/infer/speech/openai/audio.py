"""The body of a speech response, in pieces of any size, to samples and word times.

    stream format   body
    audio           PCM or a WAV file
    sse             `data: {"type": "speech.audio.delta", "audio": BASE64}`, then `speech.audio.done`
    captions        a JSON object per line: `{"audio": BASE64, "timestamps": [{"word", "start_time", "end_time"}]}`

Source of the events: the types of openai-python 2.0; of the captions: `/dev/captioned_speech` of remsky/Kokoro-FastAPI 0.2.
"""

import base64
import binascii
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import override

from sca.audio.pcm import pcm16_samples
from sca.config import SpeechConfig

__all__ = ["AudioError", "AudioReader", "Caption", "Heard", "reader_of"]

_MAX_LINE_BYTES = 64 << 20
_MAX_HEADER_BYTES = 1 << 16
_COMPRESSED = {b"ID3": "MP3", b"\xff\xfb": "MP3", b"\xff\xf3": "MP3", b"OggS": "Ogg", b"fLaC": "FLAC"}
_PCM, _EXTENSIBLE = 1, 0xFFFE


class AudioError(Exception):
    """The body is not what was requested. The message continues "the server sent …".

    Attributes:
        hint: What to do about it.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class Caption(BaseModel):
    """A word with its times in seconds since the start of the audio."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    word: str
    start_time: float = Field(ge=0)
    end_time: float = Field(ge=0)


class _Event(BaseModel):
    """The fields of an event or a line that are used. Servers add others."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    type: str | None = None
    audio: str | None = None
    timestamps: list[Caption] | None = None
    error: object = None


@dataclass(frozen=True, slots=True)
class Heard:
    """A piece of a response: float32 `(n,)`, and words whose times became known."""

    samples: NDArray[np.float32]
    words: tuple[Caption, ...] = ()


class AudioReader(Protocol):
    """Reads a body."""

    def push(self, data: bytes) -> Iterator[Heard]:
        """Yield what is complete."""
        ...

    def finish(self) -> Iterator[Heard]:
        """Yield the rest; the body has ended.

        Raises:
            AudioError: It is not complete.
        """
        ...


def reader_of(speech: SpeechConfig, content_type: str) -> AudioReader:
    """Return the reader of a response.

    Args:
        speech: The requested formats.
        content_type: The header `content-type`.
    """
    if speech.stream_format == "audio":
        return _Samples(speech.sample_rate, is_wav=speech.response_format == "wav")
    return _Events(speech, is_sse="event-stream" in content_type)


class _Samples(AudioReader):
    """PCM, or a WAV file whose header may state a length that is not known yet."""

    def __init__(self, rate_hz: int, *, is_wav: bool) -> None:
        self._rate_hz, self._is_wav = rate_hz, is_wav
        self._in_header = True
        self._rest = b""

    @override
    def push(self, data: bytes) -> Iterator[Heard]:
        self._rest += data
        if self._in_header:
            if len(self._rest) < 4:
                return
            self._refuse_others()
            if self._is_wav:
                start = self._data_start()
                if start is None:
                    return
                self._rest = self._rest[start:]
            self._in_header = False
        whole = len(self._rest) // 2 * 2
        if whole:
            samples, self._rest = pcm16_samples(self._rest[:whole]), self._rest[whole:]
            yield Heard(samples)

    @override
    def finish(self) -> Iterator[Heard]:
        if self._is_wav and self._in_header:
            raise AudioError("a WAV file that is cut off in its header" if self._rest else "an empty body")
        if len(self._rest) % 2:
            raise AudioError("half a sample at the end: the audio is cut off, or not 16-bit PCM")
        return iter(())

    def _refuse_others(self) -> None:
        start = self._rest[:4]
        other = next((name for magic, name in _COMPRESSED.items() if start.startswith(magic)), None)
        if other is not None:
            raise AudioError(f"{other} instead of {'WAV' if self._is_wav else 'PCM'}", "it ignores response_format")
        if start == b"RIFF" and not self._is_wav:
            raise AudioError("a WAV file instead of PCM", "set speech.response_format to wav")
        if start.lstrip()[:1] in (b"{", b"<") and not self._is_wav and start.isascii():
            raise AudioError("text instead of audio", "is speech.base_url the address of a speech API?")
        if start != b"RIFF" and self._is_wav:
            raise AudioError("something else than a WAV file", "set speech.response_format to pcm")

    def _data_start(self) -> int | None:
        """Return where the samples start; None while the header is not complete."""
        at, known = 12, self._rest
        while len(known) >= at + 8:
            name, size = known[at : at + 4], struct.unpack_from("<I", known, at + 4)[0]
            if name == b"data":
                return at + 8
            if name == b"fmt ":
                if len(known) < at + 24:
                    return None
                self._check_format(*struct.unpack_from("<HHIIHH", known, at + 8))
            at += 8 + size + size % 2
            if at > _MAX_HEADER_BYTES:
                raise AudioError("a WAV file without samples")
        return None

    def _check_format(self, kind: int, channels: int, rate_hz: int, _bytes: int, _block: int, bits: int) -> None:
        if kind not in (_PCM, _EXTENSIBLE) or channels != 1 or bits != 16:
            raise AudioError(f"a WAV file with {channels} channels of {bits} bits (format {kind}), not 16-bit mono PCM")
        if rate_hz != self._rate_hz:
            raise AudioError(
                f"audio of {rate_hz} Hz, and speech.sample_rate is {self._rate_hz}", f"set speech.sample_rate={rate_hz}"
            )


class _Events(AudioReader):
    """Server-sent events or JSON lines with the audio in base64."""

    def __init__(self, speech: SpeechConfig, *, is_sse: bool) -> None:
        self._is_sse, self._captions = is_sse, speech.stream_format == "captions"
        self._audio = _Samples(speech.sample_rate, is_wav=speech.response_format == "wav")
        self._rest = b""
        self._ended = False

    @override
    def push(self, data: bytes) -> Iterator[Heard]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _MAX_LINE_BYTES:
            raise AudioError("an event of more than 64 MiB")
        for line in lines:
            yield from self._line(line)

    @override
    def finish(self) -> Iterator[Heard]:
        yield from self._line(self._rest)
        if not self._captions and not self._ended:
            raise AudioError("no end of the audio: the connection closed before speech.audio.done")
        yield from self._audio.finish()

    def _line(self, line: bytes) -> Iterator[Heard]:
        text = line.decode(errors="replace").strip()
        if self._is_sse:
            if not text.startswith("data:"):
                return
            text = text[5:].strip()
        if not text:
            return
        if text == "[DONE]":
            self._ended = True
            return
        yield from self._event(text)

    def _event(self, text: str) -> Iterator[Heard]:
        try:
            event = _Event.model_validate(json.loads(text))
        except ValidationError as error:
            raise AudioError("an event that is not one of the speech API") from error
        except (ValueError, RecursionError) as error:
            raise AudioError("JSON that is cut off or damaged") from error
        if event.error is not None or event.type == "error":
            raise AudioError(f"an error: {event.error or text[:200]}")
        self._ended = self._ended or event.type == "speech.audio.done"
        words = tuple(event.timestamps or ())
        if words:
            yield Heard(np.zeros(0, np.float32), words)
        if event.audio:
            try:
                data = base64.b64decode(event.audio, validate=True)
            except (binascii.Error, ValueError) as error:
                raise AudioError("audio that is not base64") from error
            yield from self._audio.push(data)
