"""Open a session from the settings: engine, voice, second model and capture, which fit each other."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from sca.config import Settings
from sca.errors import ScaError
from sca.infer.speech.base import SpeechVoice
from sca.infer.speech.registry import open_engine, split_voice
from sca.watch.capture.capture import Capture, CaptureSettings, State
from sca.watch.capture.display import DisplayBuffer
from sca.watch.capture.window import InferenceWindow
from sca.watch.engines.base import WatchEngine, WatchEngineInfo
from sca.watch.engines.registry import load_watch_engine
from sca.watch.events import SourceState
from sca.watch.policy.rules import Voice, rules_of
from sca.watch.profiles.model import Profile
from sca.watch.profiles.store import load_profile
from sca.watch.running.delegate import delegate_of
from sca.watch.running.session import Commentary
from sca.watch.running.spoken_text import SpokenText
from sca.watch.running.voice_worker import VoiceWorker

__all__ = ["OpenOptions", "WatchRun", "monotonic_clock", "open_watch"]


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """What the user of a session decides, beside the settings.

    Attributes:
        muted: Whether the commentary is text only.
        displayed: Whether pictures are shown, with the delay that speech needs.
        pace: Whether a file is read at its own rate, or as fast as it can be.
        profile: The profile; None for that of the settings.
        instruction: The instruction; None for that of the settings.
    """

    muted: bool = False
    displayed: bool = True
    pace: Literal["native", "fast"] = "native"
    profile: Profile | None = None
    instruction: str | None = None


class WatchRun:
    """A session with all that it uses.

    Attributes:
        commentary: The session: listeners, instruction.
        capture: What reads the video.
        display: Its pictures; empty if none are shown.
        engine: The properties of the engine.
        profile: The profile.
        voice: The voice; None for text only.
        clock: The time of the session, in microseconds.
    """

    def __init__(
        self,
        commentary: Commentary,
        capture: Capture,
        display: DisplayBuffer,
        parts: "_Parts",
        clock: Callable[[], int],
    ) -> None:
        self.commentary, self.capture, self.display, self.clock = commentary, capture, display, clock
        self.engine, self.profile, self.voice = parts.engine.info, parts.profile, parts.voice
        self._parts = parts
        self._voice: VoiceWorker | None = None

    def set_profile(self, profile: Profile) -> None:
        """Use another profile from the next cycle on, which starts at once."""
        self.profile = profile
        self.commentary.set_profile(profile)
        if self._voice is not None:
            self._voice.set_spoken(SpokenText(profile))

    def start(self) -> None:
        """Open the video and the session of the engine, and begin. Listeners that exist miss nothing.

        Raises:
            ScaError: The video or the session cannot be opened. `close` is to be called all the same.
        """
        self.capture.open()
        parts, commentary = self._parts, self.commentary
        if parts.open_voice is not None:
            spoken = SpokenText(parts.profile)
            self._voice = VoiceWorker(parts.open_voice, spoken, commentary.on_sound, commentary.on_said)
        commentary.start(self._voice, delegate_of(parts.settings, commentary.on_found))
        self.capture.start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end, see `Commentary.wait`.

        Raises:
            ScaError: The session cannot go on, or the source ended with an error.
        """
        ended = self.commentary.wait(timeout_s)
        if ended and self.capture.error is not None:
            raise self.capture.error
        return ended

    def close(self) -> None:
        """End everything. A second call has no effect."""
        self.capture.close()
        self.commentary.stop()
        self._parts.engine.close()


@dataclass(frozen=True, slots=True)
class _Parts:
    settings: Settings
    engine: WatchEngine
    profile: Profile
    voice: Voice | None
    open_voice: Callable[[], SpeechVoice] | None


def monotonic_clock() -> Callable[[], int]:
    """Return a clock that begins at 0, in microseconds."""
    start_ns = time.monotonic_ns()
    return lambda: (time.monotonic_ns() - start_ns) // 1000


def open_watch(
    source: str,
    settings: Settings,
    options: OpenOptions | None = None,
    *,
    clock: Callable[[], int] | None = None,
    engine: WatchEngine | None = None,
) -> WatchRun:
    """Load engine and voice, and prepare the session of a video.

    Args:
        source: The address of the video, see `sca.watch.capture.address.parse_address`.
        settings: The settings.
        options: What the user decides.
        clock: The time of the session, in microseconds; by default one that begins now.
        engine: The engine; by default that of the settings. It is closed with the session.

    Raises:
        ScaError: The address, the profile, the engine or the voice cannot be used.
    """
    options = OpenOptions() if options is None else options
    clock = monotonic_clock() if clock is None else clock
    watch = settings.watch
    display = DisplayBuffer(watch.display_seconds, watch.display_bytes)
    window = InferenceWindow(watch.window_size)
    commentary: list[Commentary] = []

    def on_state(state: State, detail: str | None) -> None:
        commentary[0].set_source(SourceState(state, clock(), detail))

    profile = load_profile(watch) if options.profile is None else options.profile
    instruction = watch.instruction if options.instruction is None else options.instruction
    engine = load_watch_engine(watch.engine, settings) if engine is None else engine
    try:
        parts = _parts(settings, engine, profile, muted=options.muted)
        rules = rules_of(
            watch,
            profile,
            engine.info,
            voice=parts.voice,
            delayed=options.displayed,
            delegates=watch.delegate_base_url is not None or settings.llm.base_url is not None,
            delay_s=_of_engine(settings, "stream_delay_init", engine.info.usual_delay_s),
        )
        commentary.append(Commentary(engine, rules, window, clock, instruction or ""))
        capture = Capture(
            source,
            display,
            window,
            _capture_settings(settings, engine.info, options),
            now_us=clock,
            on_state=on_state,
            on_frame=lambda frame: commentary[0].add_frame(frame),
        )
    except BaseException:
        engine.close()
        raise
    return WatchRun(commentary[0], capture, display, parts, clock)


def _of_engine(settings: Settings, name: str, value: float | None) -> float:
    """Return what an engine wants, unless the user gave the setting or the engine leaves it to that."""
    is_given = settings.origin(f"watch.{name}") != "default"
    found: float = getattr(settings.watch, name)
    return found if is_given or value is None else value


def _capture_settings(settings: Settings, engine: WatchEngineInfo, options: OpenOptions) -> CaptureSettings:
    watch = settings.watch
    return CaptureSettings(
        capture_fps=_of_engine(settings, "capture_fps", engine.sample_fps),
        display_fps=watch.mjpeg_fps if options.displayed else 0,
        loop=watch.loop,
        pace=options.pace,
        reconnect_s=watch.reconnect_s,
    )


def _parts(settings: Settings, engine: WatchEngine, profile: Profile, *, muted: bool) -> _Parts:
    """Choose the voice, and open it once, so that errors come early."""
    watch = settings.watch
    if muted or not watch.enable_tts:
        return _Parts(settings, engine, profile, None, None)
    if engine.info.speaks and watch.voice is None:
        return _Parts(settings, engine, profile, "engine", None)
    try:
        _, speech, opened = open_engine(*split_voice(watch.voice or ""), settings)
    except ScaError as error:
        error.hint = f"{error.hint}; --mute needs no voice" if error.hint else "--mute needs no voice"
        raise
    ready = deque([opened])
    lock = threading.Lock()
    name = split_voice(watch.voice or "")[1]

    def open_voice() -> SpeechVoice:
        with lock:
            return ready.pop() if ready else speech.open(name)

    return _Parts(settings, engine, profile, "speech", open_voice)
