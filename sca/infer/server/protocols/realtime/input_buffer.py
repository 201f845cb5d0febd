"""The input audio buffer of the Realtime protocol, in samples at 16 kHz.

Appended audio is new until the VAD has processed it; then the engine gets it, or it is kept for the engine.
"""

import base64
import binascii
from collections import deque

import numpy as np
from numpy.typing import NDArray

from sca.infer.server.protocols.realtime.events import RealtimeError
from sca.infer.server.ws.audio_codec import WireAudioFormat, WireDecoder
from sca.units import HEARD_HZ

__all__ = ["InputBuffer"]

_MAX_S = 120  # buffered for a client that appends faster than the engine steps, or never commits
_MIN_COMMIT_MS = 100  # as in the original protocol


class InputBuffer:
    """The audio of one client."""

    def __init__(self, audio_format: WireAudioFormat) -> None:
        self._decoder = WireDecoder(audio_format)
        self._new: deque[NDArray[np.float32]] = deque()
        self._kept: deque[NDArray[np.float32]] = deque()
        self._buffered = 0
        self._uncommitted = 0

    @property
    def has_new(self) -> bool:
        """Whether there is audio that the VAD has not processed."""
        return bool(self._new)

    @property
    def has_kept(self) -> bool:
        """Whether there is audio that the VAD has processed and the engine has not got."""
        return bool(self._kept)

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
        if self._buffered > _MAX_S * HEARD_HZ:
            raise RealtimeError(f"{_MAX_S} s of audio are buffered, and that is the limit", "input_audio_buffer_full")
        self._add(self._decoder.push(data))

    def flush(self) -> None:
        """Add the samples that are left in the resampler: the audio ends here."""
        self._add(self._decoder.flush())

    def _add(self, samples: NDArray[np.float32]) -> None:
        if len(samples):
            self._buffered += len(samples)
            self._new.append(samples)

    def take_new(self, max_samples: int) -> NDArray[np.float32]:
        """Remove up to `max_samples` of new audio, which belongs to the current turn.

        The caller passes it to the engine, or returns it with `keep`.
        """
        first = self._new.popleft()
        samples, rest = first[:max_samples], first[max_samples:]
        if len(rest):
            self._new.appendleft(rest)
        self._buffered -= len(samples)
        self._uncommitted += len(samples)
        return samples

    def count_silence(self, samples: int) -> None:
        """Count silence that the engine got because the client sent nothing; it belongs to the current turn."""
        self._uncommitted += samples

    def keep(self, samples: NDArray[np.float32]) -> None:
        """Keep audio that the VAD has processed for the engine."""
        self._buffered += len(samples)
        self._kept.append(samples)

    def keep_all(self) -> None:
        """Keep all new audio for the engine, without a VAD."""
        while self._new:
            self.keep(self.take_new(len(self._new[0])))

    def take_kept(self) -> NDArray[np.float32]:
        """Remove the oldest kept audio."""
        samples = self._kept.popleft()
        self._buffered -= len(samples)
        return samples

    def commit(self) -> None:
        """End the current turn at the client's request.

        Raises:
            RealtimeError: The turn has less than 100 ms of audio.
        """
        if self._uncommitted < _MIN_COMMIT_MS * HEARD_HZ // 1000:
            ms = self._uncommitted * 1000 / HEARD_HZ
            raise RealtimeError(
                f"the buffer holds {ms:.0f} ms, and a turn needs at least {_MIN_COMMIT_MS} ms",
                "input_audio_buffer_commit_empty",
            )
        self._uncommitted = 0

    def end_turn(self) -> None:
        """End the current turn because the VAD detected its end."""
        self._uncommitted = 0

    def clear(self) -> None:
        """Discard the audio of the current turn, except what the engine has got."""
        self._decoder.flush()
        self._buffered -= sum(map(len, self._new))
        self._new.clear()
        while self._uncommitted > 0 and self._kept:
            last = len(self._kept.pop())
            self._uncommitted -= last
            self._buffered -= last
        self._uncommitted = 0
