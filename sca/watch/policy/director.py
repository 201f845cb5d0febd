"""The policy of a session: when the engine looks, what of its answers is spoken, and when that is played.

Nothing here waits, plays or reads a clock. The session reports what happened, with the time in microseconds, and does the
actions that are returned, in their order. One cycle is in progress at a time, from the question to the engine until its
speech is made; speech that is being played does not hold up the next one for longer than the pause needs:

    the next cycle starts as soon as its first audio, expected after the usual time, may be played

Cycles are numbered. What arrives of a cycle that is over is ignored.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sca.watch.engines.base import AudioPiece, Piece, Question, TextPiece, WatchRequest
from sca.watch.events import CycleEnd, CycleTimings, InstructionSet, Notice, Speech, Text
from sca.watch.frames import VideoFrame
from sca.watch.policy.change import density_of, difference, grey_cells
from sca.watch.policy.cycle import ActiveCycle, Released
from sca.watch.policy.pacing import DelayAverage, SpeechLine
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

__all__ = ["GRACE_US", "Director"]

GRACE_US = 5_000_000
"""An engine has this long to end a cancelled answer before its thread is left behind."""

_LEAD_ALPHA = 0.2
_MAX_LEAD_US = 30_000_000
_RETRY_US, _MAX_RETRY_US = 1_000_000, 30_000_000
_MOST_QUESTIONS = 2
_MOST_FINDINGS = 4
_NO_TIMINGS = CycleTimings(None, None, None, None)

Outcome = Literal["spoke", "silent", "skipped", "cancelled", "failed"]


class Director:
    """See the module.

    Args:
        rules: The rules of the session.
        instruction: What the user wants; empty for the instruction of the profile.

    Attributes:
        instruction: What the user wants now.
    """

    def __init__(self, rules: Rules, instruction: str = "") -> None:
        self._rules = rules
        self.instruction = instruction.strip()
        self._delay = DelayAverage(rules.delay_us, rules.delay_alpha, rules.least_delay_us, rules.most_delay_us)
        self._line = SpeechLine(rules.pause_us)
        self._lead = DelayAverage(0, _LEAD_ALPHA, 0, _MAX_LEAD_US)
        self._has_lead = False
        self._cycle = 0
        self._active: ActiveCycle | None = None
        self._busy: tuple[int, int] | None = None  # a cycle with a cancelled answer, and when that was
        self._is_urgent, self._wants = False, False
        self._looked_us: int | None = None  # when the last cycle began or was skipped
        self._asked_us = 0
        self._cells: NDArray[np.float32] | None = None
        self._last_text, self._last_text_us = "", 0
        self._failures, self._retry_us = 0, 0
        self._questions = 0
        self._findings: list[str] = []

    # When something is to be done

    @property
    def is_active(self) -> bool:
        """Whether a cycle is in progress."""
        return self._active is not None

    @property
    def is_urgent(self) -> bool:
        """Whether a cycle is wanted at once, also about pictures that were looked at."""
        return self._is_urgent

    @property
    def wants(self) -> bool:
        """Whether an engine that is given every picture has a remark."""
        return self._wants

    @property
    def delay_us(self) -> int:
        """By how much the picture is delayed."""
        return self._delay.us

    @property
    def speech_end_us(self) -> int | None:
        """Where the speech ends that has a place; None without speech so far."""
        return self._line.end_us

    @property
    def due_us(self) -> int | None:
        """When the next cycle may begin; None while there is one."""
        if self._active is not None or self._busy is not None:
            return None
        if self._is_urgent:
            return 0
        due = self._retry_us
        if self._looked_us is not None and not self._wants:
            due = max(due, self._looked_us + self._rules.interval_us)
        free = self._line.free_us
        return due if free is None else max(due, free - self._lead.us)

    @property
    def wake_us(self) -> int | None:
        """When `tick` is to be called at the latest; None for never."""
        if self._active is not None:
            return self._active.progress_us + self._rules.deadline_us
        return None if self._busy is None else self._busy[1] + GRACE_US

    # What the user does

    def set_instruction(self, text: str, now_us: int) -> list[Action]:
        """Set the instruction, or clear it with empty text. A new one starts a cycle at once."""
        self.instruction = text.strip()
        self._is_urgent = bool(self.instruction)
        self._last_text = ""
        return [InstructionSet(self.instruction, now_us), *self.cancel("the instruction has changed", now_us)]

    def set_profile(self, profile: Profile, now_us: int) -> list[Action]:
        """Use the prompts and the density of another profile. A cycle starts at once."""
        self._rules = replace(
            self._rules, system=profile.system.strip(), instruction=profile.instruction, density=profile.density
        )
        self._is_urgent, self._last_text = True, ""
        return self.cancel("the profile has changed", now_us)

    def cancel(self, reason: str, now_us: int) -> list[Action]:
        """End the cycle in progress."""
        return self._stop("cancelled", reason, now_us) if self._active is not None else []

    # What the engine sees

    def saw(self, *, wants: bool) -> None:
        """Note whether an engine that is given every picture has a remark."""
        # A picture that it saw before it answers is part of that answer.
        self._wants = wants and (self._active is None or self._active.answered)

    def look(self, frames: Sequence[VideoFrame], now_us: int) -> list[Action]:
        """Begin a cycle with these pictures, or skip it. Call it when a cycle is due and there is a new picture."""
        cells = grey_cells(frames[-1].pixels)
        change = 255.0 if self._cells is None else difference(cells, self._cells)
        reason = self._reason_to_skip(change, now_us)
        self._looked_us = now_us
        if reason is not None:
            return [self._skipped(frames[-1], reason, now_us)]
        self._cells, self._asked_us = cells, now_us
        self._is_urgent = self._wants = False
        request = WatchRequest(
            cycle=self._cycle,
            frames=tuple(frames),
            instruction=self.instruction or self._rules.instruction,
            system=self._rules.system,
            density=density_of(change, len(self._last_text), self._rules.density),
            last_answer=self._last_text,
            findings=tuple(self._findings),
            max_tokens=self._rules.max_tokens,
            names=self._rules.names,
        )
        self._cycle += 1
        recent = self._last_text if now_us - self._last_text_us <= self._rules.repeat_us else ""
        self._active = ActiveCycle(request, recent, now_us)
        return [Ask(request)]

    def _reason_to_skip(self, change: float, now_us: int) -> str | None:
        if self._is_urgent or self._findings or self._looked_us is None:
            return None
        if self._rules.every_frame:
            return None if self._wants else "the engine saw nothing new"
        if change >= self._rules.change_threshold or now_us - self._asked_us >= self._rules.patience_us:
            return None
        return f"the picture did not change ({change:.1f} of {self._rules.change_threshold:g})"

    def _skipped(self, frame: VideoFrame, reason: str, now_us: int) -> CycleEnd:
        number = self._cycle
        self._cycle += 1
        return CycleEnd(number, "skipped", "", reason, frame.time_us, now_us, _NO_TIMINGS, self._delay.us / 1e6)

    # What the engine answers

    def piece(self, cycle: int, piece: Piece, now_us: int) -> list[Action]:
        """Take the next piece of an answer."""
        active = self._of(cycle)
        if active is None or active.answered:
            return []
        active.progress_us = now_us
        match piece:
            case TextPiece():
                actions = self._told(active, active.push(piece.text, piece.about_us, now_us), now_us)
                return [*actions, CancelAnswer()] if active.is_full else actions
            case AudioPiece():
                return self._engine_audio(active, piece, now_us)
            case Question():
                return self._asked(piece.text, now_us)

    def answered(self, cycle: int, problem: str | None, now_us: int) -> list[Action]:
        """Note that an answer is complete, or why it failed."""
        if self._busy is not None and self._busy[0] == cycle:
            self._busy = None
        active = self._of(cycle)
        if active is None:
            return []
        active.answered, active.progress_us = True, now_us
        if problem is not None:
            return self._stop("failed", problem, now_us)
        actions = self._told(active, active.flush(now_us), now_us)
        if not active.said:
            return [*actions, EndSay(cycle)]
        return [*actions, *self._finish("spoke" if active.text else "silent", None, now_us)]

    def _told(self, active: ActiveCycle, released: Released | None, now_us: int) -> list[Action]:
        if released is None:
            return []
        actions: list[Action] = [Text(active.number, released.text, released.about_us, now_us)]
        if self._rules.voice == "speech":
            active.said = False
            actions.append(Say(active.number, released.text))
        held, active.held_audio = active.held_audio, []
        return actions + [self._played(active, one.samples, one.sample_rate, now_us) for one in held]

    def _engine_audio(self, active: ActiveCycle, piece: AudioPiece, now_us: int) -> list[Action]:
        if self._rules.voice != "engine":
            return []
        if not active.text:
            active.held_audio.append(piece)
            return []
        return [self._played(active, piece.samples, piece.sample_rate, now_us)]

    # What the voice makes of it

    def sound(self, cycle: int, samples: NDArray[np.float32], rate_hz: int, now_us: int) -> list[Action]:
        """Take the next samples of the speech of a cycle."""
        active = self._of(cycle)
        if active is None or not len(samples):
            return []
        active.progress_us = now_us
        return [self._played(active, samples, rate_hz, now_us)]

    def said(self, cycle: int, problem: str | None, now_us: int) -> list[Action]:
        """Note that the speech of a cycle is complete, or why it failed."""
        active = self._of(cycle)
        if active is None:
            return []
        active.said = True
        if problem is not None:
            return self._stop("failed", problem, now_us)
        return self._finish("spoke", None, now_us) if active.answered else []

    def _played(self, active: ActiveCycle, samples: NDArray[np.float32], rate_hz: int, now_us: int) -> Speech:
        if active.first_audio_us is None:
            active.first_audio_us = now_us
            lead = now_us - active.start_us
            if not self._has_lead:  # the first one is the best guess, not 0
                self._lead, self._has_lead = DelayAverage(lead, _LEAD_ALPHA, 0, _MAX_LEAD_US), True
            else:
                self._lead.add(lead)
        shown_us = active.seen_us + (self._delay.us if self._rules.delayed else 0)
        play_us = self._line.place(active.number, len(samples), rate_hz, now_us, shown_us)
        if active.offset_us is None:
            active.offset_us = play_us - shown_us
        return Speech(active.number, samples, rate_hz, play_us)

    # Questions to another model

    def _asked(self, question: str, now_us: int) -> list[Action]:
        if not self._rules.delegates or self._questions >= _MOST_QUESTIONS:
            why = "earlier ones wait for an answer" if self._rules.delegates else "no watch.delegate_base_url is set"
            return [Notice(f"a question of the engine is dropped: {why}", now_us)]
        self._questions += 1
        return [AskOther(question)]

    def found(self, text: str | None, problem: str | None, now_us: int) -> list[Action]:
        """Take the answer to a question, which one of the next cycles includes, or why it failed."""
        self._questions -= 1
        if text:
            self._findings = [*self._findings, text][-_MOST_FINDINGS:]
        return [] if problem is None else [Notice(f"a question of the engine has no answer: {problem}", now_us)]

    # Ends

    def tick(self, now_us: int) -> list[Action]:
        """End what takes too long."""
        active = self._active
        if active is not None and now_us - active.progress_us >= self._rules.deadline_us:
            who = "the voice" if active.answered else "the engine"
            seconds = self._rules.deadline_us / 1e6
            return self._stop("failed", f"nothing came from {who} for {seconds:g} s", now_us)
        if self._busy is not None and now_us - self._busy[1] >= GRACE_US:
            self._busy = None
            return [ReplaceEngine(), Notice("the engine did not end a cancelled answer; it starts again", now_us)]
        return []

    def _of(self, cycle: int) -> ActiveCycle | None:
        return self._active if self._active is not None and self._active.number == cycle else None

    def _stop(self, outcome: Outcome, reason: str, now_us: int) -> list[Action]:
        active = self._active
        assert active is not None
        actions: list[Action] = []
        if not active.answered:
            actions.append(CancelAnswer())
            self._busy = (active.number, now_us)
        if not active.said:
            actions.append(CancelSpeech(active.number))
        return [*actions, *self._finish(outcome, reason, now_us)]

    def _finish(self, outcome: Outcome, reason: str | None, now_us: int) -> list[Action]:
        active = self._active
        assert active is not None
        self._active = None
        if outcome == "failed":
            self._retry_us = now_us + min(_RETRY_US << min(self._failures, 10), _MAX_RETRY_US)
            self._failures += 1
        elif outcome != "cancelled":
            self._failures = 0
            self._findings = [text for text in self._findings if text not in active.request.findings]
        if active.text:
            self._last_text, self._last_text_us = active.text, now_us
        elapsed_us = active.end_to_end_us()
        if outcome == "spoke" and elapsed_us is not None:
            self._delay.add(elapsed_us)
        if outcome == "silent" and active.is_repeat:
            reason = "the answer repeats the last one"
        end = CycleEnd(
            active.number,
            outcome,
            active.text,
            reason,
            active.about_us,
            now_us,
            active.timings(),
            self._delay.us / 1e6,
        )
        return [end]
