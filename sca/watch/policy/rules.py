"""What the director is given at the start, and what it asks the session to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from sca.config import WatchConfig
from sca.units import seconds_to_samples
from sca.watch.engines.base import Density, WatchEngineInfo, WatchRequest
from sca.watch.events import Event
from sca.watch.profiles.model import Profile

__all__ = [
    "Action",
    "Ask",
    "AskOther",
    "CancelAnswer",
    "CancelSpeech",
    "EndSay",
    "ReplaceEngine",
    "Rules",
    "Say",
    "Voice",
    "rules_of",
]

Voice = Literal["engine", "speech"]
"""The voice: that of the vision engine, or a speech engine that reads its text."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a session. Times are in microseconds.

    Attributes:
        interval_us: The least time between the starts of two cycles.
        pause_us: The least pause between two utterances.
        change_threshold: The picture must have changed by this, 0 to 255; 0 for no limit.
        patience_us: A cycle at least this often, also without change.
        repeat_us: For how long after an answer the same is not repeated.
        deadline_us: A cycle fails if nothing arrives for this long.
        max_tokens: The most tokens of an answer.
        system: The system prompt.
        instruction: What to do if the user gives no instruction.
        density: The longest answer; None for no limit.
        voice: The voice; None for text only.
        delay_us: The delay of the picture at the start.
        delay_alpha: The weight of the newest cycle in its average.
        least_delay_us: Its lower bound.
        most_delay_us: Its upper bound.
        delayed: Whether pictures are shown with that delay, and speech waits for its picture.
        every_frame: Whether the engine is given every sampled picture.
        delegates: Whether another model answers the questions of the engine.
        frames: The most pictures of a cycle.
        stride: Every how many of the held pictures one is used.
        names: Names as they are written on the screen, and as they are spoken.
    """

    interval_us: int = 1_000_000
    pause_us: int = 1_000_000
    change_threshold: float = 1.0
    patience_us: int = 30_000_000
    repeat_us: int = 30_000_000
    deadline_us: int = 20_000_000
    max_tokens: int = 150
    system: str = ""
    instruction: str = ""
    density: Density | None = None
    voice: Voice | None = "speech"
    delay_us: int = 5_000_000
    delay_alpha: float = 0.2
    least_delay_us: int = 300_000
    most_delay_us: int = 15_000_000
    delayed: bool = True
    every_frame: bool = False
    delegates: bool = False
    frames: int = 4
    stride: int = 2
    names: Mapping[str, str] = field(default_factory=dict)


def rules_of(
    watch: WatchConfig,
    profile: Profile,
    engine: WatchEngineInfo,
    *,
    voice: Voice | None,
    delayed: bool,
    delegates: bool,
    delay_s: float,
) -> Rules:
    """Return the rules of the settings, a profile and an engine, with the delay of the picture at the start."""
    return Rules(
        interval_us=_us(watch.inference_interval),
        pause_us=_us(watch.tts_pause_after),
        change_threshold=watch.change_threshold,
        patience_us=_us(watch.change_patience_s),
        repeat_us=_us(watch.repeat_s),
        deadline_us=_us(watch.answer_timeout_s),
        max_tokens=watch.tts_max_new_tokens,
        system=_system(profile),
        instruction=profile.instruction,
        density=profile.density,
        voice=voice,
        delay_us=_us(delay_s),
        delay_alpha=watch.stream_delay_ema_alpha,
        least_delay_us=_us(watch.stream_delay_min),
        most_delay_us=_us(watch.display_seconds),
        delayed=delayed,
        every_frame=engine.every_frame,
        delegates=delegates and engine.asks,
        frames=watch.frames_per_inference,
        stride=watch.frame_stride,
        names=profile.names,
    )


def _system(profile: Profile) -> str:
    """Return the system prompt, with the names that may be written on the screen."""
    names = "; ".join(f"{written} is {meant}" for written, meant in profile.names.items())
    return f"{profile.system.strip()}\nNames on the screen: {names}.".strip() if names else profile.system.strip()


def _us(seconds: float) -> int:
    return seconds_to_samples(seconds, 1_000_000)


@dataclass(frozen=True, slots=True)
class Ask:
    """Let the engine answer."""

    request: WatchRequest


@dataclass(frozen=True, slots=True)
class CancelAnswer:
    """End the answer in progress."""


@dataclass(frozen=True, slots=True)
class ReplaceEngine:
    """The engine did not end a cancelled answer: leave its thread behind, and open another session of it."""


@dataclass(frozen=True, slots=True)
class Say:
    """Speak the next characters of a cycle."""

    cycle: int
    text: str


@dataclass(frozen=True, slots=True)
class EndSay:
    """The text of a cycle is complete."""

    cycle: int


@dataclass(frozen=True, slots=True)
class CancelSpeech:
    """End the speech of a cycle: what was not made yet is not made."""

    cycle: int


@dataclass(frozen=True, slots=True)
class AskOther:
    """Hand a question to the second model."""

    question: str


Action = Ask | CancelAnswer | ReplaceEngine | Say | EndSay | CancelSpeech | AskOther | Event
"""What the session does; an event goes to the listeners."""
