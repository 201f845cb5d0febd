"""The data that flows through a live session: input chunks, thoughts, output audio and control frames.

Times in frames are integer sample counts at 16 kHz since the start of the session (the sample clock of the session).
The length of output audio is counted at its own rate.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sca.audio.mel import MEL_BINS
from sca.infer.messages import ToolCall
from sca.infer.requests import Request
from sca.units import SPOKEN_HZ

__all__ = [
    "NO_FEATURES",
    "AnswerTiming",
    "AudioInput",
    "AudioOutput",
    "ControlFrame",
    "ErrorFrame",
    "Frame",
    "Interrupt",
    "Lag",
    "Signal",
    "ThoughtPacket",
    "TurnEnd",
    "TurnSignal",
    "UserText",
    "WrittenEnd",
    "WrittenText",
]

NO_FEATURES: NDArray[np.float32] = np.zeros((1, MEL_BINS, 0), np.float32)
"""`AudioInput.features` for an engine that does not use features."""
NO_FEATURES.setflags(write=False)


@dataclass(frozen=True, slots=True)
class TurnSignal:
    """A decision about the turns of the user, for sessions with `SessionConfig.turns` "given".

    Attributes:
        kind: "speech": a turn begins, and may turn out to be none. "discard": it was none. "turn": the turn from
            `start` to `end` is over. "answer": answer all turns that are over and not answered.
        start: Where the turn starts, in samples of sound (`AudioInput.sound_start`).
        end: Where it ends.
    """

    kind: Literal["speech", "discard", "turn", "answer"]
    start: int = 0
    end: int = 0


Signal = TurnSignal | Request
"""What an engine receives with a chunk besides audio. Requests are only for engines with `EngineInfo.takes_text`."""


@dataclass(frozen=True, slots=True)
class AudioInput:
    """One chunk of input audio: what an engine receives per step.

    Attributes:
        features: Log-mel of this chunk alone, float32 `(1, 128, T)`, equal to `sca.audio.mel.log_mel(samples)`. It is
            `(1, 128, 0)` if `EngineInfo.uses_features` is False.
        samples: Float32 mono `(n,)` at 16 kHz in [-1, 1].
        chunk_index: The position of the chunk on the grid. A gap means that chunks were dropped.
        timestamp: The time of the first sample on the sample clock.
        added_silence: How many samples at the end are not sound of the user but silence with which the chunk was filled
            so that the engine can be stepped.
        sound_start: The position of the first sample in the sound of the user, which does not include added silence.
        signals: What was decided about the turns of the user, and the requests of the client, in order. Empty unless
            `SessionConfig.turns` is "given".
    """

    features: NDArray[np.float32]
    samples: NDArray[np.float32]
    chunk_index: int
    timestamp: int
    added_silence: int = 0
    sound_start: int = 0
    signals: tuple[Signal, ...] = ()

    @property
    def sound(self) -> NDArray[np.float32]:
        """The samples without added silence."""
        return self.samples[: len(self.samples) - self.added_silence]


@dataclass(frozen=True, slots=True)
class ThoughtPacket:
    """The text that an engine generated for a chunk.

    Attributes:
        hidden_states: `(1, seq, dim)` in the array type of the engine, or None.
        text_token_str: The text of the tokens.
        token_ids: The text tokens, including the silence token.
        chunk_index: The chunk.
    """

    hidden_states: object
    text_token_str: str
    token_ids: tuple[int, ...]
    chunk_index: int


@dataclass(frozen=True, slots=True)
class AudioOutput:
    """Output audio and the turn it belongs to. The frame is stale once its turn is interrupted.

    Attributes:
        audio_bytes: Int16 little-endian mono.
        sample_rate: The rate in Hz. The live loop accepts 24000 only.
        text_log: The words spoken in the audio; may be empty.
        chunk_index: The latest input chunk when the audio was generated.
        turn_id: The turn.
        non_finite: Number of samples that the engine computed as NaN or infinite; `audio_bytes` has silence there.
    """

    audio_bytes: bytes
    sample_rate: int
    text_log: str
    chunk_index: int
    turn_id: int
    non_finite: int = 0

    @property
    def num_samples(self) -> int:
        """The length in samples, at the rate of the frame."""
        return len(self.audio_bytes) // 2

    @property
    def format_error(self) -> str | None:
        """Why the audio cannot be played, or None if it can."""
        if self.sample_rate != SPOKEN_HZ:
            return f"audio at {self.sample_rate} Hz; output audio must have {SPOKEN_HZ} Hz"
        if len(self.audio_bytes) % 2:
            return f"{len(self.audio_bytes)} bytes of audio, but an int16 sample has 2 bytes"
        return None


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """Turn `turn_id` is complete: all its audio precedes this frame.

    Attributes:
        turn_id: The turn.
        sample: The time.
        calls: The tools of the client that the turn calls.
    """

    turn_id: int
    sample: int
    calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Turn `turn_id` is interrupted: its remaining audio, and that of earlier turns, is stale.

    Attributes:
        turn_id: The turn.
        sample: The time.
        by: The cause: the listener ("listener") or the transport of the client ("door"). The values are part
            of the file format of recordings and of the metrics.
    """

    turn_id: int
    sample: int
    by: Literal["listener", "door"] = "listener"


@dataclass(frozen=True, slots=True)
class Lag:
    """The session is behind real time.

    Attributes:
        turn_id: The latest turn.
        sample: The time.
        behind_chunks: Input chunks that are not stepped yet, including the one in the engine.
        dropped_chunks: How many of them were dropped now.
        reason: A backlog of chunks, or a step that exceeds its deadline.
    """

    turn_id: int
    sample: int
    behind_chunks: int
    dropped_chunks: int
    reason: Literal["backlog", "deadline"] = "backlog"


@dataclass(frozen=True, slots=True)
class ErrorFrame:
    """An error, as one line that may be shown to the user. A fatal error ends the session."""

    turn_id: int
    sample: int
    message: str
    fatal: bool = True


@dataclass(frozen=True, slots=True)
class UserText:
    """The words of the user, from an engine that recognizes them.

    Attributes:
        text: The text of the turn so far.
        sample: The time.
        is_final: Whether the turn is over and its text will not change.
    """

    text: str
    sample: int
    is_final: bool = True


@dataclass(frozen=True, slots=True)
class AnswerTiming:
    """How long the parts of an engine took until the first sound of an answer. It precedes that sound.

    Attributes:
        turn_id: The turn.
        sample: The time.
        stages_ms: The name of each part in the order of their work, and its time in ms. The sum is the time from the
            end of the user's speech to the first sound.
    """

    turn_id: int
    sample: int
    stages_ms: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class WrittenText:
    """A piece of a written answer.

    Attributes:
        answer_id: The `AnswerRequest.id`.
        text: The text that it adds.
    """

    answer_id: str
    text: str


@dataclass(frozen=True, slots=True)
class WrittenEnd:
    """A written answer is complete.

    Attributes:
        answer_id: The `AnswerRequest.id`.
        calls: The tools of the client that it calls.
        error: Why it failed, as one line; None if it did not.
    """

    answer_id: str
    calls: tuple[ToolCall, ...] = ()
    error: str | None = None


ControlFrame = TurnEnd | Interrupt | Lag | ErrorFrame | AnswerTiming
Frame = ThoughtPacket | AudioOutput | UserText | WrittenText | WrittenEnd | ControlFrame
