"""A session: pictures, an engine and a voice, and the director that decides what they do, each in a thread.

    capture ─ sampled pictures ─┐
    engine  ─ pieces ───────────┤→ inbox → director → actions: ask, cancel, say; events → listeners
    voice   ─ sound ────────────┘

The thread of the session takes reports from the inbox, hands them to the director with the time of the session's clock, and
does the actions that it returns. It waits for nothing else, so a stalled engine holds up neither pictures nor listeners.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.errors import ConfigError, MissingToolError, ScaError, UpstreamError, UsageError
from sca.watch.engines.base import Piece, WatchEngine
from sca.watch.events import CycleEnd, Notice, SourceState
from sca.watch.frames import VideoFrame
from sca.watch.policy.director import Director
from sca.watch.policy.rules import (
    Action,
    Ask,
    AskOther,
    CancelAnswer,
    CancelSpeech,
    EndSay,
    ReplaceEngine,
    Rules,
    Say,
)
from sca.watch.profiles.model import Profile
from sca.watch.running.delegate import Delegate
from sca.watch.running.engine_worker import EngineListener, EngineWorker
from sca.watch.running.listeners import Broadcast, Listener
from sca.watch.running.voice_worker import VoiceWorker

__all__ = ["Commentary", "Window"]

_IDLE_S = 0.5
_CLOSE_S = 2.0
_MOST_FAILURES = 100
_MOST_REPLACED = 3
"""Sessions of an engine that may be left behind; an engine that hangs again ends the session."""

Report = Callable[[int], Sequence[Action]]
"""Hands what happened to the director, with the time, and returns the actions."""


class Window(Protocol):
    """The pictures that are held for the engine."""

    def select(self, frames_per_inference: int, frame_stride: int) -> tuple[VideoFrame, ...]:
        """Return the pictures of a cycle, the oldest first; empty before the first picture."""
        ...


class Commentary:
    """The commentary on one video.

    The source calls `add_frame` for each sampled picture and `set_source` when its state changes, from any thread.

    Args:
        engine: The engine. It is not closed.
        rules: The rules.
        window: The sampled pictures.
        clock: Returns the time of the session, in microseconds.
        instruction: What the user wants at the start; may be empty.

    Attributes:
        failures: The latest errors of cycles that failed.
        cycles: How many cycles ended, by outcome.
    """

    def __init__(
        self, engine: WatchEngine, rules: Rules, window: Window, clock: Callable[[], int], instruction: str = ""
    ) -> None:
        self._engine, self._rules, self._window, self._clock = engine, rules, window, clock
        self._director = Director(rules, instruction)
        self._inbox: queue.SimpleQueue[Report | None] = queue.SimpleQueue()
        self._broadcast = Broadcast()
        self._reports = _Reports(self)
        self._worker = EngineWorker(engine, self._reports)
        self._voice: VoiceWorker | None = None
        self._delegate: Delegate | None = None
        self._newest = self._looked = -1  # indices of pictures
        self._seen: VideoFrame | None = None
        self._unseen_us: int | None = None  # since when the engine has been busy with a picture
        self._replaced = 0
        self._has_ended, self._is_stopped = False, False
        self._error: ScaError | None = None
        self._raised: ScaError | None = None
        self._thread = threading.Thread(target=self._run, name="sca watch session", daemon=True)
        self.failures: deque[ScaError] = deque(maxlen=_MOST_FAILURES)
        self.cycles: dict[str, int] = dict.fromkeys(("spoke", "silent", "skipped", "cancelled", "failed"), 0)

    # For users

    def start(self, voice: VoiceWorker | None = None, delegate: Delegate | None = None) -> None:
        """Open a session of the engine, and begin.

        Args:
            voice: Speaks the text, if the rules name a speech engine.
            delegate: Answers questions of the engine.

        Raises:
            ScaError: The engine cannot open a session.
        """
        self._voice, self._delegate = voice, delegate
        self._worker.start()
        self._thread.start()

    def listen(self, most: int | None = None) -> Listener:
        """Return a listener of the events from now on. A slow one loses its oldest events.

        Args:
            most: The most events that wait to be read.
        """
        return self._broadcast.add() if most is None else self._broadcast.add(most)

    def forget(self, listener: Listener) -> None:
        """End a listener."""
        self._broadcast.remove(listener)

    def set_instruction(self, text: str) -> None:
        """Set the instruction, or clear it with empty text. A new one starts a cycle at once."""
        self.report(lambda now_us: self._director.set_instruction(text, now_us))

    def set_profile(self, profile: Profile) -> None:
        """Use the prompts and the density of another profile. A cycle starts at once."""
        self.report(lambda now_us: self._director.set_profile(profile, now_us))

    @property
    def instruction(self) -> str:
        """What the user wants now."""
        return self._director.instruction

    @property
    def delay_us(self) -> int:
        """By how much the picture is delayed, in microseconds."""
        return self._director.delay_us

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the session has ended: after the source, when the last words are played.

        Returns:
            Whether it has ended.

        Raises:
            ScaError: The session cannot go on.
        """
        self._thread.join(timeout_s)
        if self._error is not None:
            raise self._error
        return not self._thread.is_alive()

    def stop(self) -> None:
        """End the session now."""
        self._is_stopped = True
        self._inbox.put(None)
        if self._thread.is_alive():
            self._thread.join(_CLOSE_S)

    def on_piece(self, cycle: int, piece: Piece) -> None:
        """Take a piece of an answer, from the thread of the engine."""
        self.report(lambda now_us: self._director.piece(cycle, piece, now_us))

    def on_sound(self, cycle: int, samples: NDArray[np.float32], rate_hz: int) -> None:
        """Take speech of the voice, from its thread."""
        self.report(lambda now_us: self._director.sound(cycle, samples, rate_hz, now_us))

    def on_said(self, cycle: int, error: ScaError | None) -> None:
        """Note that the voice is done with a cycle, from its thread."""
        self.report(lambda now_us: self.note_said(cycle, error, now_us))

    def on_found(self, text: str | None, error: ScaError | None) -> None:
        """Take the answer to a question, from its thread."""
        self.report(lambda now_us: self.note_found(text, error, now_us))

    # For the source

    def add_frame(self, frame: VideoFrame) -> None:
        """Note that there is a new sampled picture in the window."""
        self._newest = frame.index
        if self._rules.every_frame:
            self._worker.see(frame)
        self._inbox.put(None)

    def set_source(self, state: SourceState) -> None:
        """Note that the source was opened, lost, or has ended."""
        self._has_ended = self._has_ended or state.state == "ended"
        self.report(lambda now_us: [state])

    # The thread

    def report(self, tell: Report) -> None:
        """Put something that happened into the inbox."""
        self._inbox.put(tell)

    def note_seen(self, frame: VideoFrame, *, wants: bool) -> Sequence[Action]:
        """Note that the engine was given a picture; in the thread of the session."""
        self._seen, self._unseen_us = frame, None
        self._director.saw(wants=wants)
        return []

    def note_answered(self, cycle: int, error: ScaError | None, now_us: int) -> Sequence[Action]:
        """Note that an answer is complete; in the thread of the session.

        Raises:
            ScaError: The next cycle would fail for the same reason: a wrong key or setting, or a missing package.
        """
        if isinstance(error, UsageError | ConfigError | MissingToolError):
            raise error
        return self._failed(error, self._director.answered(cycle, None if error is None else error.message, now_us))

    def note_said(self, cycle: int, error: ScaError | None, now_us: int) -> Sequence[Action]:
        """Note that the speech of a cycle is complete; in the thread of the session."""
        return self._failed(error, self._director.said(cycle, None if error is None else error.message, now_us))

    def note_found(self, text: str | None, error: ScaError | None, now_us: int) -> Sequence[Action]:
        """Take the answer to a question; in the thread of the session."""
        return self._director.found(text, None if error is None else error.message, now_us)

    def _failed(self, error: ScaError | None, actions: Sequence[Action]) -> Sequence[Action]:
        """Remember the error of a cycle that failed with it; a cycle that was over before has none."""
        if error is not None and any(isinstance(one, CycleEnd) and one.outcome == "failed" for one in actions):
            self._raised = error
        return actions

    def _run(self) -> None:
        try:
            while not self._is_stopped and not self._is_over():
                self._do(self._director.tick(self._clock()))
                self._watch_engine()
                self._look()
                self._take(self._timeout_s())
        except ScaError as error:
            self._error = error
        finally:
            with suppress(ScaError):
                self._do(self._director.cancel("the session has ended", self._clock()))
            self._worker.close(_CLOSE_S)
            if self._voice is not None:
                self._voice.close()
            if self._delegate is not None:
                self._delegate.close()
            self._broadcast.close()

    def _take(self, timeout_s: float) -> None:
        """Wait for a report, and work off those that are there."""
        with suppress(queue.Empty):
            tell = self._inbox.get(timeout=timeout_s)
            while True:
                if tell is not None:
                    self._do(tell(self._clock()))
                tell = self._inbox.get_nowait()

    def _watch_engine(self) -> None:
        """Replace an engine that is stuck in a picture that it was given. Answers have the deadline of the director."""
        now_us = self._clock()
        seen = -1 if self._seen is None else self._seen.index
        if not self._rules.every_frame or self._director.is_active or seen >= self._newest:
            self._unseen_us = None
        elif self._unseen_us is None:
            self._unseen_us = now_us
        elif now_us - self._unseen_us >= self._rules.deadline_us:
            self._unseen_us = None
            seconds = self._rules.deadline_us / 1e6
            self._do([Notice(f"the engine looked at a picture for over {seconds:g} s; it starts again", now_us)])
            self._replace_engine()
            for frame in self._window.select(1, 1):
                self._worker.see(frame)

    def _look(self) -> None:
        due_us, now_us = self._director.due_us, self._clock()
        if due_us is None or due_us > now_us or not self._has_something_new:
            return
        frames = self._frames()
        if frames:
            self._looked = frames[-1].index
            self._do(self._director.look(frames, now_us))

    def _frames(self) -> tuple[VideoFrame, ...]:
        """Return the pictures of a cycle; for an engine that is given every picture, of those that it has seen."""
        frames = self._window.select(self._rules.frames, self._rules.stride)
        seen = self._seen
        if not self._rules.every_frame:
            return frames
        return () if seen is None else (*(frame for frame in frames if frame.index < seen.index), seen)

    @property
    def _has_something_new(self) -> bool:
        newest = self._newest if not self._rules.every_frame else -1 if self._seen is None else self._seen.index
        if self._director.is_urgent or self._director.wants:
            return newest >= 0
        return newest > self._looked

    def _timeout_s(self) -> float:
        now_us = self._clock()
        times = [self._director.wake_us]
        if self._has_something_new:
            times.append(self._director.due_us)
        left = [time_us - now_us for time_us in times if time_us is not None]
        return min(max(min(left, default=0) / 1e6, 0.001), _IDLE_S) if left else _IDLE_S

    def _is_over(self) -> bool:
        """Whether the source has ended, all of it was looked at, and all speech is played."""
        if not self._has_ended or self._director.is_active:
            return False
        if self._rules.every_frame and (-1 if self._seen is None else self._seen.index) < self._newest:
            return False
        if self._has_something_new:
            return False
        end_us = self._director.speech_end_us
        return end_us is None or self._clock() >= end_us

    def _do(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Ask(request):
                    self._worker.ask(request)
                case CancelAnswer():
                    self._worker.cancel()
                case ReplaceEngine():
                    self._replace_engine()
                case Say(cycle, text) if self._voice is not None:
                    self._voice.say(cycle, text)
                case EndSay(cycle) if self._voice is not None:
                    self._voice.end(cycle)
                case CancelSpeech(cycle) if self._voice is not None:
                    self._voice.cancel(cycle)
                case AskOther(question) if self._delegate is not None:
                    self._delegate.ask(question)
                case Say() | EndSay() | CancelSpeech() | AskOther():
                    pass
                case _:
                    if isinstance(action, CycleEnd):
                        self._count(action)
                    self._broadcast.put(action)

    def _count(self, end: CycleEnd) -> None:
        self.cycles[end.outcome] += 1
        if end.outcome == "failed":
            # Without an error it is a deadline.
            self.failures.append(self._raised or UpstreamError(end.reason or "a cycle failed"))
            self._raised = None

    def _replace_engine(self) -> None:
        self._replaced += 1
        self._worker.close()
        if self._replaced > _MOST_REPLACED:
            raise UpstreamError(
                f"the engine {self._engine.info.name} hangs again and again",
                hint="watch.answer_timeout_s gives it more time; another --engine may be faster",
            )
        self._worker = EngineWorker(self._engine, self._reports)
        self._worker.start(self._rules.deadline_us / 1e6)


class _Reports(EngineListener):
    """Puts what the engine reports into the inbox of a session."""

    def __init__(self, commentary: Commentary) -> None:
        self._commentary = commentary

    @override
    def on_saw(self, frame: VideoFrame, *, wants: bool) -> None:
        self._commentary.report(lambda now_us: self._commentary.note_seen(frame, wants=wants))

    @override
    def on_piece(self, cycle: int, piece: Piece) -> None:
        self._commentary.on_piece(cycle, piece)

    @override
    def on_answered(self, cycle: int, error: ScaError | None) -> None:
        self._commentary.report(lambda now_us: self._commentary.note_answered(cycle, error, now_us))
