"""The input audio buffer of the realtime protocol: what was appended, for the VAD to look at, then kept for the engine to hear.

Knows no socket and no session; counts in samples at 16 kHz. Synchronous.
"""

import base64
import binascii
from collections import deque

import numpy as np

from sca.infer.server.protocols.realtime.events import RealtimeError
from sca.infer.server.ws.audio_codec import WireAudioFormat, WireDecoder
from sca.units import HEARD_HZ

__all__ = ["InputBuffer"]

_MOST_S = 120  # of a client that appends faster than it is heard, or never commits
_LEAST_COMMIT_MS = 100  # as the original has it


class InputBuffer:
    """fresh: whether there is sound that nobody has looked at.   kept: whether there is some that the engine may hear later."""

    def __init__(self, sound_format: WireAudioFormat) -> None:
        self._wire = WireDecoder(sound_format)
        self._fresh: deque[np.ndarray] = deque()
        self._kept: deque[np.ndarray] = deque()
        self._held = 0
        self._uncommitted = 0

    @property
    def fresh(self) -> bool:
        """See the class."""
        return bool(self._fresh)

    @property
    def kept(self) -> bool:
        """See the class."""
        return bool(self._kept)

    def set_format(self, sound_format: WireAudioFormat) -> None:
        """What is appended from now on has another format."""
        self.flush()
        self._wire = WireDecoder(sound_format)

    def append(self, audio: object) -> None:
        """Base64 of the client. Raises `RealtimeError` for what is none, and when too much waits."""
        if not isinstance(audio, str):
            raise RealtimeError("audio is text: base64", "missing_required_parameter", "audio")
        try:
            data = base64.b64decode(audio, validate=True)
        except (binascii.Error, ValueError) as error:
            raise RealtimeError("audio is not base64", "invalid_audio", "audio") from error
        if self._held > _MOST_S * HEARD_HZ:
            raise RealtimeError(f"{_MOST_S} s of sound wait, and that is the limit", "input_audio_buffer_full")
        self._take(self._wire.push(data))

    def flush(self) -> None:
        """The sound appended so far ends here: what the resampler kept back is heard too."""
        self._take(self._wire.flush())

    def _take(self, samples: np.ndarray) -> None:
        if len(samples):
            self._held += len(samples)
            self._fresh.append(samples)

    def look(self, most: int) -> np.ndarray:
        """The next `most` samples, or fewer, of what is fresh; they belong to the turn that is not committed yet.

        Whoever takes them hears them, or gives them back with `keep`.
        """
        first = self._fresh.popleft()
        samples, rest = first[:most], first[most:]
        if len(rest):
            self._fresh.appendleft(rest)
        self._held -= len(samples)
        self._uncommitted += len(samples)
        return samples

    def hush(self, samples: np.ndarray) -> None:
        """Silence was heard, because the client sent nothing; it counts as if it had."""
        self._uncommitted += len(samples)

    def keep(self, samples: np.ndarray) -> None:
        """They were looked at, and the engine may hear them later."""
        self._held += len(samples)
        self._kept.append(samples)

    def keep_all(self) -> None:
        """Without a VAD nothing looks at the sound before it is asked for."""
        while self._fresh:
            self.keep(self.look(len(self._fresh[0])))

    def hear(self) -> np.ndarray:
        """The oldest of what is kept."""
        samples = self._kept.popleft()
        self._held -= len(samples)
        return samples

    def commit(self) -> None:
        """The turn is over. Raises `RealtimeError` when there is next to nothing in it."""
        if self._uncommitted < _LEAST_COMMIT_MS * HEARD_HZ // 1000:
            has = self._uncommitted * 1000 / HEARD_HZ
            raise RealtimeError(
                f"the buffer holds {has:.0f} ms, and a turn has at least {_LEAST_COMMIT_MS} ms",
                "input_audio_buffer_commit_empty",
            )
        self._uncommitted = 0

    def turn_over(self) -> None:
        """The VAD says that the turn is over."""
        self._uncommitted = 0

    def clear(self) -> None:
        """Forget what was not committed, as far as it was not heard."""
        self._wire.flush()
        self._held -= sum(map(len, self._fresh))
        self._fresh.clear()
        while self._uncommitted > 0 and self._kept:
            last = len(self._kept.pop())
            self._uncommitted -= last
            self._held -= last
        self._uncommitted = 0
