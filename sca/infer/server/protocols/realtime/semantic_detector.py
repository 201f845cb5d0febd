"""Turns by an end-of-turn model (`semantic_vad`), with the eagerness of the client."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.audio.vad import FRAME_SAMPLES, SileroVad
from sca.infer.server.protocols.realtime.events import Eagerness, TurnDetection
from sca.infer.server.protocols.realtime.speech_detector import (
    MIN_SPEECH_FRAMES,
    SilenceDetector,
    SpeechDetector,
    SpeechEvent,
)
from sca.infer.turn.detector import ModelTurnDetector
from sca.infer.turn.policy import ThresholdSchedule
from sca.units import HEARD_HZ

__all__ = ["SemanticDetector", "new_detector"]

_MAX_SILENCE_S: dict[Eagerness, int] = {"low": 8, "medium": 4, "auto": 4, "high": 2}
"""The silence that ends a turn whatever the model says. Source: the documentation of the original protocol."""

_MORE_CERTAIN: dict[Eagerness, float] = {"low": 0.2, "medium": 0.0, "auto": 0.0, "high": -0.2}
"""Added to the probability above which a turn is over."""

_SILENCE_MS: dict[Eagerness, int] = {"low": 1500, "medium": 800, "auto": 800, "high": 400}
"""The silence that ends a turn if the server has no end-of-turn model, or while that fails."""


def new_detector(
    vad: SileroVad,
    detection: TurnDetection,
    schedule: ThresholdSchedule,
    make_turns: Callable[[ThresholdSchedule, int], ModelTurnDetector] | None,
) -> SpeechDetector:
    """Return the detector for the settings of a client.

    Args:
        vad: The VAD model.
        detection: The settings.
        schedule: When the model is asked by default.
        make_turns: Makes a turn detector with a model, given the schedule and the silence that ends a turn while the model
            fails, in ms; None if the server has none.
    """
    if detection.type == "server_vad":
        return SilenceDetector(vad, detection.threshold, detection.silence_duration_ms)
    eagerness = detection.eagerness
    if make_turns is None:
        return SilenceDetector(vad, detection.threshold, _SILENCE_MS[eagerness])
    more, longest = _MORE_CERTAIN[eagerness], _MAX_SILENCE_S[eagerness] * HEARD_HZ
    queries = tuple(
        (silence, min(1.0, max(0.0, least + more))) for silence, least in schedule.queries if silence < longest
    )
    return SemanticDetector(
        vad, make_turns(replace(schedule, queries=queries, max_silence=longest), _SILENCE_MS[eagerness])
    )


class SemanticDetector(SpeechDetector):
    """Detects speech with the VAD, and the ends of turns with a model that is asked in the background.

    Args:
        vad: The VAD model.
        turns: Detects the ends of turns.
    """

    def __init__(self, vad: SileroVad, turns: ModelTurnDetector) -> None:
        self._turns = turns
        turns.run_in_background()
        super().__init__(vad)

    @override
    def restart(self, start: int) -> None:
        super().restart(start)
        self._turns.reset()

    @property
    @override
    def in_speech(self) -> bool:
        return self.speaking or self._turns.run > 0

    @property
    @override
    def is_asking(self) -> bool:
        return self._turns.is_asking

    @override
    def push(self, samples: NDArray[np.float32]) -> Iterator[SpeechEvent]:
        self._turns.add_audio(samples)
        for probability in self._vad.push(samples).tolist():
            self._frame += 1
            decision = self._turns.decide(probability)
            run = self._turns.run
            self._silent_frames = 0 if run else self._silent_frames + 1
            if not self.speaking and run >= MIN_SPEECH_FRAMES:
                self.speaking = True
                yield SpeechEvent("started", self._start + (self._frame - run) * FRAME_SAMPLES)
            elif self.speaking and (decision is not None or not self._turns.in_turn):
                self.speaking = False
                yield self._stopped()

    @override
    def end(self) -> SpeechEvent | None:
        was_speaking, self.speaking = self.speaking, False
        end = self._stopped()
        self.restart(self._start + self._frame * FRAME_SAMPLES)
        return end if was_speaking else None
