"""Recordings of a session: both audio tracks, the events with their times, and the transcript.

All recordings are written while the session runs, in bounded memory. Text is recorded only on request. No time of day
is recorded, so two runs can be compared.
"""

import json
from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.audio.pcm import INT16_MAX, pcm16_bytes
from sca.errors import OutputError, writing
from sca.files.atomic import check_no_link
from sca.infer.frames import (
    AnswerTiming,
    AudioOutput,
    ControlFrame,
    ErrorFrame,
    Interrupt,
    Lag,
    ThoughtPacket,
    TurnEnd,
    UserText,
)
from sca.infer.interfaces import BaseListener
from sca.infer.session.pacing import spoken_length
from sca.infer.session.track_writer import TrackWriter
from sca.infer.session.wav_writer import WavWriter
from sca.units import HEARD_HZ, SPOKEN_HZ

__all__ = ["Recorder", "Transcript"]

# Event names in `events.jsonl`: part of the file format, independent of the class names.
_EVENT_NAMES: dict[type[ControlFrame], str] = {
    TurnEnd: "turnend",
    Interrupt: "interrupt",
    Lag: "lag",
    ErrorFrame: "error",
    AnswerTiming: "timing",
}


_MAX_EVENT_BYTES = 1 << 16


class _LineWriter:
    """A text file that is written line by line and can be read meanwhile."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with writing(path):  # may also be a pipe or /dev/stderr
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w", encoding="utf-8", buffering=1)

    def add(self, line: str) -> None:
        with writing(self._path):
            self._file.write(line + "\n")

    def close(self) -> None:
        with writing(self._path):
            self._file.close()


def _check_folder(folder: Path) -> None:
    """Check that a recording replaces no files but those of an earlier recording.

    Raises:
        OutputError: The folder has files with the names of a recording that are none, or a link.
    """
    events = folder / "events.jsonl"
    check_no_link(events)
    with writing(folder):
        if events.is_file():
            with events.open("rb") as file:
                is_recording = _is_event(file.readline(_MAX_EVENT_BYTES))
        else:  # a recording begins with its events
            is_recording = not any((folder / name).is_file() for name in ("heard.wav", "said.wav"))
    if not is_recording:
        raise OutputError(f"{folder} has other files with the names of a recording", hint="give another folder")


def _is_event(line: bytes) -> bool:
    """Return whether a line is an event; a recording that was ended early may have none."""
    try:
        return not line or isinstance(json.loads(line), dict)
    except ValueError:
        return not line.endswith(b"\n") and line.startswith(b"{")


class _FileListener(BaseListener, ABC):
    """A listener that writes files, as a context manager that closes them."""

    @abstractmethod
    def close(self) -> None:
        """Complete and close the files."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Transcript(_FileListener):
    """A text file with one line per turn of the engine: its start in seconds, a tab, the text.

    The text of an interrupted turn ends with an ellipsis.
    """

    def __init__(self, path: Path) -> None:
        self._lines = _LineWriter(path)
        self._turn: int | None = None
        self._start = 0
        self._text: list[str] = []

    @override
    def on_output(self, frame: AudioOutput, sample: int) -> None:
        if frame.turn_id != self._turn:
            self._end_turn("")
            self._turn, self._start = frame.turn_id, sample
        self._text.append(frame.text_log)

    @override
    def on_control(self, frame: ControlFrame) -> None:
        if isinstance(frame, TurnEnd | Interrupt):
            self._end_turn(" …" if isinstance(frame, Interrupt) else "")

    def _end_turn(self, suffix: str) -> None:
        text = " ".join("".join(self._text).split())
        if text:
            self._lines.add(f"{self._start / SPOKEN_HZ:.3f}\t{text}{suffix}")
        self._turn = None
        self._text.clear()

    @override
    def close(self) -> None:
        """Write the current turn and close the file."""
        try:
            self._end_turn("")
        finally:
            self._lines.close()


class Recorder(_FileListener):
    """Records a session to a folder: `heard.wav` (16 kHz), `said.wav` (24 kHz) and `events.jsonl`.

    The two tracks have the same duration, and the output is recorded at the time it was played. If the session fails,
    the recording up to that point is kept. Times in events are samples: `heard_sample` at 16 kHz, `sample` at 24 kHz.

    Args:
        folder: The folder.
        with_text: Whether events contain the text of the engine.
    """

    def __init__(self, folder: Path, *, with_text: bool = False) -> None:
        self._with_text = with_text
        self._heard_samples = 0
        _check_folder(folder)
        with ExitStack() as opened:
            self._events = _LineWriter(folder / "events.jsonl")
            opened.callback(self._events.close)
            self._input = opened.enter_context(WavWriter(folder / "heard.wav", HEARD_HZ, keep=True))
            self._output = TrackWriter(opened.enter_context(WavWriter(folder / "said.wav", SPOKEN_HZ, keep=True)))
            self._files = opened.pop_all()

    @override
    def on_input(self, samples: NDArray[np.float32], chunk_index: int) -> None:
        self._input.write(pcm16_bytes(samples, INT16_MAX))
        self._heard_samples += len(samples)

    @override
    def on_output(self, frame: AudioOutput, sample: int) -> None:
        self._output.commit(min(sample, spoken_length(self._heard_samples)))
        self._output.put(sample, frame.audio_bytes)
        text = {"text": frame.text_log} if self._with_text else {}
        self._log(
            "said", turn_id=frame.turn_id, chunk=frame.chunk_index, sample=sample, samples=frame.num_samples, **text
        )

    @override
    def on_flush(self, sample: int) -> None:
        self._output.cut(sample)
        self._log("cut", sample=sample)

    @override
    def on_packet(self, packet: ThoughtPacket) -> None:
        text = {"text": packet.text_token_str, "tokens": packet.token_ids} if self._with_text else {}
        self._log("thought", chunk=packet.chunk_index, n_tokens=len(packet.token_ids), **text)

    @override
    def on_user_text(self, frame: UserText) -> None:
        text = {"text": frame.text} if self._with_text else {}
        self._log("user", heard_sample=frame.sample, is_final=frame.is_final, **text)

    @override
    def on_control(self, frame: ControlFrame) -> None:
        values = asdict(frame)
        if not values.get("calls", True):  # most turns call no tools
            del values["calls"]
        self._log(_EVENT_NAMES[type(frame)], heard_sample=values.pop("sample"), **values)

    def _log(self, event: str, **values: object) -> None:
        self._events.add(json.dumps({"event": event, **values}, ensure_ascii=False))

    @override
    def close(self) -> None:
        """Make both tracks equally long and make the files visible."""
        self._output.finish(spoken_length(self._heard_samples))
        self._files.close()
