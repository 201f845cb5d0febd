"""Full-Duplex-Bench: run an engine over its folders, and measure what can be measured without transcripts.

Layout (v1.0 and v1.5): `<task>/<id>/input.wav`, beside it `pause.json`, `turn_taking.json`, `interrupt.json` or `metadata.json`.
Written beside it: `output.wav`, time-synchronous and as long as the input, and `timing.json`. In virtual time, so two runs
give the same bytes. Judging what is said needs the benchmark's own scripts. Source: github.com/DanielLin94144/Full-Duplex-Bench.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sca.audio.decode import read_audio
from sca.audio.vad import SileroVad
from sca.config import Settings
from sca.errors import InputError, ScaError
from sca.infer.engine import Engine
from sca.infer.eval.turn_metrics import Measures, Task, backchannels, interruption, pauses, speech, summary, turn_taking
from sca.infer.runners.file import OutputFiles, run_file
from sca.infer.session.recorder import write_timing_report
from sca.units import HEARD_HZ, seconds_to_samples
from sca.version import __version__

__all__ = [
    "NEEDS_MORE",
    "BenchItemResult",
    "Item",
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

_KINDS: tuple[tuple[str, Task], ...] = (
    ("pause_handling", "pause"),
    ("turn_taking", "turn"),
    ("user_interruption", "interruption"),
    ("user_backchannel", "other"),  # v1.5: the user's, while the model speaks
    ("backchannel", "backchannel"),
)
_SOUNDS = {".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".webm"}


@dataclass(frozen=True, slots=True)
class Item:
    """One folder of the benchmark."""

    task: str
    name: str
    folder: Path

    @property
    def heard(self) -> Path:
        """What the user says."""
        return self.folder / "input.wav"


@dataclass(frozen=True, slots=True)
class BenchItemResult:
    """What became of an item: measures, or why there are none.   reused: it was there already, made alike."""

    item: Item
    measures: Measures | None
    error: str | None = None
    reused: bool = False


def task_of(name: str) -> Task:
    """The kind of task that a folder's name means, such as `candor_pause_handling`."""
    return next((kind for part, kind in _KINDS if part in name), "other")


def find_items(root: Path) -> list[Item]:
    """Every folder with an `input.wav`, sorted; `root` holds tasks or is one. Raises `InputError` when there is none."""
    if not root.is_dir():
        raise InputError(f"{root} is no folder")
    found = sorted(path.parent for path in root.rglob("input.wav"))
    if not found:
        raise InputError(
            f"{root} holds no <task>/<id>/input.wav", hint="give a folder in the layout of Full-Duplex-Bench"
        )
    return [Item(folder.resolve().parent.name, folder.name, folder) for folder in found]


def run_items(
    items: Sequence[Item],
    engine: Engine,
    settings: Settings,
    *,
    force: bool = False,
    on_item: Callable[[BenchItemResult, float], None] | None = None,
) -> tuple[list[BenchItemResult], dict[str, Any]]:
    """Run and measure every item; what is there and made alike is kept. An item that fails does so alone.

    on_item: gets each outcome, and how many seconds its input lasts.   Returns outcomes, and the report as JSON.
    """
    vad = SileroVad()
    outcomes = []
    for item in items:
        heard_s = 0.0
        try:
            document, reused = _made(item, engine, settings, force=force)
            heard_s = document["heard_s"]
            outcome = BenchItemResult(item, _measure(item, vad), reused=reused)
        except ScaError as error:
            outcome = BenchItemResult(item, None, error.message)
        outcomes.append(outcome)
        if on_item is not None:
            on_item(outcome, heard_s)
    return outcomes, _report(outcomes, engine)


def _made(item: Item, engine: Engine, settings: Settings, *, force: bool) -> tuple[dict[str, Any], bool]:
    """Make output and timing unless they are there; returns what `timing.json` holds, and whether it was there."""
    output, timing = item.folder / "output.wav", item.folder / "timing.json"
    made_by = {"settings": _fingerprint(engine, settings), "input": _digest(item.heard)}
    before = _timing(timing)
    if not force and output.is_file() and before.get("made_by") == made_by | {"output": _digest(output)}:
        return before, True
    document = run_file(item.heard, OutputFiles(output), engine, settings)
    document |= {"made_by": made_by | {"output": _digest(output)}}
    write_timing_report(timing, document)
    return document, False


def _timing(path: Path) -> dict[str, Any]:
    """What `timing.json` holds; nothing when it is missing or damaged, and then the item is made again."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _fingerprint(engine: Engine, settings: Settings) -> str:
    """What the answer depends on beside the input."""
    values = settings.model_dump(mode="json", exclude={"paths"})
    text = json.dumps([__version__, engine.info.name, values], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}") from error


def _measure(item: Item, vad: SileroVad) -> Measures:
    heard = read_audio(item.heard, HEARD_HZ)
    said = speech(vad, read_audio(item.folder / "output.wav", HEARD_HZ))
    kind = task_of(item.task)
    if kind == "backchannel":
        return backchannels(said, len(heard))
    if kind == "interruption":
        for name in ("interrupt.json", "metadata.json"):
            if (item.folder / name).is_file():
                return interruption(said, *_span(item.folder / name))
        raise InputError(f"{item.folder} has neither interrupt.json nor metadata.json")
    users = speech(vad, heard)
    user_end = users[-1][1] if users else len(heard)
    if kind == "pause":
        known = item.folder / "pause.json"
        return pauses(said, _spans(known) if known.is_file() else [], user_end)
    known = item.folder / "turn_taking.json"
    return turn_taking(said, _spans(known)[0][0] if known.is_file() else user_end)


def _spans(path: Path) -> list[tuple[int, int]]:
    """The timestamps of a v1.0 file: a list of objects with `timestamp: [start, end]` in seconds."""
    document = _read_json(path)
    try:
        pairs = [(entry["timestamp"][0], entry["timestamp"][-1]) for entry in document]
        found = [(seconds_to_samples(float(a), HEARD_HZ), seconds_to_samples(float(b), HEARD_HZ)) for a, b in pairs]
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path} holds no timestamps [start, end] in seconds") from error
    if not found:
        raise InputError(f"{path} holds no timestamps")
    return found


def _span(path: Path) -> tuple[int, int]:
    """The interruption: of v1.0 the first timestamp, of v1.5 `timestamps: [start, end]`."""
    document = _read_json(path)
    if isinstance(document, list):
        return _spans(path)[0]
    try:
        start, end = (seconds_to_samples(float(value), HEARD_HZ) for value in document["timestamps"])
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path} holds no timestamps [start, end] in seconds") from error
    return start, end


def _report(outcomes: Sequence[BenchItemResult], engine: Engine) -> dict[str, Any]:
    tasks = sorted({outcome.item.task for outcome in outcomes})
    of_task = {task: [o for o in outcomes if o.item.task == task] for task in tasks}
    return {
        "engine": engine.info.name,
        "note": NEEDS_MORE,
        "tasks": {
            task: {"kind": task_of(task)} | summary([o.measures for o in group if o.measures is not None])
            for task, group in of_task.items()
        },
        "items": [
            {"task": o.item.task, "id": o.item.name, "reused": o.reused, "error": o.error}
            | (asdict(o.measures) if o.measures is not None else {})
            for o in outcomes
        ],
    }


def find_audio_files(paths: Sequence[Path]) -> list[Path]:
    """The sound files among `paths` and below its folders (`output.wav` is our own). Raises `InputError` when there is none."""
    found: list[Path] = []
    for path in paths:
        below = sorted(path.rglob("*")) if path.is_dir() else [path]
        found += [one for one in below if one == path or (one.suffix.lower() in _SOUNDS and one.name != "output.wav")]
    if not found:
        raise InputError(f"there is no sound file in {', '.join(map(str, paths))}")
    return found


def turn_latencies(path: Path, engine: Engine, settings: Settings, vad: SileroVad) -> dict[str, Any]:
    """When the engine decided that a turn of the user is over, beside when it was: one file, seconds since its beginning.

    commit_s: the step that begins an answer has ended.   speech_end_s: the last speech before the chunk it answers was over.
    """
    with TemporaryDirectory(prefix="sca-turns-") as folder:
        document = run_file(path, OutputFiles(Path(folder) / "said.wav"), engine, settings)
    segments = speech(vad, read_audio(path, HEARD_HZ))
    chunk = settings.grid.heard_samples
    turns = []
    for turn in document["turns"]:
        heard = (turn["answers_chunk"] + 1) * chunk
        commit_s = heard / HEARD_HZ + settings.live.step_cost_ms / 1000
        ends = [min(end, heard) for start, end in segments if start < heard]
        end_s = ends[-1] / HEARD_HZ if ends else None
        latency_s = None if end_s is None else round(commit_s - end_s, 4)
        turns.append(
            {"turn": turn["turn_id"], "speech_end_s": end_s, "commit_s": round(commit_s, 4), "latency_s": latency_s}
        )
    return {"file": str(path), "duration_s": document["heard_s"], "turns": turns}
