"""What a run of a recipe would do: items, hours, time and space of each stage, from what is there and from rates.

Where the input of a stage is there, it is counted. Otherwise the numbers are those of the stages before it. The time is that of
earlier runs of this recipe in its folder, or else a rate that was measured on other material.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sca.cores import usable_cores
from sca.data.runs.ledger import LedgerEntry
from sca.data.runs.status import StageStatus, output_status
from sca.errors import InputError, ScaError
from sca.recipes.material import Amount, folder_bytes, measured_amount
from sca.recipes.plan import Plan, PlannedStage
from sca.recipes.state import RunState
from sca.schemas import read_results
from sca.urls.address import is_url

__all__ = ["Estimate", "estimate", "hours_done"]

START_S = 1.5
"""Seconds until a command has imported what it needs."""
CPU_S_AN_HOUR = {
    "transcode": 30.0,
    "convert": 40.0,
    "synth": 19.0,
    "build-duplex": 33.0,
    "verify": 27.0,
    "export": 1.3,
}
"""Processor seconds per hour of audio. See docs/LOG.md, "How long does a recipe take?"."""
WHISPER_CPU_S_AN_HOUR = 1150.0
"""The same of `transcribe` with `whisper-base`, in int8."""
_ENCODER = {"tiny": 0.4, "base": 1.0, "small": 4.3, "medium": 15.0, "large": 31.0}
"""Parameters of Whisper's encoders in parts of that of `base`, which has 20.6 million: most of the work is there."""
BYTES_AN_HOUR = {"download": 55e6, "convert": 400e6, "synth": 345e6, "build-duplex": 222e6, "export": 218e6}
"""Bytes that a stage writes per hour of audio."""
_PARALLEL = frozenset({"transcode", "convert", "synth", "build-duplex", "verify", "export"})
_FLAC = 0.5
"""Bytes of FLAC in parts of those of PCM, for speech."""
_SEARCH_S = 3.0
_OTHER_UNIT = frozenset({"export"})
"""Commands that count the hours of rows, which have each conversation twice, and shards as items."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a stage would do.

    Attributes:
        stage: The stage.
        state: "done", "to do" or "not selected".
        total: Items and hours of the whole stage, as far as they are known.
        todo: Those that are missing.
        time_s: The time that they take; None if unknown.
        is_measured: Whether the time is that of earlier runs of this recipe.
        bytes: What they need on the disk; None if unknown.
    """

    stage: PlannedStage
    state: str
    total: Amount
    todo: Amount
    time_s: float | None = None
    is_measured: bool = False
    bytes: int | None = None


def hours_done(plan: Plan, stage: PlannedStage, *, ended: bool) -> float:
    """Return the hours of audio that a stage has done, by which its rate is measured.

    Args:
        plan: The recipe.
        stage: The stage. Without an output, or with one in another unit, it counts the hours of its input.
        ended: Whether it has just ended.
    """
    if stage.output is not None and stage.command not in _OTHER_UNIT:
        return _hours_in(stage)
    is_there = stage.output is not None and not is_url(stage.output) and Path(stage.output).exists()
    sources = [_hours_in(earlier) for earlier in plan.stages if earlier.output in stage.inputs]
    return max(sources, default=0.0) if ended or is_there else 0.0


def _hours_in(stage: PlannedStage) -> float:
    made = _made(stage)
    return 0.0 if made is None or made.hours is None else made.hours


def estimate(plan: Plan, chosen: Sequence[PlannedStage], *, again: bool = False) -> list[Estimate]:
    """Return what a run would do, stage by stage.

    Args:
        plan: The recipe.
        chosen: The stages that are selected.
        again: Whether stages that are done run again.

    Raises:
        OutputError: The folder has something else in it.
        InputError: The ledger cannot be read.
    """
    state = RunState(plan)
    state.check_folder()
    entries = state.entries()
    amounts: dict[str, Amount] = {}
    changing: set[str] = set()
    found = []
    for stage in plan.stages:
        is_done = not again and state.is_done(stage, entries) and not changing & set(stage.inputs)
        total = _total(stage, amounts)
        made = _made(stage)
        expected = total if made is None else made
        if is_done or stage not in chosen:
            word = "not selected" if stage not in chosen else "done"
            found.append(Estimate(stage, word, expected, Amount(0, 0.0)))
        else:
            expected = expected.grown_to(total)
            todo = total if made is None else total.minus(made)
            found.append(_priced(Estimate(stage, "to do", total, todo), entries.get(stage.name)))
            changing.add(stage.output or "")
        if stage.output is not None:
            amounts[stage.output] = expected
    return found


def _made(stage: PlannedStage) -> Amount | None:
    """Return what the output of a stage has; None if there is none, or it is not counted."""
    if stage.output is None or is_url(stage.output):
        return None
    path = Path(stage.output)
    try:
        if stage.command == "search":
            return _found_videos(path) if path.is_file() else None
        statuses = [one for one in output_status(path) if one.stage == stage.command not in _OTHER_UNIT]
    except ScaError:  # a damaged ledger is reported by the command
        return None
    return _amount_of(statuses[0]) if statuses else None


def _amount_of(status: StageStatus) -> Amount:
    done = sum(status.counts.get(name, 0) for name in ("kept", "verified", "skipped", "dropped"))
    return Amount(done, status.audio_s / 3600)


def _found_videos(path: Path) -> Amount:
    try:
        results = read_results(path.read_text(encoding="utf-8"), str(path)).results
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read") from error
    lengths = [result.length for result in results if result.length]
    hours = sum(lengths) / len(lengths) * len(results) / 3600 if lengths else None
    return Amount(len(results), hours)


def _total(stage: PlannedStage, amounts: dict[str, Amount]) -> Amount:
    """Return items and hours of a stage: what its options have, or else those of its input."""
    given = stage.parameters
    if stage.command == "search":
        return Amount(_count(given.get("max_results")), None)
    if stage.command == "synth":
        hours = given.get("hours")
        return Amount(_count(given.get("conversations")), float(hours) if isinstance(hours, int | float) else None)
    known = [amounts[place] for place in stage.inputs if place in amounts]
    total = known[-1] if known else measured_amount(stage)
    most = _count(given.get("download_count"))
    return total if most is None else total.capped(most)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _priced(found: Estimate, entry: LedgerEntry | None) -> Estimate:
    """Add time and space."""
    stage, todo = found.stage, found.todo
    size = _bytes(stage, todo.hours)
    measured = entry.extra.get("measured") if entry is not None else None
    if measured and todo.hours is not None:
        time_s = START_S + todo.hours * measured["wall_s"] / measured["hours"]
        return replace(found, time_s=time_s, is_measured=True, bytes=size)
    return replace(found, time_s=_time_s(stage, todo), bytes=size)


def _time_s(stage: PlannedStage, todo: Amount) -> float | None:
    if stage.command == "search":
        return _SEARCH_S
    if stage.command == "download":
        pause_s = stage.parameters.get("sleep_interval")
        return todo.items * float(pause_s) if todo.items is not None and isinstance(pause_s, int | float) else None
    rate = _whisper_rate(stage) if stage.command == "transcribe" else CPU_S_AN_HOUR.get(stage.command)
    if rate is None or todo.hours is None:
        return None
    cores = usable_cores()
    if stage.command in _PARALLEL:
        jobs = _count(stage.parameters.get("jobs")) or cores
        cores = max(1, min(cores, jobs, todo.items or jobs))
    return START_S + rate * todo.hours / cores


def _whisper_rate(stage: PlannedStage) -> float | None:
    """Return the processor seconds per hour of a Whisper model; None for other models and on a GPU."""
    if stage.parameters.get("device") == "cuda":
        return None
    model = str(stage.parameters.get("model"))
    size = next((size for size in _ENCODER if size in model), None)
    return None if size is None else WHISPER_CPU_S_AN_HOUR * _ENCODER[size]


def _bytes(stage: PlannedStage, hours: float | None) -> int | None:
    """Return the bytes that hours of audio need: as many per hour as the output has, or as other outputs had."""
    if hours is None:
        return None
    there = _hours_in(stage)
    if there > 0 and stage.output is not None:
        return int(folder_bytes(Path(stage.output)) / there * hours)
    if stage.command == "transcode":
        given = stage.parameters
        rate, channels = given.get("sample_rate"), given.get("channels")
        if isinstance(rate, int) and isinstance(channels, int):
            return int(hours * 3600 * rate * 2 * channels * _FLAC)
    rate_of = BYTES_AN_HOUR.get(stage.command)
    return None if rate_of is None else int(rate_of * hours)
