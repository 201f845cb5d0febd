"""The report of a session, `timing.json`: counters, latencies and turns.

The report contains no time of day, so the reports of two runs can be compared.
"""

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

from typing_extensions import override

from sca.files.atomic import atomic_write
from sca.infer.engine import EngineInfo, SessionConfig
from sca.infer.frames import AudioOutput, ControlFrame, Interrupt, TurnEnd
from sca.infer.interfaces import BaseListener
from sca.infer.session.pacing import spoken_length
from sca.infer.session.stats import SessionStats, StatsSummary
from sca.units import HEARD_HZ, SPOKEN_HZ

__all__ = ["TimingReport", "Turn", "TurnEntry", "TurnTimes", "timing_report", "write_report"]

_TURNS_HELD = 1000


@dataclass(slots=True)
class Turn:
    """When one turn of the engine was played, in samples at 24 kHz since the start of the session.

    Attributes:
        turn_id: The turn.
        answers_chunk: The latest input chunk when the turn started.
        start: The first sample.
        end: The sample after the last one.
        interrupted: The cause of an interruption (`Interrupt.by`), None if the turn was completed.
        over: Whether the turn has ended.
    """

    turn_id: int
    answers_chunk: int
    start: int
    end: int
    interrupted: str | None = None
    over: bool = False


class TurnTimes(BaseListener):
    """A listener that collects the times of the latest turns.

    Attributes:
        begun: The number of all turns.
        turns: The latest turns.
    """

    def __init__(self) -> None:
        self.begun = 0
        self.turns: deque[Turn] = deque(maxlen=_TURNS_HELD)

    @override
    def on_output(self, frame: AudioOutput, sample: int) -> None:
        if not self.turns or self.turns[-1].turn_id != frame.turn_id:
            self.begun += 1
            self.turns.append(Turn(frame.turn_id, frame.chunk_index, sample, sample))
        self.turns[-1].end = sample + frame.num_samples

    @override
    def on_flush(self, sample: int) -> None:
        for turn in reversed(self.turns):
            if turn.end <= sample:
                break
            turn.end = max(turn.start, sample)

    @override
    def on_control(self, frame: ControlFrame) -> None:
        if not self.turns or self.turns[-1].turn_id != frame.turn_id or self.turns[-1].over:
            return
        if isinstance(frame, Interrupt):
            self.turns[-1].interrupted = frame.by
        self.turns[-1].over = isinstance(frame, Interrupt | TurnEnd)

    def until(self, end: int) -> list[Turn]:
        """Return the latest turns without the audio from sample `end` on."""
        return [replace(turn, end=min(turn.end, end)) for turn in self.turns if turn.start < end]


class TurnEntry(TypedDict):
    """A `Turn` in JSON; times in samples at 24 kHz and in seconds."""

    turn_id: int
    answers_chunk: int
    start: int
    end: int
    interrupted: str | None
    over: bool
    start_s: float
    end_s: float


class TimingReport(StatsSummary):
    """The report of a session."""

    engine: str
    session_id: str
    chunk_samples_16k: int
    heard_s: float
    turns_begun: int
    turns: list[TurnEntry]


def timing_report(info: EngineInfo, config: SessionConfig, stats: SessionStats, turns: TurnTimes) -> TimingReport:
    """Return the report of a session.

    Audio that would be played after the end of the input is left out of the turns.
    """
    return {
        "engine": info.name,
        "session_id": config.session_id,
        "chunk_samples_16k": config.grid.heard_samples,
        "heard_s": stats.heard_samples / HEARD_HZ,
        **stats.summary(),
        "turns_begun": turns.begun,
        "turns": [_turn_entry(turn) for turn in turns.until(spoken_length(stats.heard_samples))],
    }


def _turn_entry(turn: Turn) -> TurnEntry:
    return {
        "turn_id": turn.turn_id,
        "answers_chunk": turn.answers_chunk,
        "start": turn.start,
        "end": turn.end,
        "interrupted": turn.interrupted,
        "over": turn.over,
        "start_s": turn.start / SPOKEN_HZ,
        "end_s": turn.end / SPOKEN_HZ,
    }


def write_report(path: Path, document: Mapping[str, object]) -> None:
    """Write a JSON report with `atomic_write`.

    Raises:
        OutputError: The file cannot be written.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
