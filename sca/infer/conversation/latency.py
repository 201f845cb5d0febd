"""The latency of answers by part: from the end of the user's speech to the first sound."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping

import numpy as np

__all__ = ["STAGES", "LatencyLog", "budget_line"]

STAGES = ("endpoint", "recognizer", "first_token", "first_clause", "voice", "next_step")
"""The parts of a latency in order: to the decision that the turn is over, to its text, to the first token of the answer, to
its first clause, to its first sound, to the step that takes the sound."""

_EVENTS = {
    "endpoint": "turn decided",
    "recognizer": "text",
    "first_token": "first token",
    "first_clause": "first clause",
    "voice": "first sound",
    "next_step": "handed over",
}
"""What has happened at the end of each part."""

_KEPT = 10_000


def budget_line(stages_ms: Iterable[tuple[str, float]]) -> str:
    """Return the latency of one answer in a line: the whole, and how much of it each part took."""
    stages = list(stages_ms)
    total = sum(ms for _, ms in stages)
    parts = " + ".join(f"{_EVENTS.get(name, name)} {ms:.0f}" for name, ms in stages)
    return f"first sound {total:.0f} ms after the end of speech ({parts})"


class LatencyLog:
    """The latencies of the latest answers.

    Attributes:
        early: How many answers were prepared before the turn was over, and were `used` or `withdrawn`.
    """

    def __init__(self) -> None:
        self.early: Counter[str] = Counter()
        self._answers: deque[Mapping[str, float]] = deque(maxlen=_KEPT)

    def add(self, stages_ms: Mapping[str, float]) -> None:
        """Add an answer: the time of some or all of `STAGES`, in ms."""
        if stages_ms:
            self._answers.append(dict(stages_ms))

    def document(self) -> dict[str, dict[str, float]]:
        """Return the number of answers, p50 and p95 in ms of each stage and of the whole; empty without answers."""
        answers = list(self._answers)
        stages = [stage for stage in STAGES if any(stage in answer for answer in answers)]
        times = {stage: [answer[stage] for answer in answers if stage in answer] for stage in stages}
        if answers:
            times["total"] = [sum(answer.values()) for answer in answers]
        return {
            stage: {"count": len(ms), "p50": _percentile(ms, 50), "p95": _percentile(ms, 95)}
            for stage, ms in times.items()
        }

    def line(self) -> str | None:
        """Return one line for the user; None without answers."""
        document = self.document()
        total = document.pop("total", None)
        if total is None:
            return None
        parts = " + ".join(f"{name.replace('_', ' ')} {ms['p50']:.0f}/{ms['p95']:.0f}" for name, ms in document.items())
        first = "speech end" if "endpoint" in document else "question"
        return f"{first} to first sound: p50 {total['p50']:.0f} ms, p95 {total['p95']:.0f} ms ({parts})"


def _percentile(values: list[float], percent: float) -> float:
    return round(float(np.percentile(values, percent)), 1)
