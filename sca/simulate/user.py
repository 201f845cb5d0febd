"""The simulated user of one talk: a synchronous policy that turns a plan into blocks of sound, by what it hears.

It decides on a block of 20 ms from what was audible before the block. It does not know how audio is played or when a
session runs. Times are samples at 16 kHz since the start of the talk.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sca.simulate.plan import AwaitQuiet, AwaitSpeech, Pause, Plan, Say, SayKind
from sca.synth.conversation import FLOOR
from sca.synth.sound import white_noise
from sca.units import HEARD_HZ

__all__ = ["BLOCK", "SPEAKING_GAP", "Ear", "Said", "SimulatedUser"]

BLOCK = HEARD_HZ // 50
SPEAKING_GAP = HEARD_HZ // 5
"""An engine that was audible in the last 0.2 s is speaking."""
_FLOOR_BLOCKS = 500
"""The noise floor repeats after 10 s."""


class Ear(Protocol):
    """What the user hears of the engine."""

    def speech_until(self, sample: int) -> tuple[int, int] | None:
        """Return the latest segment of speech that began before `sample`, as far as it was audible; None if there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Said:
    """A sound of the user.

    Attributes:
        kind: What it was.
        start: The first sample.
        end: The sample after the last word.
        words: Each word with its samples.
    """

    kind: SayKind
    start: int
    end: int
    words: tuple[tuple[str, int, int], ...]


class SimulatedUser:
    """The user of one talk.

    Args:
        plan: What it does.
        ear: What it hears.

    Attributes:
        said: Its sounds so far.
        unanswered: Whether it waited for speech of the engine without success; the rest of the plan is then left out.
    """

    def __init__(self, plan: Plan, ear: Ear) -> None:
        self._plan, self._ear = plan, ear
        self._at = 0
        self._floor = white_noise(_FLOOR_BLOCKS * BLOCK, FLOOR, plan.noise_seed)
        self._blocks: list[NDArray[np.float32]] = []
        self.said: list[Said] = []
        self.unanswered = False

    @property
    def track(self) -> NDArray[np.float32]:
        """The sound of the user so far, float32 `(n,)` at 16 kHz."""
        return np.concatenate(self._blocks) if self._blocks else np.zeros(0, np.float32)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield blocks of 20 ms until the talk is over. Each one is requested when the block before it has ended."""
        for act in self._plan.acts:
            match act:
                case Say():
                    yield from self._say(act)
                case Pause():
                    for _ in range(-(-act.samples // BLOCK)):
                        yield self._block()
                case AwaitSpeech():
                    yield from self._await_speech(act)
                    if self.unanswered:
                        return
                case AwaitQuiet():
                    yield from self._await_quiet(act)

    def _say(self, act: Say) -> Iterator[NDArray[np.float32]]:
        at = self._at
        words = tuple((text, at + start, at + end) for text, start, end in act.words)
        self.said.append(Said(act.kind, at, at + act.end, words))
        for first in range(0, len(act.samples), BLOCK):
            yield self._block(act.samples[first : first + BLOCK])

    def _await_speech(self, act: AwaitSpeech) -> Iterator[NDArray[np.float32]]:
        begin, fresh_from = self._at, self.said[-1].start if act.fresh and self.said else 0
        while True:
            heard = self._ear.speech_until(self._at)
            if heard is not None and heard[0] >= fresh_from and self._at - heard[1] < SPEAKING_GAP:
                if self._at - heard[0] >= act.speaking:
                    return
            elif self._at - begin >= act.patience:
                break
            if self._at - begin >= act.patience + act.speaking:
                break
            yield self._block()
        self.unanswered = True

    def _await_quiet(self, act: AwaitQuiet) -> Iterator[NDArray[np.float32]]:
        begin = self._at
        while self._at - begin < act.longest:
            heard = self._ear.speech_until(self._at)
            if self._at - max(begin, heard[1] if heard is not None else 0) >= act.quiet:
                return
            yield self._block()

    def _block(self, samples: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Return the next block, over a noise floor: a microphone is never digitally silent."""
        first = self._at % len(self._floor)
        block = self._floor[first : first + BLOCK].copy()
        if samples is not None:
            block[: len(samples)] += samples
        self._blocks.append(block)
        self._at += BLOCK
        return block
