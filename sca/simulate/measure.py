"""The turn-taking of talks: the metrics of one talk, and rates with their confidence over many.

The user's times are exact, and the engine's speech is what is not silent in its output; no detector is involved. A
response takes the turn if it lasts 1 s or longer, as in `sca.infer.eval.turn_metrics`. Times are samples at 16 kHz.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypedDict

from sca.infer.eval.turn_metrics import Segments, measure_interruption, measure_turn_taking
from sca.infer.session.report import Turn
from sca.simulate.talk import Talk
from sca.simulate.user import Said
from sca.units import HEARD_HZ, SPOKEN_HZ

__all__ = ["LatencySummary", "Rate", "ScenarioSummary", "TalkMetrics", "measure_talk", "summarize_talks", "wilson"]

_STOP_GRACE = HEARD_HZ
"""An engine that falls silent up to 1 s after a backchannel has stopped because of it."""
_Z = 1.959964
"""The standard normal quantile of a confidence of 95 %."""


@dataclass(frozen=True, slots=True)
class TalkMetrics:
    """The metrics of one talk; None if a metric does not apply.

    Attributes:
        spoke: Whether the engine spoke at all.
        took_over: Whether the engine took the turn after the last turn of the user.
        response_s: From the end of the user's last word to the first sound of the response, if it took the turn.
        false_takeover: Whether speech of the engine began before the end of the user's turn, or after noise.
        stopped: Whether an engine that was interrupted became silent before the user had finished.
        stop_s: From the start of the interruption to that silence.
        false_stop: Whether the engine became silent because of a backchannel.
    """

    spoke: bool
    took_over: bool | None = None
    response_s: float | None = None
    false_takeover: bool | None = None
    stopped: bool | None = None
    stop_s: float | None = None
    false_stop: bool | None = None


class Rate(TypedDict):
    """A rate: `count` of `of` talks, with the Wilson interval of 95 %."""

    count: int
    of: int
    rate: float
    low: float
    high: float


class LatencySummary(TypedDict):
    """Latencies in seconds."""

    count: int
    mean_s: float
    median_s: float
    max_s: float


class ScenarioSummary(TypedDict):
    """The results of one scenario; None if no talk has the metric."""

    talks: int
    failed: int
    not_judged: int
    take_over: Rate | None
    response_latency: LatencySummary | None
    false_takeover: Rate | None
    stop: Rate | None
    stop_latency: LatencySummary | None
    false_stop: Rate | None


def measure_talk(talk: Talk) -> TalkMetrics:
    """Measure a talk by the rules of its scenario."""
    spoke = bool(talk.speech)
    last = talk.said[-1]
    match talk.plan.scenario:
        case "interrupt":
            return _interrupted(talk, last) if last.kind == "interruption" else TalkMetrics(spoke)
        case "backchannel":
            stop = _false_stop(talk, last) if last.kind == "backchannel" else None
            return TalkMetrics(spoke, false_stop=stop)
        case "answer" | "hold":
            begun_by = last.end
        case "noise":
            begun_by = last.start  # a reaction to noise; speech during the question is not one
    response = [segment for segment in talk.speech if segment[0] >= last.end]
    turn = measure_turn_taking(response, last.end)
    early = any(start < begun_by for start, _ in talk.speech)
    return TalkMetrics(spoke, turn.took_over, turn.response_s, false_takeover=early)


def _interrupted(talk: Talk, interruption: Said) -> TalkMetrics:
    stop = _stop_after(talk.speech, interruption.start)
    if stop is None:
        return TalkMetrics(spoke=True)
    stopped = stop < interruption.end
    response = [(a, b) for a, b in talk.speech if a >= max(stop, interruption.end)]
    turn = measure_interruption(response, interruption.start, interruption.end)
    stop_s = (stop - interruption.start) / HEARD_HZ if stopped else None
    return TalkMetrics(True, turn.took_over, turn.response_s, stopped=stopped, stop_s=stop_s)


def _false_stop(talk: Talk, backchannel: Said) -> bool | None:
    """Return whether the engine stopped; None if it had finished its answer before or at this time."""
    stop = _stop_after(talk.speech, backchannel.start)
    if stop is None:
        return None
    if stop >= min(backchannel.end + _STOP_GRACE, len(talk.user)):
        return False
    return None if _completed(talk.turns, backchannel.start) else True


def _completed(turns: Iterable[Turn], at: int) -> bool:
    """Return whether the turn that is played at `at` was completed: its end was announced, and it was not interrupted."""
    playing = [turn for turn in turns if turn.start * HEARD_HZ <= at * SPOKEN_HZ]
    return bool(playing) and playing[-1].over and playing[-1].interrupted is None


def _stop_after(speech: Segments, at: int) -> int | None:
    """Return the end of the speech that is in progress at `at`; None if there is none."""
    return next((end for start, end in speech if start <= at < end), None)


def wilson(count: int, of: int) -> Rate:
    """Return a rate with its score interval.

    Source: Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).

    Args:
        count: The talks in which it happened.
        of: All talks, at least 1.
    """
    share, spread = count / of, _Z * _Z / of
    centre = (share + spread / 2) / (1 + spread)
    margin = _Z * math.sqrt(share * (1 - share) / of + spread / (4 * of)) / (1 + spread)
    low, high = max(0.0, centre - margin), min(1.0, centre + margin)
    return {"count": count, "of": of, "rate": round(share, 4), "low": round(low, 4), "high": round(high, 4)}


def summarize_talks(metrics: Sequence[TalkMetrics], *, failed: int = 0) -> ScenarioSummary:
    """Summarize the talks of one scenario.

    Args:
        metrics: Those of the talks that were held.
        failed: How many others failed.
    """
    judged = [m for m in metrics if (m.took_over, m.stopped, m.false_stop) != (None, None, None)]
    return {
        "talks": len(metrics) + failed,
        "failed": failed,
        "not_judged": len(metrics) - len(judged),
        "take_over": _rate(metrics, lambda m: m.took_over),
        "response_latency": _latency(m.response_s for m in metrics),
        "false_takeover": _rate(metrics, lambda m: m.false_takeover),
        "stop": _rate(metrics, lambda m: m.stopped),
        "stop_latency": _latency(m.stop_s for m in metrics),
        "false_stop": _rate(metrics, lambda m: m.false_stop),
    }


def _rate(metrics: Iterable[TalkMetrics], value: Callable[[TalkMetrics], bool | None]) -> Rate | None:
    known = [found for found in map(value, metrics) if found is not None]
    return wilson(sum(known), len(known)) if known else None


def _latency(values: Iterable[float | None]) -> LatencySummary | None:
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    middle = (known[(len(known) - 1) // 2] + known[len(known) // 2]) / 2
    mean = sum(known) / len(known)
    return {
        "count": len(known),
        "mean_s": round(mean, 4),
        "median_s": round(middle, 4),
        "max_s": round(known[-1], 4),
    }
