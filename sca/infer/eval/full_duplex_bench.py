"""Full-Duplex-Bench: run an engine over the items of the benchmark and compute the metrics that need no transcripts.

Layout (v1.0 and v1.5): `<task>/<id>/input.wav`, with `pause.json`, `turn_taking.json`, `interrupt.json` or
`metadata.json` beside it. Written beside it: `output.wav`, synchronous with the input and of the same duration, and
`timing.json`. Time is simulated, so two runs give the same bytes. Metrics about the content of a response need the
benchmark's own scripts.
Source: github.com/DanielLin94144/Full-Duplex-Bench.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypedDict

from sca.audio.vad import SileroVad, shared_vad
from sca.config import Settings
from sca.distribution import __version__
from sca.errors import InputError, ScaError
from sca.infer.engine import Engine
from sca.infer.eval.strict_run import run_measured, silence_of
from sca.infer.eval.turn_metrics import (
    Task,
    TaskSummary,
    TurnMetrics,
    measure_backchannels,
    measure_interruption,
    measure_pause_handling,
    measure_turn_taking,
    speech_in,
    summarize,
)
from sca.infer.generation import GenerationOptions
from sca.infer.runners.file import FileReport
from sca.infer.session.report import write_report
from sca.units import HEARD_HZ, seconds_to_samples

__all__ = [
    "NEEDS_MORE",
    "BenchItem",
    "BenchItemResult",
    "BenchReport",
    "FileTurns",
    "find_audio_files",
    "find_items",
    "run_items",
    "task_of",
    "turn_latencies",
]

NEEDS_MORE = (
    "VAD timing only: scores that need a transcript or a judge (word-based take-over, GPT-4o relevance, JSD of backchannels, v1.5 "
    "behaviours) need the benchmark's own scripts on these output.wav"
)

_TASKS: tuple[tuple[str, Task], ...] = (
    ("pause_handling", "pause"),
    ("turn_taking", "turn"),
    ("user_interruption", "interruption"),
    ("user_backchannel", "other"),  # v1.5: a backchannel of the user, while the model speaks
    ("backchannel", "backchannel"),
)
_AUDIO_SUFFIXES = {".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".webm"}


@dataclass(frozen=True, slots=True)
class BenchItem:
    """One item of the benchmark.

    Attributes:
        task: The name of the task's folder.
        name: The name of the item's folder.
        folder: The item's folder.
        results: The folder of the output; None for that of the item.
    """

    task: str
    name: str
    folder: Path
    results: Path | None = None

    @property
    def input(self) -> Path:
        """The audio of the user."""
        return self.folder / "input.wav"

    def result(self, name: str) -> Path:
        """Return the path of a file that is written."""
        return (self.results or self.folder) / name


@dataclass(frozen=True, slots=True)
class BenchItemResult:
    """The result of an item.

    Attributes:
        item: The item.
        metrics: Its metrics, None if it failed.
        error: Why it failed.
        reused: Whether the output existed, made by the same settings.
    """

    item: BenchItem
    metrics: TurnMetrics | None
    error: str | None = None
    reused: bool = False


class TaskReport(TaskSummary):
    """The averages of a task in JSON."""

    kind: Task


class BenchReport(TypedDict):
    """The report of `run_items` in JSON.

    `items` has the task, the id, `reused`, `error` and the metrics of each item.
    """

    engine: str
    note: str
    tasks: dict[str, TaskReport]
    items: list[dict[str, object]]


class ItemReport(FileReport):
    """The contents of `timing.json` of an item. `made_by` has digests of everything that the output depends on."""

    made_by: dict[str, str]


def task_of(name: str) -> Task:
    """Return the kind of task of a folder name such as `candor_pause_handling`."""
    return next((task for part, task in _TASKS if part in name), "other")


def find_items(root: Path) -> list[BenchItem]:
    """Find every folder with an `input.wav`, sorted.

    Args:
        root: A folder of tasks, or the folder of one task.

    Raises:
        InputError: `root` is not a folder or contains no item.
    """
    if not root.is_dir():
        raise InputError(f"{root} is not a folder")
    found = sorted(path.parent for path in root.rglob("input.wav"))
    if not found:
        raise InputError(
            f"{root} does not contain <task>/<id>/input.wav", hint="give a folder in the layout of Full-Duplex-Bench"
        )
    return [BenchItem(folder.resolve().parent.name, folder.name, folder) for folder in found]


def run_items(
    items: Sequence[BenchItem],
    engine: Engine,
    settings: Settings,
    *,
    force: bool = False,
    on_item: Callable[[BenchItemResult, float], None] | None = None,
    generation: GenerationOptions | None = None,
) -> tuple[list[BenchItemResult], BenchReport]:
    """Run and measure every item. A failed item does not affect the others.

    An item in which the engine reports a problem fails. If an engine that answers in the background is silent in all
    items, its steps did not wait for it, and all items fail.

    Args:
        items: The items.
        engine: The engine.
        settings: The settings of the session.
        force: Run items again that have an output made by the same settings.
        on_item: Called with each result and the duration of its input in seconds.
        generation: Options of the sessions, also in `settings`; None for those of the engine.
    """
    vad = shared_vad()
    results: list[BenchItemResult] = []
    silent = True
    for item in items:
        heard_s = 0.0
        try:
            heard_s, reused = _ensure_output(item, engine, settings, generation, force=force)
            result = BenchItemResult(item, _measure(item, vad), reused=reused)
        except ScaError as error:
            result = BenchItemResult(item, None, error.message)
        results.append(result)
        silent = silent and (result.metrics is None or _is_silent(item, vad))
        if on_item is not None:
            on_item(result, heard_s)
    if silent and engine.info.answers_in_background:
        results = [one if one.error else BenchItemResult(one.item, None, silence_of(engine)) for one in results]
    return results, _report(results, engine)


def _ensure_output(
    item: BenchItem, engine: Engine, settings: Settings, generation: GenerationOptions | None, *, force: bool
) -> tuple[float, bool]:
    """Write output and timing unless they exist; return the duration of the input in seconds, and whether they existed."""
    output, timing = (item.result(name) for name in ("output.wav", "timing.json"))
    output.parent.mkdir(parents=True, exist_ok=True)
    made_by = {"settings": _fingerprint(engine, settings), "input": _digest(item.input)}
    heard_s = _read_timing(timing, made_by, output) if output.is_file() and not force else None
    if heard_s is not None:
        return heard_s, True
    document = run_measured(item.input, output, engine, settings, generation)
    report: ItemReport = {**document, "made_by": made_by | {"output": _digest(output)}}
    write_report(timing, report)
    return document["heard_s"], False


def _read_timing(path: Path, made_by: dict[str, str], output: Path) -> float | None:
    """Return the duration of the input in an existing `timing.json`; None if it is damaged or belongs to another output."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(document, dict) or document.get("made_by") != made_by | {"output": _digest(output)}:
        return None
    return float(document["heard_s"])


def _fingerprint(engine: Engine, settings: Settings) -> str:
    """Return a digest of everything that the output depends on, except the input."""
    values = settings.model_dump(mode="json", exclude={"paths"})
    text = json.dumps([__version__, engine.info.name, values], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def _is_silent(item: BenchItem, vad: SileroVad) -> bool:
    return not speech_in(vad, item.result("output.wav"))[0]


def _measure(item: BenchItem, vad: SileroVad) -> TurnMetrics:
    response, _ = speech_in(vad, item.result("output.wav"))
    user, length = speech_in(vad, item.input)
    task = task_of(item.task)
    if task == "backchannel":
        return measure_backchannels(response, length)
    if task == "interruption":
        for name in ("interrupt.json", "metadata.json"):
            if (item.folder / name).is_file():
                return measure_interruption(response, *_interruption_span(item.folder / name))
        raise InputError(f"{item.folder} has neither interrupt.json nor metadata.json")
    user_end = user[-1][1] if user else length
    if task == "pause":
        known = item.folder / "pause.json"
        return measure_pause_handling(response, _spans(known) if known.is_file() else [], user_end)
    known = item.folder / "turn_taking.json"
    return measure_turn_taking(response, _spans(known)[0][0] if known.is_file() else user_end)


@contextmanager
def _reading_timestamps(path: Path) -> Iterator[None]:
    try:
        yield
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path} contains no timestamps [start, end] in seconds") from error


def _span(start: object, end: object) -> tuple[int, int]:
    return _samples(start), _samples(end)


def _samples(seconds: object) -> int:
    if not isinstance(seconds, int | float | str):
        raise TypeError(f"not a number of seconds: {seconds!r}")
    return seconds_to_samples(float(seconds), HEARD_HZ)


def _spans(path: Path) -> list[tuple[int, int]]:
    """Return the timestamps of a v1.0 file: a list of objects with `timestamp: [start, end]` in seconds."""
    document = _read_json(path)
    with _reading_timestamps(path):
        if not isinstance(document, list):
            raise TypeError(f"not a list: {document!r}")
        found = [_span(entry["timestamp"][0], entry["timestamp"][-1]) for entry in document]
    if not found:
        raise InputError(f"{path} contains no timestamps")
    return found


def _interruption_span(path: Path) -> tuple[int, int]:
    """Return the time of the interruption: in v1.0 the first timestamp, in v1.5 `timestamps: [start, end]`."""
    document = _read_json(path)
    if isinstance(document, list):
        return _spans(path)[0]
    with _reading_timestamps(path):
        if not isinstance(document, dict):
            raise TypeError(f"not an object: {document!r}")
        start, end = document["timestamps"]
        return _span(start, end)


def _read_json(path: Path) -> object:
    try:
        document: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from error
    return document


def _report(results: Sequence[BenchItemResult], engine: Engine) -> BenchReport:
    tasks = sorted({r.item.task for r in results})
    metrics = {task: [r.metrics for r in results if r.item.task == task and r.metrics is not None] for task in tasks}
    return {
        "engine": engine.info.name,
        "note": NEEDS_MORE,
        "tasks": {task: {"kind": task_of(task), **summarize(metrics[task])} for task in tasks},
        "items": [
            {"task": r.item.task, "id": r.item.name, "reused": r.reused, "error": r.error}
            | (asdict(r.metrics) if r.metrics is not None else {})
            for r in results
        ],
    }


def find_audio_files(paths: Sequence[Path]) -> list[Path]:
    """Find the audio files among `paths` and in its folders. Files named `output.wav` in folders are skipped.

    Raises:
        InputError: No audio file was found.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        found += [
            file
            for file in sorted(path.rglob("*"))
            if file.suffix.lower() in _AUDIO_SUFFIXES and file.name != "output.wav"
        ]
    if not found:
        raise InputError(f"no sound file found in {', '.join(map(str, paths))}")
    return found


class TurnLatency(TypedDict):
    """One turn of the engine, in seconds since the start of the file.

    Attributes:
        turn: The turn id.
        speech_end_s: The end of the last speech before the chunk that the turn answers.
        commit_s: The end of the step that starts the answer.
        latency_s: The difference.
    """

    turn: int
    speech_end_s: float | None
    commit_s: float
    latency_s: float | None


class FileTurns(TypedDict):
    """The turns of one file."""

    file: str
    duration_s: float
    turns: list[TurnLatency]


def turn_latencies(path: Path, engine: Engine, settings: Settings, vad: SileroVad) -> FileTurns:
    """Measure when the engine decides that a turn of the user has ended, compared with its real end.

    Args:
        path: An audio file.
        engine: The engine.
        settings: The settings of the session.
        vad: Detects the end of speech.
    """
    with TemporaryDirectory(prefix="sca-turns-") as folder:
        document = run_measured(path, Path(folder) / "said.wav", engine, settings)
    segments, _ = speech_in(vad, path)
    chunk_samples = settings.grid.heard_samples
    turns: list[TurnLatency] = []
    for turn in document["turns"]:
        heard_samples = (turn["answers_chunk"] + 1) * chunk_samples
        commit_s = heard_samples / HEARD_HZ + settings.live.step_cost_ms / 1000
        ends = [min(end, heard_samples) for start, end in segments if start < heard_samples]
        end_s = ends[-1] / HEARD_HZ if ends else None
        latency_s = None if end_s is None else round(commit_s - end_s, 4)
        turns.append(
            {"turn": turn["turn_id"], "speech_end_s": end_s, "commit_s": round(commit_s, 4), "latency_s": latency_s}
        )
    return {"file": str(path), "duration_s": document["heard_s"], "turns": turns}
