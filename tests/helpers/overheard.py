"""The parrot for tests of the live server's doors, with ears and a mouth that can be read."""

import numpy as np

from sca.infer.engines.parrot import ParrotEngine
from sca.infer.frames import AudioOutput, TurnEnd


class Overheard:
    """A parrot of which everything is written down: per session what it heard, said (by turn), which turns it said to their end,
    and how often it was interrupted."""

    info = ParrotEngine.info

    def __init__(self, live=None):
        self.parrot, self.sessions = ParrotEngine(live), []

    def open(self, config):
        self.sessions.append(_OverheardSession(self.parrot.open(config), config))
        return self.sessions[-1]


class _OverheardSession:
    def __init__(self, session, config):
        self._session, self.config = session, config
        self.pieces, self.turns, self.ended, self.interrupts = [], {}, set(), 0
        self.reset, self.close = session.reset, session.close

    def step(self, heard):
        self.pieces.append(heard.samples.copy())
        frames = self._session.step(heard)
        for frame in frames:
            if isinstance(frame, AudioOutput):
                self.turns[frame.turn_id] = self.turns.get(frame.turn_id, b"") + frame.audio_bytes
            elif isinstance(frame, TurnEnd):
                self.ended.add(frame.turn_id)
        return frames

    def interrupt(self, turn_id):
        self.interrupts += 1
        self._session.interrupt(turn_id)

    @property
    def heard(self):
        return np.concatenate(self.pieces) if self.pieces else np.zeros(0, np.float32)

    def said(self, turn_id):
        return np.frombuffer(self.turns[turn_id], "<i2").astype(np.float32) / 32768
