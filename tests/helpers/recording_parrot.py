"""The parrot engine with a record of its input and output."""

from dataclasses import replace

import numpy as np

from sca.audio.pcm import pcm16_samples
from sca.infer.engines.parrot import ParrotEngine
from sca.infer.frames import AudioOutput, TurnEnd


class RecordingParrot:
    """A parrot engine that keeps its sessions.

    Attributes:
        sessions: One `RecordedSession` for each opened session.
    """

    def __init__(self, live=None, *, follows_turns=True):
        self.info = replace(ParrotEngine.info, follows_turns=follows_turns)
        self.parrot, self.sessions = ParrotEngine(live), []

    def open(self, config):
        self.sessions.append(RecordedSession(self.parrot.open(config), config))
        return self.sessions[-1]


class RecordedSession:
    """A session of the parrot.

    Attributes:
        turns: The spoken audio as bytes, by turn.
        ended: The turns that were spoken to their end.
        interrupts: How often the session was interrupted.
    """

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
        """The input, float32 at 16 kHz."""
        return np.concatenate(self.pieces) if self.pieces else np.zeros(0, np.float32)

    def spoken(self, turn_id):
        """The audio of a turn, float32 at 24 kHz."""
        return pcm16_samples(self.turns[turn_id])
