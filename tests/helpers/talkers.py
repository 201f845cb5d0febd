"""Engines whose turn-taking is known: a rule decides for every chunk whether the engine plays a tone."""

import numpy as np

from sca.audio.pcm import INT16_MAX, pcm16_bytes
from sca.infer.engine import EngineInfo, StepGuard
from sca.infer.frames import AudioOutput, Interrupt, TurnEnd
from sca.units import SPOKEN_HZ

LOUD = 0.2
"""Samples of the user's speech exceed it; the noise of the scenario does not."""


class Talker:
    """An engine that plays a tone in the chunks for which a rule returns true.

    Args:
        speaks: Receives the state (`index`, `loud`, `quiet`: chunks since the last loud one, `said`: chunks of tone in
            the turn).
        completes: A turn that ends is complete (`TurnEnd`); otherwise it is interrupted (`Interrupt`).
    """

    def __init__(self, speaks, *, completes=False, **info):
        self.speaks, self.completes = speaks, completes
        self.info = EngineInfo("talker", "plays a tone by a rule", uses_features=False, **info)

    def open(self, session_config):
        return TalkerSession(self, session_config)


class TalkerSession:
    def __init__(self, engine, config):
        self.engine, self.grid = engine, config.grid
        self.guard = StepGuard(config.grid.heard_samples)
        self.index = self.said = self.turn_id = 0
        self.loud, self.quiet = False, None

    def step(self, heard):
        self.guard.check(heard)
        self.index = heard.chunk_index
        self.loud = bool(np.abs(heard.samples).max() > LOUD)
        self.quiet = 0 if self.loud else None if self.quiet is None else self.quiet + 1
        if self.engine.speaks(self):
            self.said += 1
            tone = pcm16_bytes(np.full(self.grid.spoken_samples, 0.25, np.float32), INT16_MAX)
            return [AudioOutput(tone, SPOKEN_HZ, "", heard.chunk_index, self.turn_id)]
        if not self.said:
            return []
        now = heard.timestamp + len(heard.samples)
        frame = (TurnEnd if self.engine.completes else Interrupt)(self.turn_id, now)
        self.said, self.turn_id = 0, self.turn_id + 1
        return [frame]

    def interrupt(self, turn_id):
        self.said, self.turn_id = 0, max(self.turn_id, turn_id)

    def reset(self):
        self.guard.reset()

    def close(self):
        self.guard.close()


def answers(chunks, *, after=1, stops=True):
    """Return a rule: answer with `chunks` chunks when the user has been quiet for `after` of them.

    Args:
        chunks: The length of an answer.
        after: The chunks without speech of the user before it.
        stops: Whether speech of the user ends it.
    """

    def speaks(session):
        if session.said:
            return session.said < chunks and not (stops and session.loud)
        return session.quiet == after

    return speaks
