"""The parrot: hears with the Silero VAD, and says a turn back when it is over. No weights, no words, no GPU.

It keeps listening while it speaks, and falls silent within a chunk when it is spoken over; so it exercises devices, turn-taking and
latency for real. It is the reference of the engine contract, and what runs where no model can.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sca.audio.pcm import INT16_MAX, pcm16_bytes
from sca.audio.resample import StreamResampler
from sca.audio.vad import SileroVad
from sca.config import LiveConfig, Settings
from sca.infer.engine import EngineInfo, EngineSession, SessionConfig, StepGuard
from sca.infer.engines.turn_taking import TurnDetector, TurnEar, gate_of
from sca.infer.frames import AudioInput, AudioOutput, Frame, Interrupt, TurnEnd
from sca.units import HEARD_HZ, SPOKEN_HZ

if TYPE_CHECKING:
    from sca.infer.turn.detector import ModelTurnDetector

__all__ = ["ParrotEngine", "TurnDetector", "load"]


def load(settings: Settings) -> "ParrotEngine":
    """The engine with the thresholds of `settings.live` and, where `live.turn_model` is set, a model to judge turns."""
    return ParrotEngine(settings.live, gate_of(settings))


class ParrotEngine:
    """See the module. Raises `MissingToolError` when the VAD's model is not installed."""

    info = EngineInfo(
        "parrot", "says your turn back when it ends; no model", uses_features=False, benefits_from_batching=False
    )

    def __init__(self, live: LiveConfig | None = None, gate: "Callable[[], ModelTurnDetector] | None" = None) -> None:
        self._live = LiveConfig() if live is None else live
        self._gate = gate
        self._vad = SileroVad()

    def open(self, session_config: SessionConfig) -> EngineSession:
        """Begin a conversation; sessions share the model, which has no state."""
        gate = None if self._gate is None else self._gate()
        return _ParrotSession(self._vad, session_config, self._live, gate)

    def step_batch(
        self, sessions: Sequence[EngineSession], inputs: Sequence[AudioInput]
    ) -> Sequence[Sequence[Frame] | Exception]:
        """One after the other; it is the way to the worker and back that many then take once."""
        return [_stepped(session, heard) for session, heard in zip(sessions, inputs, strict=True)]


class _Answer:
    """A turn at 16 kHz, handed out in chunks of int16 at 24 kHz; the last one is filled up with silence."""

    def __init__(self, turn: np.ndarray, heard_samples: int, spoken_samples: int) -> None:
        self._turn = turn
        self._step, self._chunk = heard_samples, spoken_samples
        self._taken = 0
        self._resampler = StreamResampler(HEARD_HZ, SPOKEN_HZ)
        self._ready = np.zeros(0, np.float32)
        self._drained = False
        self.duration_s = len(turn) / HEARD_HZ

    @property
    def over(self) -> bool:
        return self._drained and len(self._ready) == 0

    def chunk(self) -> bytes:
        # One sample more than the chunk, so that it is known whether this chunk is the last.
        while len(self._ready) <= self._chunk and not self._drained:
            piece = self._turn[self._taken : self._taken + self._step]
            self._taken += len(piece)
            more = self._resampler.push(piece) if len(piece) else self._resampler.flush()
            self._drained = len(piece) == 0
            self._ready = np.concatenate([self._ready, more])
        said, self._ready = self._ready[: self._chunk], self._ready[self._chunk :]
        filled = np.zeros(self._chunk, np.float32)
        filled[: len(said)] = said
        return pcm16_bytes(filled, INT16_MAX)


def _stepped(session: EngineSession, heard: AudioInput) -> Sequence[Frame] | Exception:
    try:
        return session.step(heard)
    except Exception as error:  # noqa: BLE001 - it is this session's, and the others go on
        return error


class _ParrotSession:
    def __init__(
        self, vad: SileroVad, config: SessionConfig, live: LiveConfig, gate: "ModelTurnDetector | None" = None
    ) -> None:
        self._grid = config.grid
        self._guard = StepGuard(config.grid.heard_samples)
        self._ear = TurnEar(vad, config, live, gate)
        self._begin()

    def _begin(self) -> None:
        self._answer: _Answer | None = None
        self._turn_id = 0

    def step(self, heard: AudioInput) -> Sequence[Frame]:
        self._guard.check(heard)
        frames: list[Frame] = []
        now = heard.timestamp + len(heard.samples)
        hearing = self._ear.hear(heard.samples)
        if self._answer is not None and hearing.speech:
            frames.append(Interrupt(self._turn_id, now))
            self._next_turn()
        first = hearing.turn is not None
        if hearing.turn is not None:
            self._answer = _Answer(hearing.turn, self._grid.heard_samples, self._grid.spoken_samples)
        if self._answer is not None:
            frames += self._say(self._answer, heard.chunk_index, now, first=first)
        return frames

    def _say(self, answer: _Answer, chunk_index: int, now: int, *, first: bool) -> list[Frame]:
        text = f"(says back {answer.duration_s:.1f} s)" if first else ""
        frames: list[Frame] = [AudioOutput(answer.chunk(), SPOKEN_HZ, text, chunk_index, self._turn_id)]
        if answer.over:
            frames.append(TurnEnd(self._turn_id, now))
            self._next_turn()
        return frames

    def _next_turn(self) -> None:
        self._answer = None
        self._turn_id += 1

    def interrupt(self, turn_id: int) -> None:
        self._answer = None
        self._turn_id = max(self._turn_id, turn_id)

    def reset(self) -> None:
        self._guard.reset()
        self._ear.reset()
        self._begin()

    def close(self) -> None:
        self._guard.close()
        self._ear.reset()
        self._begin()
