"""A director in virtual time: pictures, an engine and a voice with declared costs."""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from sca.watch.engines.base import Piece, TextPiece, WatchRequest
from sca.watch.events import CycleEnd, Speech, Text
from sca.watch.frames import VideoFrame
from sca.watch.policy.director import Director
from sca.watch.policy.rules import Ask, AskOther, CancelAnswer, CancelSpeech, EndSay, ReplaceEngine, Rules, Say

__all__ = ["US", "Stall", "World", "level_frame", "sentence", "spoken"]

US = 1_000_000
RATE_HZ = 1000
"""Few samples, because an hour has many."""
CHARS_PER_S = 15


def level_frame(index: int, at_us: int, level: int = 0) -> VideoFrame:
    """Return a picture of one grey level."""
    return VideoFrame(index, at_us, at_us, np.full((2, 2, 3), level, np.uint8))


def sentence(number: int) -> str:
    """Return a sentence that differs from those before it."""
    return f"Number {number} runs along the line and shoots."


@dataclass(frozen=True)
class Stall:
    """An answer that never comes. With `ends`, a cancelled one ends."""

    ends: bool = True


Answer = list[tuple[float, Piece]] | Stall
"""Pieces with the seconds after the question at which they arrive."""


class World:
    """Runs a director.

    Args:
        rules: The rules.
        answer: What the engine answers. It gets the request.
        level: The grey level of the picture at a time in seconds; None: the source is lost.
        fps: Sampled pictures per second.
        voice_s: Seconds until the voice has made its first sound; the rest is made ten times as fast as it is played.
        facts: What the second model answers after so many seconds.

    Attributes:
        actions: All actions, with their times in microseconds.
    """

    def __init__(
        self,
        rules: Rules,
        answer: Callable[[WatchRequest], Answer],
        *,
        level: Callable[[float], int | None] = lambda s: int(s * 37) % 256,
        fps: float = 2.0,
        voice_s: float = 0.2,
        facts: tuple[float, str] | None = None,
    ) -> None:
        self.director = Director(rules)
        self._answer, self._level, self._step_us, self._facts = answer, level, round(US / fps), facts
        self._voice_us = round(voice_s * US)
        self._events: list[tuple[int, int, Callable[[], object]]] = []
        self._number = count()
        self._asked: int | None = None
        self._stalled: Stall | None = None
        self._spoken: dict[int, int] = {}
        self._frames: list[VideoFrame] = []
        self._looked = -1
        self._wakes: set[int] = set()
        self.now_us = 0
        self.captured = 0
        self.actions: list[tuple[int, object]] = []
        self.at(0, self._capture)

    def at(self, time_s: float, do: Callable[[], object]) -> None:
        """Do something at a time in seconds."""
        self._push(round(time_s * US), do)

    def run(self, seconds: float) -> "World":
        """Let time pass until then."""
        end_us = round(seconds * US)
        while self._events and self._events[0][0] <= end_us:
            self.now_us, _, do = heapq.heappop(self._events)
            do()
            self._do(self.director.tick(self.now_us))
            self._look()
        return self

    def of(self, kind: type) -> list:
        """Return the actions of a kind."""
        return [action for _, action in self.actions if isinstance(action, kind)]

    @property
    def utterances(self) -> list[tuple[int, int]]:
        """Start and end of what was played, by cycle, in microseconds."""
        spans: dict[int, tuple[int, int]] = {}
        for speech in self.of(Speech):
            end_us = speech.play_us + len(speech.samples) * US // speech.sample_rate
            spans[speech.cycle] = (spans.get(speech.cycle, (speech.play_us, 0))[0], end_us)
        return list(spans.values())

    @property
    def outcomes(self) -> list[str]:
        """How the cycles ended."""
        return [end.outcome for end in self.of(CycleEnd)]

    @property
    def texts(self) -> list[str]:
        """What was shown, by cycle."""
        texts: dict[int, str] = {}
        for text in self.of(Text):
            texts[text.cycle] = texts.get(text.cycle, "") + text.text
        return list(texts.values())

    def do(self, actions) -> None:
        """Do the actions of a call that a test made."""
        self._do(actions)
        self._look()

    # Inside

    def _push(self, time_us: int, do: Callable[[], object]) -> None:
        heapq.heappush(self._events, (max(time_us, self.now_us), next(self._number), do))

    def _capture(self) -> None:
        level = self._level(self.now_us / US)
        if level is not None:
            self._frames = [*self._frames, level_frame(self.captured, self.now_us, level)][-8:]
            self.captured += 1
        self._push(self.now_us + self._step_us, self._capture)

    def _wake(self) -> None:
        pass

    def _look(self) -> None:
        director = self.director
        newest = self._frames[-1].index if self._frames else -1
        due = director.due_us
        if due is not None and newest >= 0 and (newest > self._looked or director.is_urgent):
            if due <= self.now_us:
                self._looked = newest
                self._do(director.look(self._frames[-4:], self.now_us))
            else:
                self._wake_at(due)
        if director.wake_us is not None:
            self._wake_at(director.wake_us)

    def _wake_at(self, time_us: int) -> None:
        if time_us not in self._wakes:
            self._wakes.add(time_us)
            self._push(time_us, self._wake)

    def _do(self, actions) -> None:
        for action in actions:
            self.actions.append((self.now_us, action))
            match action:
                case Ask(request):
                    self._ask(request)
                case CancelAnswer():
                    self._cancel()
                case ReplaceEngine():
                    self._asked = None
                case Say(cycle, text):
                    self._say(cycle, text)
                case EndSay(cycle):
                    self._push(self._spoken[cycle], lambda: self._do(self.director.said(cycle, None, self.now_us)))
                case AskOther() if self._facts is not None:
                    self._push(self.now_us + round(self._facts[0] * US), self._find)
                case CancelSpeech():
                    pass

    def _find(self) -> None:
        assert self._facts is not None
        self._do(self.director.found(self._facts[1], None, self.now_us))

    def _ask(self, request: WatchRequest) -> None:
        answer, cycle = self._answer(request), request.cycle
        self._asked = cycle
        self._stalled = answer if isinstance(answer, Stall) else None
        if isinstance(answer, Stall):
            return
        director, last_us = self.director, self.now_us
        for after_s, piece in answer:
            last_us = self.now_us + round(after_s * US)
            self._push(last_us, lambda piece=piece: self._do(director.piece(cycle, piece, self.now_us)))
        self._push(last_us, lambda: self._do(director.answered(cycle, None, self.now_us)))

    def _cancel(self) -> None:
        cycle, stalled = self._asked, self._stalled
        if cycle is not None and (stalled is None or stalled.ends):
            self._push(self.now_us + US // 10, lambda: self._do(self.director.answered(cycle, None, self.now_us)))

    def _say(self, cycle: int, text: str) -> None:
        length_us = len(text) * US // CHARS_PER_S
        ready_us = max(self._spoken.get(cycle, 0), self.now_us + self._voice_us)
        self._spoken[cycle] = ready_us + length_us // 10
        samples = np.zeros(length_us * RATE_HZ // US, np.float32)
        self._push(ready_us, lambda: self._do(self.director.sound(cycle, samples, RATE_HZ, self.now_us)))


def spoken(text: str, after_s: float = 1.0) -> list[tuple[float, Piece]]:
    """Return an answer whose words arrive one by one, the first one after so many seconds."""
    words: Iterator[str] = iter(text.split(" "))
    return [(after_s + 0.05 * n, TextPiece(f" {word}" if n else word)) for n, word in enumerate(words)]
