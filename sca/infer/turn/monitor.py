"""Monitors a speaker: the model's probability at every pause, and the turns.

Synchronous and counted in samples, so that a file gives the same result in every run. With a microphone the models run
in a thread.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sca.audio.decode import BlockReader
from sca.audio.resample import StreamResampler
from sca.audio.vad import SileroVad
from sca.infer.device_worker import DeviceWorker
from sca.infer.interfaces import AudioSource
from sca.infer.turn.detector import ModelTurnDetector, QueryResult
from sca.infer.turn.policy import Decision, ThresholdSchedule
from sca.infer.turn.predictor import TurnPredictor
from sca.units import HEARD_HZ

__all__ = ["TurnEvent", "TurnMonitor", "event_document", "monitor_file", "monitor_source"]

TurnEvent = QueryResult | Decision

_WAIT_S = 1.0


class TurnMonitor:
    """Finds the turns in a stream of audio.

    Attributes:
        samples: How many samples were pushed.
        turns: How many turns are over.
    """

    def __init__(
        self,
        predictor: TurnPredictor,
        schedule: ThresholdSchedule,
        vad: SileroVad,
        *,
        query_interval: int | None = None,
        lenient: bool = False,
    ) -> None:
        """Create a monitor.

        Args:
            predictor: The model.
            schedule: When it is queried.
            vad: The VAD model.
            query_interval: See `ModelTurnDetector`.
            lenient: See `ModelTurnDetector`.
        """
        self._events: list[TurnEvent] = []
        self._vad = vad.stream()
        self._detector = ModelTurnDetector(
            predictor, schedule, on_query=self._events.append, query_interval=query_interval, lenient=lenient
        )
        self.samples = self.turns = 0

    def push(self, samples: NDArray[np.float32]) -> list[TurnEvent]:
        """Process more audio.

        Args:
            samples: Float32 `(n,)` at 16 kHz, of any length.

        Returns:
            The queries, and the turns that are over.
        """
        for start in range(0, len(samples), HEARD_HZ):
            self._push_second(samples[start : start + HEARD_HZ])
        events = self._events[:]
        self._events.clear()
        return events

    def _push_second(self, samples: NDArray[np.float32]) -> None:
        self._detector.add_audio(samples)
        self.samples += len(samples)
        for probability in self._vad.push(samples).tolist():
            decision = self._detector.decide(probability)
            if decision is not None:
                self.turns += 1
                self._events.append(decision)

    def summary(self) -> dict[str, object]:
        """Return the summary for JSON."""
        start = self._detector.open_since
        return {
            "type": "end",
            "heard_s": _seconds(self.samples),
            "turns": self.turns,
            "open_since_s": None if start is None else _seconds(start),
            "failures": self._detector.failures,
        }


def monitor_file(path: Path, monitor: TurnMonitor) -> Iterator[TurnEvent]:
    """Process an audio file of any format as fast as possible, and yield the events.

    Raises:
        InputError: The file cannot be read.
    """
    with BlockReader(path) as reader:
        resampler = StreamResampler(reader.info.rate_hz, HEARD_HZ)
        for block in reader:
            yield from monitor.push(resampler.push(block))
        yield from monitor.push(resampler.flush())


async def monitor_source(
    source: AudioSource, monitor: TurnMonitor, worker: DeviceWorker, on_event: Callable[[TurnEvent], None]
) -> None:
    """Process a live source until it ends or the task is cancelled.

    Args:
        source: The source.
        monitor: The monitor.
        worker: Runs the models.
        on_event: Called on the event loop.
    """
    async for block in source.blocks():
        async with worker.job(partial(monitor.push, block.samples)) as job:
            while not await job.wait(_WAIT_S):
                pass
            for event in job.result():
                on_event(event)


def event_document(event: TurnEvent) -> dict[str, object]:
    """Return an event for JSON, with times in seconds since the audio started."""
    if isinstance(event, QueryResult):
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
        "from_s": _seconds(event.speech_start),
        "until_s": _seconds(event.speech_end),
        "delay_s": _seconds(event.at - event.speech_end),
        "reason": event.reason,
        "probability": event.probability,
    }


def _seconds(samples: int) -> float:
    return round(samples / HEARD_HZ, 4)
