"""Watch a speaker: where the VAD hears speech, how likely a turn is over, and when it is called over.

Synchronous and in samples, so that a file gives the same answers in every run; the microphone is the same with a thread between.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sca.audio.decode import BlockReader
from sca.audio.resample import StreamResampler
from sca.audio.vad import SileroVad
from sca.infer.device_worker import DeviceWorker
from sca.infer.interfaces import AudioSource
from sca.infer.turn.detector import Asked, ModelTurnDetector
from sca.infer.turn.policy import Decision, ThresholdSchedule
from sca.infer.turn.predictor import TurnPredictor
from sca.units import HEARD_HZ

__all__ = ["Event", "TurnMonitor", "document", "watch_file", "watch_source"]

Event = Asked | Decision


class TurnMonitor:
    """Push float32 `(n,)` at 16 kHz of any n, get what happened. See `ModelTurnDetector` for every and lenient."""

    def __init__(
        self,
        judge: TurnPredictor,
        patience: ThresholdSchedule,
        vad: SileroVad,
        *,
        every: int | None = None,
        lenient: bool = False,
    ) -> None:
        self._events: list[Event] = []
        self._vad = vad.stream()
        self._gate = ModelTurnDetector(judge, patience, tell=self._events.append, every=every, lenient=lenient)
        self.heard = self.turns = 0

    def push(self, samples: np.ndarray) -> list[Event]:
        """Hear more; returns the questions it led to, and the turns that are over with it."""
        for start in range(0, len(samples), HEARD_HZ):
            self._hear(samples[start : start + HEARD_HZ])
        events = self._events[:]
        self._events.clear()
        return events

    def _hear(self, samples: np.ndarray) -> None:
        self._gate.hear(samples)
        self.heard += len(samples)
        for probability in self._vad.push(samples).tolist():
            decision = self._gate.decide(probability)
            if decision is not None:
                self.turns += 1
                self._events.append(decision)

    def summary(self) -> dict[str, Any]:
        """How it ended, for JSON."""
        since = self._gate.open_since
        return {
            "type": "end",
            "heard_s": _seconds(self.heard),
            "turns": self.turns,
            "open_since_s": None if since is None else _seconds(since),
            "failures": self._gate.failures,
        }


def watch_file(path: Path, watch: TurnMonitor) -> Iterator[Event]:
    """Let it hear a sound file of any format, as fast as it can. Raises `InputError` for one that cannot be read."""
    with BlockReader(path) as reader:
        resampler = StreamResampler(reader.info.rate_hz, HEARD_HZ)
        for block in reader:
            yield from watch.push(resampler.push(block))
        yield from watch.push(resampler.flush())


async def watch_source(
    source: AudioSource, watch: TurnMonitor, worker: DeviceWorker, tell: Callable[[Event], None]
) -> None:
    """Let it hear a microphone until that ends or this is cancelled. The models run in `worker`, `tell` here."""
    async for block in source.blocks():
        async with worker.job(partial(watch.push, block.samples)) as job:
            while not await job.wait(1.0):
                pass
            for event in job.result():
                tell(event)


def document(event: Event) -> dict[str, Any]:
    """An event for JSON, times in seconds since the sound began."""
    if isinstance(event, Asked):
        return {
            "type": "asked",
            "at_s": _seconds(event.at),
            "turn": event.turn,
            "silence_s": _seconds(event.silence),
            "probability": event.probability,
            "threshold": event.threshold,
            "finished": event.finished,
            "failure": event.failure,
        }
    return {
        "type": "over",
        "at_s": _seconds(event.at),
        "turn": event.turn,
        "from_s": _seconds(event.spoke_from),
        "until_s": _seconds(event.spoke_until),
        "delay_s": _seconds(event.at - event.spoke_until),
        "reason": event.reason,
        "probability": event.probability,
    }


def _seconds(samples: int) -> float:
    return round(samples / HEARD_HZ, 4)
