"""The parrot: an engine without a model that repeats each turn of the user when it ends.

It detects turns with the Silero VAD, continues to listen while it speaks, and stops within a chunk when the user
interrupts it. It exercises devices, turn-taking and latency for real, without weights and without a GPU. It is the
reference for the engine contract.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sca.audio.pcm import INT16_MAX, pcm16_bytes
from sca.audio.resample import StreamResampler
from sca.audio.vad import SileroVad, shared_vad
from sca.config import LiveConfig, Settings
from sca.infer.engine import EngineInfo, EngineSession, SessionConfig, StepGuard
from sca.infer.engines.turn_taking import TurnSegmenter, turn_detector_factory
from sca.infer.frames import AudioInput, AudioOutput, Frame, Interrupt, TurnEnd
from sca.units import HEARD_HZ, SPOKEN_HZ

if TYPE_CHECKING:
    from sca.infer.turn.detector import ModelTurnDetector

__all__ = ["ParrotEngine", "load"]


def load(settings: Settings) -> "ParrotEngine":
    """Return the engine with the thresholds of `settings.live` and the turn model of `live.turn_model`, if set."""
    return ParrotEngine(settings.live, turn_detector_factory(settings))


class ParrotEngine:
    """An engine that repeats each turn of the user.

    Args:
        live: The thresholds of turn detection.
        make_detector: Makes the turn detector of a session; None uses silence.

    Raises:
        MissingToolError: The model of the VAD is not installed.
    """

    info = EngineInfo(
        "parrot",
        "repeats your turn when it ends; no model",
        uses_features=False,
        benefits_from_batching=False,
        follows_turns=True,
        follows_prompt=False,
        examples=(
            "Hello, can you hear me?",
            "One, two, three, four, five.",
            "This is a longer sentence, and I will talk again before you have repeated all of it.",
        ),
    )

    def __init__(
        self, live: LiveConfig | None = None, make_detector: "Callable[[], ModelTurnDetector] | None" = None
    ) -> None:
        self._live = LiveConfig() if live is None else live
        self._make_detector = make_detector
        self._vad = shared_vad()

    def open(self, session_config: SessionConfig) -> EngineSession:
        """Open a session. Sessions share the VAD model, which is stateless."""
        detector = None if self._make_detector is None else self._make_detector()
        return _ParrotSession(self._vad, session_config, self._live, detector)

    def step_batch(
        self, sessions: Sequence[EngineSession], inputs: Sequence[AudioInput]
    ) -> Sequence[Sequence[Frame] | Exception]:
        """Step the sessions one after the other. Batching saves the round trips to the worker."""
        return [_step(session, audio) for session, audio in zip(sessions, inputs, strict=True)]


class _Answer:
    """A turn at 16 kHz, returned in int16 chunks at 24 kHz. The last chunk is padded with silence."""

    def __init__(self, turn: NDArray[np.float32], heard_samples: int, spoken_samples: int) -> None:
        self._turn = turn
        self._step, self._chunk = heard_samples, spoken_samples
        self._position = 0
        self._resampler = StreamResampler(HEARD_HZ, SPOKEN_HZ)
        self._ready = np.zeros(0, np.float32)
        self._flushed = False
        self.duration_s = len(turn) / HEARD_HZ

    @property
    def over(self) -> bool:
        return self._flushed and len(self._ready) == 0

    def next_chunk(self) -> bytes:
        # One sample more than the chunk shows whether this chunk is the last.
        while len(self._ready) <= self._chunk and not self._flushed:
            piece = self._turn[self._position : self._position + self._step]
            self._position += len(piece)
            resampled = self._resampler.push(piece) if len(piece) else self._resampler.flush()
            self._flushed = len(piece) == 0
            self._ready = np.concatenate([self._ready, resampled])
        chunk, self._ready = self._ready[: self._chunk], self._ready[self._chunk :]
        padded = np.zeros(self._chunk, np.float32)
        padded[: len(chunk)] = chunk
        return pcm16_bytes(padded, INT16_MAX)


def _step(session: EngineSession, audio: AudioInput) -> Sequence[Frame] | Exception:
    try:
        return session.step(audio)
    except Exception as error:  # noqa: BLE001 - ends this session only
        return error


class _ParrotSession:
    def __init__(
        self, vad: SileroVad, config: SessionConfig, live: LiveConfig, detector: "ModelTurnDetector | None"
    ) -> None:
        self._grid = config.grid
        self._guard = StepGuard(config.grid.heard_samples)
        self._segmenter = TurnSegmenter(vad, config, live, detector)
        self._start()

    def _start(self) -> None:
        self._answer: _Answer | None = None
        self._turn_id = 0

    def step(self, audio: AudioInput) -> Sequence[Frame]:
        self._guard.check(audio)
        frames: list[Frame] = []
        now = audio.timestamp + len(audio.samples)
        update = self._segmenter.push(audio)
        if self._answer is not None and update.barge_in:
            frames.append(Interrupt(self._turn_id, now))
            self._next_turn()
        is_first = update.turn is not None
        if update.turn is not None:
            self._answer = _Answer(update.turn, self._grid.heard_samples, self._grid.spoken_samples)
        if self._answer is not None:
            frames += self._speak(self._answer, audio.chunk_index, now, is_first=is_first)
        return frames

    def _speak(self, answer: _Answer, chunk_index: int, now: int, *, is_first: bool) -> list[Frame]:
        text = f"(says back {answer.duration_s:.1f} s)" if is_first else ""
        frames: list[Frame] = [AudioOutput(answer.next_chunk(), SPOKEN_HZ, text, chunk_index, self._turn_id)]
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
        self._segmenter.reset()
        self._start()

    def close(self) -> None:
        self._guard.close()
        self._segmenter.reset()
        self._start()
