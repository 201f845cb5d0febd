"""One request of the speech engine openai: the samples and word times of a clause, as they arrive.

    failure                                              exception        exit code
    no server, no audio in time, a broken connection     UpstreamError    6
    401, 403: missing or wrong key                       ConfigError      3
    404: no such endpoint, model or voice                UpstreamError    6
    429, 5xx (tried again before the first audio)        UpstreamError    6
    another status, another format or rate of audio      UpstreamError    6

A thread reads the response, and the reader takes the pieces from a bounded queue. So limits on time are exact, and the end
of the speech does not wait for the network.
"""

import queue
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass

import httpx

from sca.config import SpeechConfig
from sca.errors import ScaError, UpstreamError
from sca.infer.openai_server import Failures, send_again
from sca.infer.speech.openai.audio import AudioError, AudioReader, Heard, reader_of

__all__ = ["SpeechRequest", "hear"]

_MOST_PIECES = 64
_PUT_S = 0.1


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """What is requested.

    Attributes:
        url: The address of the endpoint.
        text: The clause.
        voice: The name of the voice.
    """

    url: str
    text: str
    voice: str


def hear(
    http: httpx.Client, request: SpeechRequest, speech: SpeechConfig, cancelled: threading.Event
) -> Generator[Heard, None, None]:
    """Yield the audio of a clause.

    Args:
        http: The client, with the headers.
        request: What is requested.
        speech: Model, formats and limits.
        cancelled: Ends the wait when it is set.

    Raises:
        ScaError: See the module.
    """
    reading = _Reading(http, request, speech, cancelled)
    try:
        yield from reading.pieces()
    finally:
        reading.close()


class _Reading:
    """Items of the queue are pieces, the exception that ended the clause, or None at its end."""

    def __init__(
        self, http: httpx.Client, request: SpeechRequest, speech: SpeechConfig, cancelled: threading.Event
    ) -> None:
        self._http, self._request, self._speech, self._cancelled = http, request, speech, cancelled
        self._failures = Failures(
            request.url,
            "speech",
            "the audio",
            "does not exist, or has no such model or voice",
            "speech.base_url is the address before /audio/speech; speech.model and --voice are names of the server",
        )
        self._items: queue.Queue[Heard | ScaError | None] = queue.Queue(_MOST_PIECES)
        self._closed = threading.Event()
        self._has_audio = False
        self._started_s = time.monotonic()
        threading.Thread(target=self._run, name="sca speech", daemon=True).start()

    def close(self) -> None:
        """Stop reading; the thread ends with what arrives next."""
        self._closed.set()

    # The reading side

    def pieces(self) -> Iterator[Heard]:
        speech, waits = self._speech, self._speech.first_audio_timeout_s
        deadline_s, until_s = self._started_s + speech.clause_timeout_s, self._started_s + waits
        while not self._cancelled.is_set():
            left_s = min(until_s, deadline_s) - time.monotonic()
            try:
                item = self._items.get(timeout=max(0.0, min(left_s, _PUT_S)))
            except queue.Empty:
                if left_s > _PUT_S:
                    continue  # only to see whether it was cancelled
                raise self._timeout(waits, is_whole=deadline_s <= until_s) from None
            if isinstance(item, ScaError):
                raise item
            if item is None:
                return
            yield item
            waits = speech.stall_timeout_s
            until_s = time.monotonic() + waits
            deadline_s = max(deadline_s, until_s)  # the time that the listener takes is not the server's

    def _timeout(self, limit_s: float, *, is_whole: bool) -> UpstreamError:
        where = self._request.url
        if is_whole:
            message, setting = f"the audio of {where} is not complete after {limit_s:g} s", "clause_timeout_s"
        elif self._has_audio:
            message, setting = (
                f"{where} stopped in the middle of the audio: nothing arrived for {limit_s:g} s",
                "stall_timeout_s",
            )
        else:
            message, setting = f"{where} does not begin the audio within {limit_s:g} s", "first_audio_timeout_s"
        return UpstreamError(message, hint=f"speech.{setting} gives more time")

    # The thread

    def _put(self, item: Heard | ScaError | None) -> None:
        while not self._closed.is_set():
            with suppress(queue.Full):
                self._items.put(item, timeout=_PUT_S)
                return

    def _run(self) -> None:
        try:
            send_again(self._send, retries=self._speech.retries, wait=self._closed.wait)
        except ScaError as error:
            self._put(error)
        else:
            self._put(None)

    def _send(self) -> None:
        """Send the request and queue the pieces of the answer."""
        try:
            with self._http.stream("POST", self._request.url, json=self._body()) as response:
                if response.status_code != 200:
                    raise self._failures.refused(response)
                self._read(response)
        except AudioError as error:
            raise UpstreamError(f"{self._request.url} sent {error}", hint=error.hint) from error
        except httpx.HTTPError as error:
            raise self._failures.broken(error, has_begun=self._has_audio) from error
        except RuntimeError as error:  # the client was closed
            raise UpstreamError(f"the connection to {self._request.url} was closed") from error

    def _body(self) -> dict[str, object]:
        speech = self._speech
        body: dict[str, object] = {
            "model": speech.model,
            "input": self._request.text,
            "voice": self._request.voice,
            "response_format": speech.response_format,
        }
        if speech.instructions is not None:
            body["instructions"] = speech.instructions
        if speech.stream_format == "captions":
            return body | {"stream": True, "return_timestamps": True}
        return body | {"stream_format": speech.stream_format}

    def _read(self, response: httpx.Response) -> None:
        reader: AudioReader = reader_of(self._speech, response.headers.get("content-type", ""))
        for chunk in response.iter_bytes():
            if self._closed.is_set():
                return
            self._hand_over(reader.push(chunk))
        self._hand_over(reader.finish())
        if not self._has_audio:
            raise UpstreamError(f"{self._request.url} answered without audio")

    def _hand_over(self, pieces: Iterator[Heard]) -> None:
        for piece in pieces:
            self._has_audio = self._has_audio or len(piece.samples) > 0
            self._put(piece)
