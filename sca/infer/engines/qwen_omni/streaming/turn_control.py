"""When a session must be silent: at its start, while the user speaks, and after a turn that was too long.

Pure policy: it receives chunk after chunk whether the user spoke and whether the session is in a turn. Silence at the
start is that of MiniCPM-o (`force_listen_count`); the limit of a turn is a common patch of moshi servers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sca.audio.vad import shared_vad
from sca.config import QwenConfig
from sca.units import Grid

__all__ = ["SpeechDetector", "TurnControl", "TurnLimits"]

_ONSET = 0.5  # probability of speech of a frame of 32 ms, as in `speech_segments`


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """The limits of a session.

    Attributes:
        start_chunks: Number of silent chunks at the start.
        turn_chunks: Longest turn; 0 for no limit.
        pause_chunks: Longest silence after such a turn.
        yield_to_speech: Whether the session is silent while the user speaks.
    """

    start_chunks: int
    turn_chunks: int
    pause_chunks: int
    yield_to_speech: bool

    @classmethod
    def of(cls, qwen: QwenConfig, grid: Grid) -> TurnLimits:
        """Return the limits of settings. Seconds are rounded up to whole chunks."""
        start, turn, pause = (
            math.ceil(Fraction(repr(seconds)) / Fraction(grid.chunk_s))
            for seconds in (qwen.force_listen_s, qwen.max_turn_s, qwen.turn_pause_s)
        )
        return cls(start, turn, pause, qwen.yield_to_speech)

    @property
    def needs_speech(self) -> bool:
        """Whether the limits depend on the speech of the user."""
        return self.yield_to_speech or self.turn_chunks > 0


class TurnControl:
    """The state of one session. Call `must_listen` before each chunk, and `note` after it."""

    def __init__(self, limits: TurnLimits) -> None:
        self._limits = limits
        self._chunks = self._turn = self._pause = 0
        self._pausing = self._user_spoke = self._in_turn = False

    def must_listen(self, user_speaks: bool) -> bool:
        """Return whether the session must be silent in the next chunk.

        Args:
            user_speaks: Whether the user speaks in it.
        """
        if self._pausing:
            over = self._pause >= self._limits.pause_chunks or (self._user_spoke and not user_speaks)
            self._pausing = self._in_turn or not over
            self._user_spoke = self._user_spoke or user_speaks
        starting = self._chunks < self._limits.start_chunks
        return starting or self._pausing or (self._limits.yield_to_speech and user_speaks)

    def note(self, in_turn: bool) -> None:
        """Note whether the session was in a turn at the end of the chunk."""
        self._chunks += 1
        self._in_turn = in_turn
        if self._pausing:
            self._pause += 1
            return
        self._turn = self._turn + 1 if in_turn else 0
        if self._limits.turn_chunks and self._turn >= self._limits.turn_chunks:
            self._turn, self._pause, self._pausing, self._user_spoke = 0, 0, True, False

    def interrupt(self) -> None:
        """Note that the user has interrupted the turn."""
        self._turn, self._pausing, self._in_turn = 0, False, False


class SpeechDetector:
    """Detects with the Silero VAD whether the user speaks in a chunk."""

    def __init__(self) -> None:
        self._stream = shared_vad().stream()

    def speaks(self, samples: NDArray[np.float32]) -> bool:
        """Add a chunk, float32 `(n,)` at 16 kHz, and return whether it has speech."""
        clean = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
        return bool((self._stream.push(clean) > _ONSET).any())
