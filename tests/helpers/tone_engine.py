"""An engine for tests of the live loop, which keeps the engine contract except where a test scripts something else."""

import threading

import numpy as np

from sca.audio.pcm import INT16_MAX, pcm16_bytes
from sca.infer.engine import EngineInfo, StepGuard
from sca.infer.frames import AudioOutput, ErrorFrame, ThoughtPacket, TurnEnd
from sca.units import SPOKEN_HZ


class ToneSession:
    """Returns a tone for every chunk, in turns of `turn_chunks` chunks, and a packet with the loudest mel bin."""

    def __init__(self, engine, config):
        self.engine, self.grid = engine, config.grid
        self.guard = StepGuard(config.grid.heard_samples)
        self.start()

    def start(self):
        self.turn_id = self.said = 0
        self.seen = []
        self.interrupts = []

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
        self.interrupts.append(turn_id)
        self.said, self.turn_id = 0, max(self.turn_id, turn_id)

    def reset(self):
        self.guard.reset()
        self.start()

    def close(self):
        self.guard.close()
        self.engine.closed += 1


class Tone:
    """`acts` maps a chunk index to a function of session and input that replaces the step: it returns frames or raises."""

    def __init__(self, acts=None, *, turn_chunks=4, uses_features=True, device="cpu"):
        self.info = EngineInfo("tone", "a tone in every chunk", uses_features=uses_features, device=device)
        self.acts, self.turn_chunks = acts or {}, turn_chunks
        self.steps, self.batches, self.sessions, self.closed = [], [], [], 0

    def open(self, session_config):
        self.sessions.append(ToneSession(self, session_config))
        return self.sessions[-1]

    def step_batch(self, sessions, inputs):
        self.batches.append(len(sessions))
        return [step_or_error(session, one) for session, one in zip(sessions, inputs, strict=True)]


def step_or_error(session, heard):
    """Return the frames of a session, or its exception."""
    try:
        return session.step(heard)
    except Exception as error:
        return error


def raise_error(session, heard):
    raise RuntimeError("the weights melted")


def output(pcm, rate_hz=SPOKEN_HZ):
    return lambda session, heard: [AudioOutput(pcm, rate_hz, "", heard.chunk_index, session.turn_id)]


def fatal_error(session, heard):
    return [ErrorFrame(session.turn_id, heard.timestamp, "the engine gives up")]
