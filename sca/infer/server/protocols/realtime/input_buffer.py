"""The input audio buffer of the Realtime protocol, in samples at 16 kHz: audio and requests in the order of their arrival.

Appended audio is new until the engine's input has taken it. A request that belongs to the audio before it, such as a
commit, is taken after that audio.
"""

import base64
import binascii
from collections import deque
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sca.infer.requests import AnswerRequest, Request
from sca.infer.server.protocols.realtime.events import RealtimeError
from sca.infer.server.ws.audio_codec import WireAudioFormat, WireDecoder
from sca.units import HEARD_HZ

__all__ = ["InputBuffer", "InputRequest", "WaitingRequests"]

_MAX_S = 120  # buffered for a client that appends faster than the engine steps
_MAX_WAITING_BYTES = 8 << 20
_REQUEST_BYTES = 1024  # of a request, in addition to its text
_MIN_COMMIT_MS = 100  # as in the original protocol


@dataclass(frozen=True, slots=True)
class InputRequest:
    """A request of the client.

    Attributes:
        kind: End the turn, discard it, answer all turns, or pass `signal` to the engine.
        discarded: How many samples before it were discarded without being taken.
        signal: The request to the engine: how it answers, or something else. None answers as the session does.
    """

    kind: Literal["commit", "clear", "answer", "tell"]
    discarded: int = 0
    signal: Request | None = None


class InputBuffer:
    """The audio of one client.

    Attributes:
        taken: How many samples have been taken, or discarded by `clear`: the position of the next sample in all audio of
            the session.
    """

    def __init__(self, audio_format: WireAudioFormat) -> None:
        self._decoder = WireDecoder(audio_format)
        self._items: deque[NDArray[np.float32] | InputRequest] = deque()
        self._buffered = 0
        self._end = 0  # the position after the latest sample
        self._committed = 0  # the position up to which audio belongs to earlier turns
        self.taken = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to take."""
        return not self._items

    @property
    def next_samples(self) -> int:
        """The length of the oldest audio; 0 if a request is next."""
        return 0 if not self._items or isinstance(self._items[0], InputRequest) else len(self._items[0])

    def set_format(self, audio_format: WireAudioFormat) -> None:
        """Set the format of the audio that is appended from now on."""
        self.flush()
        self._decoder = WireDecoder(audio_format)

    def append(self, audio: object) -> None:
        """Add audio of the client.

        Args:
            audio: The audio in base64, as received.

        Raises:
            RealtimeError: It is not base64, or too much audio is buffered.
        """
        if not isinstance(audio, str):
            raise RealtimeError("audio must be a base64 string", "missing_required_parameter", "audio")
        try:
            data = base64.b64decode(audio, validate=True)
        except (binascii.Error, ValueError) as error:
            raise RealtimeError("audio is not base64", "invalid_audio", "audio") from error
        self._check_room()
        self._add(self._decoder.push(data))

    def append_samples(self, samples: NDArray[np.float32]) -> None:
        """Add audio that did not come in an event: float32 `(n,)` at 16 kHz.

        Raises:
            RealtimeError: Too much audio is buffered.
        """
        self._check_room()
        self._add(samples)

    def _check_room(self) -> None:
        if self._buffered > _MAX_S * HEARD_HZ:
            raise RealtimeError(f"{_MAX_S} s of audio are buffered, and that is the limit", "input_audio_buffer_full")

    def flush(self) -> None:
        """Add the samples that are left in the resampler: the audio ends here."""
        self._add(self._decoder.flush())

    def _add(self, samples: NDArray[np.float32]) -> None:
        if len(samples):
            self._buffered += len(samples)
            self._end += len(samples)
            self._items.append(samples)

    def take(self, max_samples: int) -> NDArray[np.float32] | InputRequest:
        """Remove the oldest request, or up to `max_samples` of the oldest audio."""
        first = self._items.popleft()
        if isinstance(first, InputRequest):
            self.taken += first.discarded
            return first
        samples, rest = first[:max_samples], first[max_samples:]
        if len(rest):
            self._items.appendleft(rest)
        self._buffered -= len(samples)
        self.taken += len(samples)
        return samples

    def commit(self) -> None:
        """End the current turn at the client's request.

        Raises:
            RealtimeError: The turn has less than 100 ms of audio.
        """
        uncommitted = self._end - self._committed
        if uncommitted < _MIN_COMMIT_MS * HEARD_HZ // 1000:
            ms = uncommitted * 1000 / HEARD_HZ
            raise RealtimeError(
                f"the buffer holds {ms:.0f} ms, and a turn needs at least {_MIN_COMMIT_MS} ms",
                "input_audio_buffer_commit_empty",
            )
        self._committed = self._end
        self._items.append(InputRequest("commit"))

    def end_turn(self) -> None:
        """End the current turn with the audio taken so far, because its end was detected."""
        self._committed = max(self._committed, self.taken)

    def request_answer(self, request: AnswerRequest | None = None) -> None:
        """Request an answer to the audio up to here. None for an engine that takes no requests."""
        self._items.append(InputRequest("answer", signal=request))

    def tell(self, request: Request) -> None:
        """Pass a request to the engine, after the audio up to here."""
        self._items.append(InputRequest("tell", signal=request))

    def clear(self) -> None:
        """Discard the audio of the current turn."""
        self._add(self._decoder.flush())
        discarded, told = 0, list[InputRequest]()
        while self._items:
            last = self._items.pop()
            if not isinstance(last, InputRequest):
                discarded += len(last)
            elif last.kind == "tell":
                told.append(last)
            else:
                self._items.append(last)
                break
        self._items.extend(reversed(told))
        self._buffered -= discarded
        self._committed = self._end
        self._items.append(InputRequest("clear", discarded))


class WaitingRequests:
    """Bounds the requests that the engine has not taken, which wait for the next chunk of audio."""

    def __init__(self) -> None:
        self._bytes = 0

    def add(self, size: int, *, is_waiting: bool) -> None:
        """Add a request.

        Args:
            size: Its size in bytes.
            is_waiting: Whether earlier ones wait.

        Raises:
            RealtimeError: Too many wait.
        """
        waiting = (self._bytes if is_waiting else 0) + _REQUEST_BYTES + size
        if waiting > _MAX_WAITING_BYTES:
            raise RealtimeError(
                "too many requests wait for the engine; send audio, or request a response", "rate_limited"
            )
        self._bytes = waiting
