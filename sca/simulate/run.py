"""Talks of an engine with the simulated user: all of them, their report, and their recordings.

run = hold_talks(load_engine("parrot"), load_settings(), ("answer", "hold"), 10)
run.report["scenarios"]["answer"]["take_over"]
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np

from sca.audio.pcm import float32_to_int16
from sca.audio.resample import resample
from sca.config import Settings
from sca.data.runs.files import write_json
from sca.data.runs.owner import TALK, claim, ensure_owned_dir
from sca.errors import InputError, ScaError, UsageError, writing
from sca.infer.engine import Engine
from sca.simulate.measure import ScenarioSummary, TalkMetrics, measure_talk, summarize_talks
from sca.simulate.plan import SCENARIOS, Scenario, make_plan
from sca.simulate.talk import Talk, hold_talk
from sca.synth.layout import write_audio
from sca.units import HEARD_HZ, SPOKEN_HZ

__all__ = ["TalkReport", "TalkResult", "TalkRun", "hold_talks"]

_NOTE = "virtual time: latencies do not include the computing time of the engine, except live.step_cost_ms per step"


@dataclass(frozen=True, slots=True)
class TalkResult:
    """The result of one talk.

    Attributes:
        name: The name of the talk.
        scenario: Its scenario.
        seconds: How long it was.
        metrics: Its metrics, None if it failed.
        error: Why it failed.
    """

    name: str
    scenario: Scenario
    seconds: float
    metrics: TalkMetrics | None
    error: str | None = None


class TalkReport(TypedDict):
    """The report of all talks in JSON. `items` has the name, the error and the metrics of each talk."""

    engine: str
    seed: int
    voices: str
    notes: list[str]
    scenarios: dict[str, ScenarioSummary]
    items: list[dict[str, object]]


@dataclass(frozen=True, slots=True)
class TalkRun:
    """The talks with an engine.

    Attributes:
        results: The result of each talk.
        report: The report.
    """

    results: tuple[TalkResult, ...]
    report: TalkReport


def hold_talks(
    engine: Engine,
    settings: Settings,
    scenarios: Sequence[Scenario] = SCENARIOS,
    talks: int = 10,
    *,
    output: Path | None = None,
    on_talk: Callable[[TalkResult], None] | None = None,
) -> TalkRun:
    """Hold talks of an engine with the simulated user. A failed talk does not affect the others.

    Args:
        engine: The engine.
        settings: Of the session; `synth.voices` and `synth.seed` are those of the user.
        scenarios: The scenarios.
        talks: The number of talks in each scenario. A talk does not depend on the others.
        output: A folder for the recording and the events of each talk, and `report.json`.
        on_talk: Called with each result.

    Raises:
        UsageError: The engine makes no sound, or a voice does not exist.
        MissingToolError: The engine of a voice needs something that is not installed.
        OutputError: The folder has other files in it, or cannot be written to.
    """
    if not engine.info.produces_audio:
        raise UsageError(f"the engine {engine.info.name} makes no sound, so there is nothing to measure")
    if output is not None:
        _claim(output)
    results = []
    for scenario in scenarios:
        for number in range(1, talks + 1):
            result, talk = _result(scenario, number, engine, settings)
            results.append(result)
            if output is not None and talk is not None:
                _write_talk(output, talk, result, engine)
            if on_talk is not None:
                on_talk(result)
    report = _report(results, scenarios, engine, settings)
    if output is not None:
        write_json(output / "report.json", report)
    return TalkRun(tuple(results), report)


def _result(scenario: Scenario, number: int, engine: Engine, settings: Settings) -> tuple[TalkResult, Talk | None]:
    name = f"{scenario}-{number:03d}"
    try:
        plan = make_plan(scenario, number, settings.synth)
    except InputError as error:  # a voice that cannot speak a text; a voice that is missing ends the run
        return TalkResult(name, scenario, 0.0, None, error.message), None
    try:
        talk = hold_talk(plan, engine, settings)
    except ScaError as error:
        return TalkResult(name, scenario, 0.0, None, error.message), None
    return TalkResult(name, scenario, len(talk.user) / HEARD_HZ, measure_talk(talk)), talk


def _report(
    results: Sequence[TalkResult], scenarios: Sequence[Scenario], engine: Engine, settings: Settings
) -> TalkReport:
    held = [result.metrics for result in results if result.metrics is not None]
    notes = [_NOTE]
    silent = not any(metrics.spoke for metrics in held)
    if held and silent:
        notes.append(_silence(engine, len(held)))
    summaries: dict[str, ScenarioSummary] = {}
    for scenario in scenarios:
        ours = [result.metrics for result in results if result.scenario == scenario]
        known = [TalkMetrics(spoke=False) if silent else metrics for metrics in ours if metrics is not None]
        summaries[scenario] = summarize_talks(known, failed=len(ours) - len(known))
    return {
        "engine": engine.info.name,
        "seed": settings.synth.seed,
        "voices": settings.synth.voices,
        "notes": notes,
        "scenarios": summaries,
        "items": [
            {"talk": result.name, "seconds": result.seconds, "error": result.error}
            | (asdict(result.metrics) if result.metrics is not None else {})
            for result in results
        ],
    }


def _silence(engine: Engine, talks: int) -> str:
    """Say why there are no numbers: silence would count as perfect patience, and as misses that may be no fault of the engine."""
    reason = (
        ". It answers in the background: its steps must wait in lockstep (SessionConfig.pace)"
        if engine.info.answers_in_background
        else ""
    )
    return f"no numbers: the engine {engine.info.name} was silent in all of the {talks} talks{reason}"


def _claim(output: Path) -> None:
    """Take a folder for this run: talks of an earlier run are removed, so that the folder has those of one run."""
    ensure_owned_dir(output, TALK)
    with writing(output):
        for scenario in SCENARIOS:
            for path in [*output.glob(f"{scenario}-[0-9]*.wav"), *output.glob(f"{scenario}-[0-9]*.json")]:
                path.unlink()
    claim(output, TALK)


def _write_talk(output: Path, talk: Talk, result: TalkResult, engine: Engine) -> None:
    """Write the recording, the user on the left and the engine on the right, and the events."""
    tracks = np.zeros((len(talk.engine), 2), np.float32)
    user = resample(talk.user, HEARD_HZ, SPOKEN_HZ)[: len(tracks)]
    tracks[: len(user), 0] = user
    tracks[:, 1] = talk.engine
    write_audio(output / f"{talk.plan.name}.wav", float32_to_int16(np.clip(tracks, -1, 1), 32767), SPOKEN_HZ)
    write_json(output / f"{talk.plan.name}.json", _events(talk, result, engine))


def _events(talk: Talk, result: TalkResult, engine: Engine) -> dict[str, object]:
    return {
        "talk": talk.plan.name,
        "engine": engine.info.name,
        "voice": str(talk.plan.voice),
        "seconds": result.seconds,
        "user": [
            {
                "kind": said.kind,
                "start_s": _seconds(said.start),
                "end_s": _seconds(said.end),
                "words": [[text, _seconds(start), _seconds(end)] for text, start, end in said.words],
            }
            for said in talk.said
        ],
        "engine_speech": [{"start_s": _seconds(start), "end_s": _seconds(end)} for start, end in talk.speech],
        "engine_turns": [
            {
                "turn_id": turn.turn_id,
                "start_s": _seconds(turn.start, SPOKEN_HZ),
                "end_s": _seconds(turn.end, SPOKEN_HZ),
                "interrupted": turn.interrupted,
                "text": talk.texts.get(turn.turn_id, ""),
            }
            for turn in talk.turns
        ],
        "metrics": None if result.metrics is None else asdict(result.metrics),
    }


def _seconds(sample: int, rate_hz: int = HEARD_HZ) -> float:
    return round(sample / rate_hz, 6)
