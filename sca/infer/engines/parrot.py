"""The parrot: hears with the Silero VAD, and says a turn back when it is over. No weights, no words, no GPU.

It keeps listening while it speaks, and falls silent within a chunk when it is spoken over; so it exercises devices, turn-taking and
latency for real. It is the reference of the engine contract, and what runs where no model can.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sca.audio.resample import StreamResampler
from sca.audio.vad import FRAME_SAMPLES, SileroVad
from sca.config import LiveConfig, Settings
from sca.infer.engine import EngineInfo, Session, SessionConfig, StepGuard
from sca.infer.frames import AudioInput, AudioOutput, Frame, Interrupt, TurnEnd
from sca.infer.wav import to_pcm
from sca.units import HEARD_HZ, SPOKEN_HZ, seconds_to_samples

if TYPE_CHECKING:
    from sca.infer.turn.gate import TurnModelGate

__all__ = ["Parrot", "TurnDetector", "load"]

_FRAME_MS = FRAME_SAMPLES * 1000 // HEARD_HZ
_PAD_FRAMES = 3  # kept before and after what the VAD calls speech: its onsets come late, word ends fade


def load(settings: Settings) -> "Parrot":
    """The engine with the thresholds of `settings.live` and, where `live.turn_model` is set, a model to judge turns."""
    live = settings.live
    if live.turn_model is None:
        return Parrot(live)
    # On use: a judge brings onnxruntime sessions or a client, which a plain parrot does without.
    from sca.infer.turn.gate import gates

    return Parrot(live, gates(settings.turn, live.turn_model, onset=live.vad_onset, offset=live.vad_offset))


class Parrot:
    """See the module. Raises `MissingToolError` when the VAD's model is not installed."""

    info = EngineInfo("parrot", "says your turn back when it ends; no model", wants_features=False)

    def __init__(self, live: LiveConfig | None = None, gate: "Callable[[], TurnModelGate] | None" = None) -> None:
        self._live = LiveConfig() if live is None else live
        self._gate = gate
        self._vad = SileroVad()

    def open(self, session_config: SessionConfig) -> Session:
        """Begin a conversation; sessions share the model, which has no state."""
        gate = None if self._gate is None else self._gate()
        return _ParrotSession(self._vad, session_config, self._live, gate)


class TurnDetector:
    """When does a turn begin and end? Fed one speech probability per frame of 32 ms.

    Speech begins at `vad_onset` and ends below `vad_offset`; speech of `min_speech_ms` in one piece makes a turn, and silence of
    `end_of_turn_ms` ends it.

    run: frames of the piece of speech that is going on, 0 in silence.
    """

    def __init__(self, live: LiveConfig) -> None:
        self._onset, self._offset = live.vad_onset, live.vad_offset
        self._least = _frames(live.min_speech_ms)
        self._patience = _frames(live.end_of_turn_ms)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.run = self._heard = self._silent = 0
        self._start: int | None = None

    def push(self, probability: float) -> tuple[int, int] | None:
        """Hear one frame; returns a turn that is over with it, as (first frame, last frame + 1) since the beginning."""
        self._heard += 1
        if probability >= (self._offset if self.run else self._onset):
            self.run += 1
            self._silent = 0
            if self._start is None and self.run >= self._least:
                self._start = self._heard - self.run
            return None
        self.run = 0
        self._silent += 1
        if self._start is None or self._silent < self._patience:
            return None
        turn = self._start, self._heard - self._silent
        self._start = None
        return turn


def _frames(ms: int) -> int:
    return max(1, -(-ms // _FRAME_MS))


class _Tape:
    """The last samples heard, addressed by their place since the beginning."""

    def __init__(self, keep_samples: int) -> None:
        self._keep = keep_samples
        self._pieces: deque[np.ndarray] = deque()
        self._begin = self._end = 0

    def add(self, samples: np.ndarray) -> None:
        self._pieces.append(samples)
        self._end += len(samples)
        while self._end - self._begin - len(self._pieces[0]) >= self._keep:
            self._begin += len(self._pieces.popleft())

    def cut(self, start: int, end: int) -> np.ndarray:
        """What of [start, end) is still there."""
        whole = np.concatenate(self._pieces)
        return whole[max(0, start - self._begin) : max(0, end - self._begin)]


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
        return to_pcm(filled)


class _ParrotSession:
    def __init__(
        self, vad: SileroVad, config: SessionConfig, live: LiveConfig, gate: "TurnModelGate | None" = None
    ) -> None:
        self._grid = config.grid
        self._guard = StepGuard(config.grid.heard_samples)
        self._vad = vad.stream()
        self._gate = gate
        self._turns: TurnDetector | TurnModelGate = TurnDetector(live) if gate is None else gate
        self._barge_in = _frames(live.barge_in_ms)
        # A turn is cut out when it has been over for a while; its first frames, and that silence, are kept that long.
        self._keep = seconds_to_samples(live.max_turn_s, HEARD_HZ)
        silence = _frames(live.end_of_turn_ms) * FRAME_SAMPLES if gate is None else gate.max_silence
        self._slack = silence + _PAD_FRAMES * FRAME_SAMPLES + config.grid.heard_samples
        self._begin()

    def _begin(self) -> None:
        self._tape = _Tape(self._keep + self._slack)
        self._answer: _Answer | None = None
        self._turn_id = 0

    def step(self, heard: AudioInput) -> Sequence[Frame]:
        self._guard.check(heard)
        self._tape.add(heard.samples)
        if self._gate is not None:
            self._gate.hear(heard.samples)
        frames: list[Frame] = []
        now = heard.timestamp + len(heard.samples)
        ended: tuple[int, int] | None = None
        longest = 0
        for probability in self._vad.push(heard.samples).tolist():
            ended = self._turns.push(probability) or ended
            longest = max(longest, self._turns.run)
        if self._answer is not None and (longest >= self._barge_in or ended is not None):
            frames.append(Interrupt(self._turn_id, now))
            self._next_turn()
        first = ended is not None
        if ended is not None:
            self._answer = _Answer(self._said(*ended), self._grid.heard_samples, self._grid.spoken_samples)
        if self._answer is not None:
            frames += self._say(self._answer, heard.chunk_index, now, first=first)
        return frames

    def _said(self, first_frame: int, last_frame: int) -> np.ndarray:
        end = (last_frame + _PAD_FRAMES) * FRAME_SAMPLES
        start = max(0, first_frame - _PAD_FRAMES) * FRAME_SAMPLES
        return self._tape.cut(max(start, end - self._keep), end)

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
        self._vad.reset()
        self._turns.reset()
        self._begin()

    def close(self) -> None:
        self._guard.close()
        self._begin()
