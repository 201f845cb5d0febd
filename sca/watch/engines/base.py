"""The interface of a vision engine: pictures and an instruction in; text, and for some engines speech, out.

An engine opens one session for each video. The session gets one request a cycle and answers piece by piece. All calls of a
session come from one worker thread, except `cancel`, which may come from any thread at any time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sca.watch.frames import VideoFrame

__all__ = [
    "AudioPiece",
    "Density",
    "Piece",
    "Question",
    "TextPiece",
    "WatchEngine",
    "WatchEngineInfo",
    "WatchRequest",
    "WatchSession",
]

Density = Literal["minimal", "brief", "normal"]
"""The length of an answer: a few words, one sentence, up to three sentences."""


@dataclass(frozen=True, slots=True)
class WatchEngineInfo:
    """The properties that an engine declares.

    Attributes:
        name: The name of the engine.
        summary: A one-line description for users.
        device: Where it runs, for users, such as `cpu`, `cuda:0` or the address of a server.
        speaks: Whether it returns `AudioPiece`. If not, a speech engine reads its text.
        follows_instruction: Whether the instruction has an effect.
        asks: Whether it may return `Question`.
        every_frame: Whether it should see each sampled frame in order, also between answers (`WatchSession.see`).
        sample_fps: How many pictures a second it should see; None leaves it to the setting of the capture.
        usual_delay_s: The usual time from a picture to the first sound about it, in seconds, which is the delay of the picture
            at the start; None leaves it to `watch.stream_delay_init`.
        max_side: Pictures are scaled down to this longest side, in pixels, before they are given to it; None for never.
    """

    name: str
    summary: str
    device: str = "cpu"
    speaks: bool = False
    follows_instruction: bool = True
    asks: bool = False
    every_frame: bool = False
    sample_fps: float | None = None
    usual_delay_s: float | None = None
    max_side: int | None = None


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """A request of one cycle.

    Attributes:
        cycle: Counts the cycles of the session from 0.
        frames: The pictures to look at, the oldest first; at least one. The answer is about the last one.
        instruction: What to do, such as "Comment on the match."; empty for none.
        system: The system prompt of the profile; empty for none.
        density: How much to say.
        last_answer: The last answer, not to be repeated; empty for none.
        findings: Answers to earlier questions (`Question`) that are new.
        max_tokens: The most tokens of the answer.
        names: Names as they are written on the screen, such as `ARS`, and as they are spoken.
    """

    cycle: int
    frames: tuple[VideoFrame, ...]
    instruction: str = ""
    system: str = ""
    density: Density = "brief"
    last_answer: str = ""
    findings: tuple[str, ...] = ()
    max_tokens: int = 150
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TextPiece:
    """The next characters of the answer.

    Attributes:
        text: The characters.
        about_us: `VideoFrame.time_us` of the picture that they are about; None for the last picture of the request.
    """

    text: str
    about_us: int | None = None


@dataclass(frozen=True, slots=True)
class AudioPiece:
    """The next samples of the spoken answer, from an engine with a voice.

    Attributes:
        samples: Float32 mono `(n,)` in [-1, 1].
        sample_rate: In Hz, the same for all pieces of a session.
    """

    samples: NDArray[np.float32] = field(repr=False)
    sample_rate: int


@dataclass(frozen=True, slots=True)
class Question:
    """A question that the engine hands on to another model; its answer comes back in `WatchRequest.findings`.

    Attributes:
        text: The question.
    """

    text: str


Piece = TextPiece | AudioPiece | Question
"""What a session returns."""


class WatchSession(Protocol):
    """One video that an engine looks at."""

    def answer(self, request: WatchRequest) -> Iterator[Piece]:
        """Look at the pictures and answer.

        Args:
            request: The pictures and what to do.

        Yields:
            The answer in pieces, as early as they are known. No piece, or a silence word such as `...`, means silence.
            Closing the iterator, or `cancel`, ends the answer.

        Raises:
            ScaError: This cycle failed; the next one may succeed.
        """
        ...

    def see(self, frame: VideoFrame) -> bool:
        """Receive a sampled frame between answers. Called only for engines with `WatchEngineInfo.every_frame`.

        Args:
            frame: The next sampled frame. `answer` may receive it again.

        Returns:
            Whether `answer` has a remark now, and need not wait for the next cycle.
        """
        return False

    def cancel(self) -> None:
        """End the answer that is in progress: at most the piece in hand is still returned."""
        ...

    def close(self) -> None:
        """Release what the session holds. A second call has no effect."""
        ...


@runtime_checkable
class WatchEngine(Protocol):
    """A loaded model, a server, or anything that behaves like one.

    Attributes:
        info: Its properties.
    """

    @property
    def info(self) -> WatchEngineInfo:
        """Its properties."""
        ...

    def open(self) -> WatchSession:
        """Open a session.

        Raises:
            ScaError: The engine cannot open a session.
        """
        ...

    def close(self) -> None:
        """Release the model. A second call has no effect."""
        return  # without it, mypy takes the method for abstract
