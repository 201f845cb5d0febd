"""The turn of the user on its way to the server: pieces that are sent while the user speaks, and kept to be sent again."""

from collections import deque
from dataclasses import dataclass

import numpy as np

from sca.audio.pcm import INT16_MAX, pcm16_bytes
from sca.audio.resample import StreamResampler
from sca.infer.engines.turn_taking import AudioHistory, TurnUpdate
from sca.infer.frames import AudioInput
from sca.units import HEARD_HZ

__all__ = ["TurnRequest", "TurnUpload"]

_HISTORY_S = 20
"""How far before the present a turn can start, at most: the longest padding that a client may set."""

_LEAST_PIECES = 2
"""Pieces before the first one is sent: two chunks with speech. Shorter noises are not sent."""


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """The audio to answer.

    Attributes:
        pieces: All of it.
        unsent: What of it is not sent yet.
    """

    pieces: tuple[bytes, ...]
    unsent: tuple[bytes, ...]


class TurnUpload:
    """Collects the audio of turns.

    A turn that is found starts one chunk before its first chunk with speech, and ends with the chunk that ends it. Turns
    that are given (`SessionConfig.turns`) have the places of their signals, and several may become one request.

    Args:
        input_hz: The sample rate of the server.
        most_pieces: How many pieces of a turn to keep.
        follows: Whether the turns are given.

    Attributes:
        must_discard: Whether the server has audio that belongs to no turn. After it is discarded, call `send_again`.
    """

    def __init__(self, input_hz: int, most_pieces: int, *, follows: bool) -> None:
        self._input_hz, self._most_pieces, self._follows = input_hz, most_pieces, follows
        self._history = AudioHistory(_HISTORY_S * HEARD_HZ)
        self._starts = deque([0], maxlen=2)  # of the latest chunk and the one before it
        self.must_discard = False
        self._start()

    def _start(self) -> None:
        self._resampler = StreamResampler(HEARD_HZ, self._input_hz)
        self._pieces: list[bytes] = []
        self._whole = 0  # pieces of turns that are over
        self._unsent = 0
        self._at: int | None = None  # up to where the turn in progress was added; None if there is none

    def push(self, audio: AudioInput, update: TurnUpdate) -> TurnRequest | None:
        """Add a chunk.

        Args:
            audio: The chunk.
            update: What the chunk means for the turns.

        Returns:
            What is to be answered with this chunk; None if nothing is.
        """
        self._starts.append(self._history.end)
        if self._follows:
            return self._follow(audio, update)
        self._history.add(audio.samples)
        if update.in_turn or update.turn is not None:
            if self._at is None:
                self._at = self._starts[0]
            self._extend(self._history.end)
        if update.turn is not None:
            self._end(self._history.end)
            return self._request()
        if not update.in_turn and self._at is not None:
            self._drop()
        return None

    def _follow(self, audio: AudioInput, update: TurnUpdate) -> TurnRequest | None:
        if audio.sound_start > self._history.end:  # chunks were dropped
            self._history.add(np.zeros(audio.sound_start - self._history.end, np.float32))
        self._history.add(audio.sound)
        request: TurnRequest | None = None
        for signal in audio.signals:
            match signal.kind:
                case "speech":
                    self._at = signal.start
                case "discard":
                    self._drop()
                case "turn":
                    self._at = signal.start if self._at is None else self._at
                    self._extend(signal.end)
                    self._end(signal.end)
                case "answer" if update.turn is not None:
                    request = self._request()
        self._extend(self._history.end)
        return request

    def _request(self) -> TurnRequest:
        pieces = tuple(self._pieces)
        request = TurnRequest(pieces, pieces if self.must_discard else self.unsent())
        self._start()
        return request

    def _extend(self, end: int) -> None:
        """Add the audio of the turn in progress up to a position."""
        if self._at is not None and end > self._at:
            self._add(self._resampler.push(self._history.slice(self._at, end)))
            self._at = end

    def _end(self, end: int) -> None:
        self._add(self._resampler.flush())
        self._at = None
        self._whole = len(self._pieces)

    def _drop(self) -> None:
        """Forget the turn in progress, which is none."""
        added = len(self._pieces) - self._whole
        self.must_discard = self.must_discard or self._unsent < added
        del self._pieces[self._whole :]
        self._unsent = max(0, self._unsent - added)
        self._at = None
        self._resampler = StreamResampler(HEARD_HZ, self._input_hz)

    def _add(self, samples: "np.ndarray[tuple[int], np.dtype[np.float32]]") -> None:
        if not len(samples):
            return
        self._pieces.append(pcm16_bytes(samples, INT16_MAX))
        self._unsent += 1
        if len(self._pieces) > self._most_pieces:
            del self._pieces[0]
            self._whole = max(0, self._whole - 1)
            self._unsent = min(self._unsent, len(self._pieces))

    @property
    def is_sent(self) -> bool:
        """Whether the server has some of it."""
        return self._unsent < len(self._pieces)

    def unsent(self) -> tuple[bytes, ...]:
        """Return the pieces that are not sent yet."""
        return tuple(self._pieces)[-self._unsent :] if self._unsent else ()

    def ready(self) -> tuple[bytes, ...]:
        """Return the pieces that can be sent before the answer is requested."""
        return self.unsent() if len(self._pieces) >= _LEAST_PIECES else ()

    def sent(self) -> None:
        """Mark all pieces as sent."""
        self._unsent = 0

    def send_again(self) -> None:
        """Mark all pieces as not sent."""
        self._unsent = len(self._pieces)
        self.must_discard = False
