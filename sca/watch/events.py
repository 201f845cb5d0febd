"""What happens while a video is watched: events for the page, the terminal and recordings."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["CycleEnd", "CycleTimings", "Event", "InstructionSet", "Notice", "SourceState", "Speech", "Text"]


@dataclass(frozen=True, slots=True)
class Text:
    """The next characters of the commentary.

    Attributes:
        cycle: The cycle.
        text: The characters. Silence words and suppressed text never appear.
        about_us: `VideoFrame.time_us` of the picture that they are about.
        at_us: When they were known, on the clock of the session.
    """

    cycle: int
    text: str
    about_us: int
    at_us: int


@dataclass(frozen=True, slots=True)
class Speech:
    """The next samples of the spoken commentary.

    Attributes:
        cycle: The cycle.
        samples: Float32 mono `(n,)` in [-1, 1].
        sample_rate: In Hz.
        play_us: When the first of them is to be played, on the clock of the session. Speech of two cycles never
            overlaps.
    """

    cycle: int
    samples: NDArray[np.float32] = field(repr=False)
    sample_rate: int
    play_us: int


@dataclass(frozen=True, slots=True)
class CycleTimings:
    """How long a cycle took, in seconds. None: it did not come to that.

    Attributes:
        first_text_s: From the start of the cycle to the first text.
        text_s: To the last text.
        first_audio_s: To the first audio.
        end_to_end_s: From the capture of the picture to the first audio, or to the first text without a voice.
        offset_s: How much later than its picture the first audio is played: later than the delayed picture on the page,
            or than the picture itself where none is shown.
    """

    first_text_s: float | None
    text_s: float | None
    first_audio_s: float | None
    end_to_end_s: float | None
    offset_s: float | None = None


@dataclass(frozen=True, slots=True)
class CycleEnd:
    """A cycle ended.

    Attributes:
        cycle: The cycle.
        outcome: "spoke", "silent" (the engine had no remark), "skipped" (the picture did not change, or something
            was still being spoken), "cancelled" or "failed".
        text: The commentary.
        reason: Why it was skipped, cancelled or failed, in one line.
        about_us: `VideoFrame.time_us` of its last picture.
        at_us: When it ended, on the clock of the session.
        timings: How long it took.
        delay_s: By how much the picture is delayed from now on, in seconds.
    """

    cycle: int
    outcome: Literal["spoke", "silent", "skipped", "cancelled", "failed"]
    text: str
    reason: str | None
    about_us: int
    at_us: int
    timings: CycleTimings
    delay_s: float


@dataclass(frozen=True, slots=True)
class InstructionSet:
    """The instruction was set or cleared.

    Attributes:
        instruction: The instruction; empty for none.
        at_us: When, on the clock of the session.
    """

    instruction: str
    at_us: int


@dataclass(frozen=True, slots=True)
class SourceState:
    """The source was opened, lost, connected again, or ended.

    Attributes:
        state: The state.
        at_us: Since when, on the clock of the session.
        detail: The reason, in one line.
    """

    state: Literal["open", "lost", "ended"]
    at_us: int
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that a user should know, in one line.

    Attributes:
        text: The line.
        at_us: When, on the clock of the session.
    """

    text: str
    at_us: int


Event = Text | Speech | CycleEnd | InstructionSet | SourceState | Notice
"""What listeners receive."""
