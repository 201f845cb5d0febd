"""What flows between the parts of a live session: a chunk heard, what was thought, what is said, and control frames.

Knows no device, engine or clock. Times in frames are integer counts of samples at 16 kHz since the session began (the session's
sample clock); sound that is said is counted at its own rate.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from sca.audio.mel import MEL_BINS
from sca.units import SPOKEN_HZ

__all__ = [
    "NO_FEATURES",
    "AudioInput",
    "AudioOutput",
    "ControlFrame",
    "ErrorFrame",
    "Frame",
    "Interrupt",
    "Lag",
    "ThoughtPacket",
    "TurnEnd",
]

NO_FEATURES = np.zeros((1, MEL_BINS, 0), np.float32)
"""`AudioInput.features` for an engine that does not want any."""
NO_FEATURES.setflags(write=False)


@dataclass(frozen=True, slots=True)
class AudioInput:
    """One chunk heard: what an engine gets per step.

    features: log-mel of this chunk alone, float32 `(1, 128, T)`, equal to `sca.audio.mel.log_mel(samples)`; `(1, 128, 0)` for an
    engine whose info says that it wants none.   samples: float32 mono `(n,)` at 16 kHz in [-1, 1].   chunk_index: the place of the
    chunk on the grid; a gap means that chunks were dropped.   timestamp: sample clock of the first sample.
    """

    features: np.ndarray
    samples: np.ndarray
    chunk_index: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class ThoughtPacket:
    """What an engine thought about a chunk.

    hidden_states: `(1, seq, dim)` of the engine's own array kind, or None.   token_ids: the text tokens, also the silence token.
    """

    hidden_states: Any | None
    text_token_str: str
    token_ids: tuple[int, ...]
    chunk_index: int


@dataclass(frozen=True, slots=True)
class AudioOutput:
    """Sound to be said, and the turn it belongs to; when the turn is interrupted, the frame is stale.

    audio_bytes: int16 little-endian mono.   text_log: what is said in it, may be empty.   chunk_index: the chunk that was heard
    last when it was made.
    """

    audio_bytes: bytes
    sample_rate: int
    text_log: str
    chunk_index: int
    turn_id: int

    @property
    def num_samples(self) -> int:
        """How many samples it lasts, at its own rate."""
        return len(self.audio_bytes) // 2

    @property
    def format_error(self) -> str | None:
        """Why this cannot be played, or None when it can."""
        if self.sample_rate != SPOKEN_HZ:
            return f"sound at {self.sample_rate} Hz; what is said has {SPOKEN_HZ} Hz"
        if len(self.audio_bytes) % 2:
            return f"{len(self.audio_bytes)} bytes of sound, and int16 samples have two each"
        return None


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """Turn `turn_id` is over: all its sound came before this frame."""

    turn_id: int
    sample: int


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Turn `turn_id` is cut off: what is left of it, and of earlier turns, is stale from now on."""

    turn_id: int
    sample: int
    by: Literal["listener", "door"] = "listener"


@dataclass(frozen=True, slots=True)
class Lag:
    """The session is behind.

    behind_chunks: chunks heard and not yet stepped (the one in the engine included).   dropped_chunks: how many of them were
    dropped for it just now.   reason: a backlog, or a step that takes longer than its deadline.
    """

    turn_id: int
    sample: int
    behind_chunks: int
    dropped_chunks: int
    reason: Literal["backlog", "deadline"] = "backlog"


@dataclass(frozen=True, slots=True)
class ErrorFrame:
    """Something went wrong, in one line that may be shown to the user; `fatal` ends the session."""

    turn_id: int
    sample: int
    message: str
    fatal: bool = True


ControlFrame = TurnEnd | Interrupt | Lag | ErrorFrame
Frame = ThoughtPacket | AudioOutput | ControlFrame
