"""Turns, for engines that answer when one is over: a VAD's probabilities in, the sound of a whole turn out."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sca.audio.vad import FRAME_SAMPLES, SileroVad
from sca.config import LiveConfig, Settings
from sca.infer.engine import SessionConfig
from sca.units import HEARD_HZ, seconds_to_samples

if TYPE_CHECKING:
    from sca.infer.turn.detector import ModelTurnDetector

__all__ = ["Hearing", "TurnDetector", "TurnEar", "gate_of"]

_FRAME_MS = FRAME_SAMPLES * 1000 // HEARD_HZ
_PAD_FRAMES = 3  # kept before and after what the VAD calls speech: its onsets come late, word ends fade


def gate_of(settings: Settings) -> "Callable[[], ModelTurnDetector] | None":
    """What makes a session's judge of turns where `live.turn_model` names one; None: silence alone ends a turn."""
    live = settings.live
    if live.turn_model is None:
        return None
    # On use: a judge brings onnxruntime sessions or a client, which plain silence does without.
    from sca.infer.turn.detector import gates

    return gates(settings.turn, live.turn_model, onset=live.vad_onset, offset=live.vad_offset)


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


@dataclass(frozen=True, slots=True)
class Hearing:
    """What a chunk brought. turn: the sound of a turn that it ends, float32 `(n,)`.   speech: whether it interrupts an answer."""

    turn: np.ndarray | None
    speech: bool


class TurnEar:
    """The ear of a session that answers turn by turn: tells when a turn is over, and when an answer is spoken over."""

    def __init__(
        self, vad: SileroVad, config: SessionConfig, live: LiveConfig, gate: "ModelTurnDetector | None" = None
    ) -> None:
        self._vad = vad.stream()
        self._gate = gate
        self._turns: TurnDetector | ModelTurnDetector = TurnDetector(live) if gate is None else gate
        self._barge_in = _frames(live.barge_in_ms)
        # A turn is cut out when it has been over for a while; its first frames, and that silence, are kept that long.
        self._keep = seconds_to_samples(live.max_turn_s, HEARD_HZ)
        silence = _frames(live.end_of_turn_ms) * FRAME_SAMPLES if gate is None else gate.max_silence
        self._slack = silence + _PAD_FRAMES * FRAME_SAMPLES + config.grid.heard_samples
        self._tape = _Tape(self._keep + self._slack)

    def hear(self, samples: np.ndarray) -> Hearing:
        """Take a chunk, float32 `(n,)` at 16 kHz."""
        self._tape.add(samples)
        if self._gate is not None:
            self._gate.hear(samples)
        ended: tuple[int, int] | None = None
        longest = 0
        for probability in self._vad.push(samples).tolist():
            ended = self._turns.push(probability) or ended
            longest = max(longest, self._turns.run)
        turn = None if ended is None else self._said(*ended)
        return Hearing(turn, speech=longest >= self._barge_in or ended is not None)

    def _said(self, first_frame: int, last_frame: int) -> np.ndarray:
        end = (last_frame + _PAD_FRAMES) * FRAME_SAMPLES
        start = max(0, first_frame - _PAD_FRAMES) * FRAME_SAMPLES
        return self._tape.cut(max(start, end - self._keep), end)

    def reset(self) -> None:
        """Forget everything heard."""
        self._vad.reset()
        self._turns.reset()
        self._tape = _Tape(self._keep + self._slack)
