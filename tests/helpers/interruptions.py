"""Conversations in simulated time that are interrupted at random: what was played, and what the history remembers.

The user speaks in signs instead of sound: the first sample of a chunk ends a turn, interrupts an answer, or both. The
output track of the session is the truth about what was played.
"""

import random

import numpy as np

from sca.config import LiveConfig
from sca.infer.clock import LoopClock, seconds_to_ticks, simulate
from sca.infer.conversation.latency import LatencyLog
from sca.infer.conversation.talk import Talk
from sca.infer.device_worker import InlineWorker
from sca.infer.engine import EngineInfo, SessionConfig
from sca.infer.engines.cascade.session import CascadeSession
from sca.infer.engines.turn_taking import TurnUpdate
from sca.infer.frames import Interrupt, TurnEnd
from sca.infer.interfaces import AudioBlock, BaseListener
from sca.infer.runners.array import ArraySink
from sca.infer.session.loop import LiveSession
from sca.units import HEARD_HZ, Grid

GRID = Grid()
END, BARGE_IN, BOTH = 1.0, 0.5, 0.75
POLL = 4_800


class Signs:
    """A segmenter that reads signs."""

    def push(self, audio):
        sign = float(audio.samples[0])
        ends = sign in (END, BOTH)
        return TurnUpdate(audio.samples if ends else None, sign in (BARGE_IN, BOTH), is_over=ends)

    def reset(self):
        pass


class SignEngine:
    info = EngineInfo("signs", "a cascade whose user speaks in signs", uses_features=False)

    def __init__(self, parts, live):
        self.parts, self.live = parts, live

    def open(self, config):
        return CascadeSession(Talk(self.parts, ""), Signs(), config, self.live, LatencyLog())


class User(BaseListener):
    """The source of a session and its listener: takes turns, and interrupts each answer at a random time, or not.

    Attributes:
        played: For each answer its start in the output track, and where it was cut; None if it was not.
    """

    can_wait = True

    def __init__(self, clock, rng, answers, longest_s):
        self.clock, self.rng, self.answers, self.longest_s = clock, rng, answers, longest_s
        self.played, self.sign, self.wait_chunks = [], 0.0, 1
        self.session, self.turn_id, self.interrupt_at, self.kind = None, None, None, None

    async def blocks(self):
        size, index = GRID.heard_samples, 0
        while len(self.played) <= self.answers:
            await self.clock.sleep_until(seconds_to_ticks(index * size / HEARD_HZ))
            if self.interrupt_at is not None and self.clock.now() >= self.interrupt_at and self.kind != "door":
                self.sign, self.interrupt_at = (BARGE_IN if self.kind == "speech" else BOTH), None
            elif self.turn_id is None and self.wait_chunks is not None:
                self.wait_chunks -= 1
                if self.wait_chunks < 0:
                    self.sign, self.wait_chunks = END, None
            samples = np.zeros(size, np.float32)
            samples[0], self.sign = self.sign, 0.0
            index += 1
            yield AudioBlock(samples, seconds_to_ticks(index * size / HEARD_HZ))

    async def call_the_door(self):
        """Interrupt as a client does, at any time within a chunk."""
        while True:
            is_set = self.kind == "door" and self.interrupt_at is not None
            await self.clock.sleep_until(self.interrupt_at if is_set else self.clock.now() + POLL)
            if self.kind == "door" and self.interrupt_at is not None and self.clock.now() >= self.interrupt_at:
                self.interrupt_at = None
                self.session.interrupt()

    def on_output(self, frame, sample):
        if frame.turn_id != self.turn_id:
            self.turn_id = frame.turn_id
            self.played.append([sample, None])
            self.kind = self.rng.choice(["door", "speech", "both"])
            self.interrupt_at = self.clock.now() + seconds_to_ticks(self.rng.uniform(0, self.longest_s))

    def on_flush(self, sample):
        if self.turn_id is not None:
            self.played[-1][1] = sample

    def on_control(self, frame):
        if isinstance(frame, Interrupt | TurnEnd):
            was_both = self.kind == "both" and isinstance(frame, Interrupt)
            self.interrupt_at = self.turn_id = None
            self.wait_chunks = None if was_both else self.rng.randrange(3)


def converse(parts, *, answers, seed, longest_s):
    """Hold a conversation of some answers; return its output track at 24 kHz and `User.played`."""

    async def main():
        import anyio

        clock, rng = LoopClock(), random.Random(seed)
        user, live = User(clock, rng, answers, longest_s), LiveConfig()
        sink = ArraySink(clock, live)
        user.session = LiveSession(
            SignEngine(parts, live), user, sink, clock=clock, worker=InlineWorker(20), listeners=[user],
            config=SessionConfig(grid=GRID, pace="lockstep"), live=live,
        )  # fmt: skip
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(user.call_the_door)
            await user.session.run()
            tasks.cancel_scope.cancel()
        return sink.samples, user.played

    return simulate(main)


def remembered(asked, number):
    """Return what the messages before answer `number + 1` have of answer `number`; "" if nothing.

    The user's text is `turn N.` for each turn, and turns without an answer between them are one message.
    """
    messages = asked[number + 1]
    assert messages[-1].text.endswith(f"turn {number + 1}.")
    return messages[-2].text if messages[-1].text == f"turn {number + 1}." else ""
