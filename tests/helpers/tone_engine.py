"""Engines for tests of the live loop. They obey the real protocol; what they do wrong is what a test needs."""

import threading

import numpy as np

from sca.audio.pcm import INT16_MAX, pcm16_bytes
from sca.infer.engine import EngineInfo, StepGuard
from sca.infer.frames import AudioOutput, ErrorFrame, ThoughtPacket, TurnEnd
from sca.units import SPOKEN_HZ


class ToneSession:
    """Says a tone in every chunk, a turn of `turn_chunks` chunks after the other; thinks the loudest mel bin."""

    def __init__(self, engine, config):
        self.engine, self.grid = engine, config.grid
        self.guard = StepGuard(config.grid.heard_samples)
        self.start()

    def start(self):
        self.turn_id = self.said = 0
        self.seen = []
        self.told = []

    def step(self, heard):
        self.guard.check(heard)
        self.seen.append(heard.chunk_index)
        self.engine.steps.append((id(self), heard.chunk_index, threading.get_ident()))
        act = self.engine.acts.get(heard.chunk_index)
        frames = act(self, heard) if act else None
        return self.speak(heard) if frames is None else frames

    def speak(self, heard):
        packet = ThoughtPacket(np.float32(heard.features.max(initial=0)).reshape(1, 1, 1), "a", (1,), heard.chunk_index)
        pcm = pcm16_bytes(np.full(self.grid.spoken_samples, (heard.chunk_index % 100 + 1) / 128, np.float32), INT16_MAX)
        frames = [packet, AudioOutput(pcm, SPOKEN_HZ, f"{heard.chunk_index} ", heard.chunk_index, self.turn_id)]
        self.said += 1
        if self.said == self.engine.turn_chunks:
            frames.append(TurnEnd(self.turn_id, heard.timestamp + len(heard.samples)))
            self.said, self.turn_id = 0, self.turn_id + 1
        return frames

    def interrupt(self, turn_id):
        self.told.append(turn_id)
        self.said, self.turn_id = 0, max(self.turn_id, turn_id)

    def reset(self):
        self.guard.reset()
        self.start()

    def close(self):
        self.guard.close()
        self.engine.closed += 1


class Tone:
    """`acts` maps a chunk index to what that step does instead: a function of session and input that returns frames or raises."""

    def __init__(self, acts=None, *, turn_chunks=4, uses_features=True, device="cpu"):
        self.info = EngineInfo("tone", "a tone in every chunk", uses_features=uses_features, device=device)
        self.acts, self.turn_chunks = acts or {}, turn_chunks
        self.steps, self.batches, self.sessions, self.closed = [], [], [], 0

    def open(self, session_config):
        self.sessions.append(ToneSession(self, session_config))
        return self.sessions[-1]

    def step_batch(self, sessions, inputs):
        self.batches.append(len(sessions))
        return [alone(session, one) for session, one in zip(sessions, inputs, strict=True)]


def alone(session, heard):
    """What a session answers, or the exception that it ends with."""
    try:
        return session.step(heard)
    except Exception as error:
        return error


def raises(session, heard):
    raise RuntimeError("the weights melted")


def says(pcm, rate_hz=SPOKEN_HZ):
    return lambda session, heard: [AudioOutput(pcm, rate_hz, "", heard.chunk_index, session.turn_id)]


def fails(session, heard):
    return [ErrorFrame(session.turn_id, heard.timestamp, "the engine gives up")]
