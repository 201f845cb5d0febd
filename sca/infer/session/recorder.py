"""What is kept of a session: both tracks, the events with ids and times, the turns, the transcript, `timing.json`.

Observers of a session, each of which may be left out. Text is written only where it was asked for. Memory is bounded: tracks and
events are written as they come, and only the latest turns are held. No time of day is written, so two runs can be compared.
"""

import json
from collections import deque
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from sca.audio.pcm import INT16_MAX, pcm16_bytes
from sca.errors import check_target, writing
from sca.infer.engine import EngineInfo, SessionConfig
from sca.infer.frames import AudioOutput, ControlFrame, ErrorFrame, Interrupt, Lag, ThoughtPacket, TurnEnd
from sca.infer.interfaces import BaseListener
from sca.infer.session.pacing import SessionStats, spoken_length
from sca.infer.session.wav_writer import TrackWriter, WavWriter
from sca.units import HEARD_HZ, SPOKEN_HZ

__all__ = ["Recorder", "Transcript", "Turn", "TurnTimes", "timing_report", "write_timing_report"]

_TURNS_HELD = 1000

# Event names in `events.jsonl`: part of the file format, independent of the class names.
_EVENT_NAMES: dict[type[ControlFrame], str] = {
    TurnEnd: "turnend",
    Interrupt: "interrupt",
    Lag: "lag",
    ErrorFrame: "error",
}


@dataclass(slots=True)
class Turn:
    """What was heard of one turn, in samples at 24 kHz since the session began.

    answers_chunk: the chunk heard last when it began.   interrupted: by whom, None when it was said in full.
    """

    turn_id: int
    answers_chunk: int
    start: int
    end: int
    interrupted: str | None = None
    over: bool = False


class TurnTimes(BaseListener):
    """The latest turns, when they were heard.   begun: how many there were in all."""

    def __init__(self) -> None:
        self.begun = 0
        self.turns: deque[Turn] = deque(maxlen=_TURNS_HELD)

    def on_output(self, frame: AudioOutput, sample: int) -> None:
        """See `SessionListener`."""
        if not self.turns or self.turns[-1].turn_id != frame.turn_id:
            self.begun += 1
            self.turns.append(Turn(frame.turn_id, frame.chunk_index, sample, sample))
        self.turns[-1].end = sample + frame.num_samples

    def on_flush(self, sample: int) -> None:
        """See `SessionListener`."""
        for turn in reversed(self.turns):
            if turn.end <= sample:
                break
            turn.end = max(turn.start, sample)

    def on_control(self, frame: ControlFrame) -> None:
        """See `SessionListener`."""
        if not self.turns or self.turns[-1].turn_id != frame.turn_id or self.turns[-1].over:
            return
        if isinstance(frame, Interrupt):
            self.turns[-1].interrupted = frame.by
        self.turns[-1].over = isinstance(frame, Interrupt | TurnEnd)


def timing_report(info: EngineInfo, config: SessionConfig, stats: SessionStats, turns: TurnTimes) -> dict[str, Any]:
    """What `timing.json` holds. Turns are those of the session's time: what would be heard after its end is left out."""
    end = spoken_length(stats.heard_samples)
    found = [asdict(turn) | {"end": min(turn.end, end)} for turn in turns.turns if turn.start < end]
    return {
        "engine": info.name,
        "session_id": config.session_id,
        "chunk_samples_16k": config.grid.heard_samples,
        "heard_s": stats.heard_samples / HEARD_HZ,
        **stats.summary(),
        "turns_begun": turns.begun,
        "turns": [turn | {"start_s": turn["start"] / SPOKEN_HZ, "end_s": turn["end"] / SPOKEN_HZ} for turn in found],
    }


def write_timing_report(path: Path, document: dict[str, Any]) -> None:
    """Write it, whole or not at all."""
    check_target(path)
    with writing(path):
        part = path.with_name(f".{path.name}.part")
        try:
            part.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


class _Lines:
    """A text file that grows line by line and can be read meanwhile."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with writing(path):  # a pipe or /dev/stderr will do
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w", encoding="utf-8", buffering=1)

    def add(self, line: str) -> None:
        with writing(self._path):
            self._file.write(line + "\n")

    def close(self) -> None:
        with writing(self._path):
            self._file.close()


class Transcript(BaseListener):
    """What was said, one line a turn: when it began in seconds, a tab, the text. A turn cut off ends in an ellipsis."""

    def __init__(self, path: Path) -> None:
        self._lines = _Lines(path)
        self._turn: int | None = None
        self._start = 0
        self._text: list[str] = []

    def on_output(self, frame: AudioOutput, sample: int) -> None:
        """See `SessionListener`."""
        if frame.turn_id != self._turn:
            self._end("")
            self._turn, self._start = frame.turn_id, sample
        self._text.append(frame.text_log)

    def on_control(self, frame: ControlFrame) -> None:
        """See `SessionListener`."""
        if isinstance(frame, TurnEnd | Interrupt):
            self._end(" …" if isinstance(frame, Interrupt) else "")

    def _end(self, mark: str) -> None:
        text = " ".join("".join(self._text).split())
        if text:
            self._lines.add(f"{self._start / SPOKEN_HZ:.3f}\t{text}{mark}")
        self._turn = None
        self._text.clear()

    def close(self) -> None:
        """Write the turn that was going on, and let go of the file."""
        try:
            self._end("")
        finally:
            self._lines.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Recorder(BaseListener):
    """`heard.wav` (16 kHz), `said.wav` (24 kHz, equally long, as it was heard) and `events.jsonl` in a folder.

    A session that fails leaves what there was. Times in events are samples: `heard_sample` at 16 kHz, `sample` at 24 kHz.
    """

    def __init__(self, folder: Path, *, with_text: bool = False) -> None:
        self._with_text = with_text
        self._heard_samples = 0
        with ExitStack() as opened:
            self._events = _Lines(folder / "events.jsonl")
            opened.callback(self._events.close)
            self._heard = opened.enter_context(WavWriter(folder / "heard.wav", HEARD_HZ, keep=True))
            self._said = TrackWriter(opened.enter_context(WavWriter(folder / "said.wav", SPOKEN_HZ, keep=True)))
            self._open = opened.pop_all()

    def on_input(self, samples: np.ndarray, chunk_index: int) -> None:
        """See `SessionListener`."""
        self._heard.write(pcm16_bytes(samples, INT16_MAX))
        self._heard_samples += len(samples)

    def on_output(self, frame: AudioOutput, sample: int) -> None:
        """See `SessionListener`."""
        self._said.commit(min(sample, spoken_length(self._heard_samples)))
        self._said.put(sample, frame.audio_bytes)
        text = {"text": frame.text_log} if self._with_text else {}
        self._log(
            "said", turn_id=frame.turn_id, chunk=frame.chunk_index, sample=sample, samples=frame.num_samples, **text
        )

    def on_flush(self, sample: int) -> None:
        """See `SessionListener`."""
        self._said.cut(sample)
        self._log("cut", sample=sample)

    def on_packet(self, packet: ThoughtPacket) -> None:
        """See `SessionListener`."""
        text = {"text": packet.text_token_str, "tokens": packet.token_ids} if self._with_text else {}
        self._log("thought", chunk=packet.chunk_index, n_tokens=len(packet.token_ids), **text)

    def on_control(self, frame: ControlFrame) -> None:
        """See `SessionListener`."""
        values = asdict(frame)
        self._log(_EVENT_NAMES[type(frame)], heard_sample=values.pop("sample"), **values)

    def _log(self, event: str, **values: Any) -> None:
        self._events.add(json.dumps({"event": event, **values}, ensure_ascii=False))

    def close(self) -> None:
        """Make both tracks equally long and let them appear."""
        self._said.finish(spoken_length(self._heard_samples))
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
