"""The file `evaluations.jsonl`: one line per evaluation, in the order of optimiser steps."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sca.data.runs.files import append_line, write_json_lines
from sca.files.bounded import bounded_lines
from sca.textutil import json_text

__all__ = ["SCHEMA", "EvaluationFile", "better", "read_lines"]

SCHEMA = "sca.train_evaluation/1"


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the JSON objects of a file of lines; none without the file. Lines that a killed run left incomplete are skipped."""
    if not path.is_file():
        return []
    found = []
    with path.open("rb") as file:
        for _, line in bounded_lines(file):
            try:
                document = json.loads(line or b"")
            except ValueError:
                continue
            if isinstance(document, dict):
                found.append(document)
    return found


def better(metrics: Mapping[str, float], other: Mapping[str, float]) -> bool:
    """Return whether one evaluation is better than another: a higher turn F1; with the same F1, a lower loss."""

    def rank(one: Mapping[str, float]) -> tuple[float, float]:
        loss = one.get("loss", math.inf)
        return one.get("turn_f1", -1.0), -math.inf if math.isnan(loss) else -loss

    return rank(metrics) > rank(other)


class EvaluationFile:
    """The evaluations of a run.

    Attributes:
        lines: The evaluations so far, in order.
    """

    def __init__(self, path: Path) -> None:
        """Read the file, if it exists.

        Args:
            path: The file.
        """
        self._path = path
        self.lines: list[dict[str, Any]] = [one for one in read_lines(path) if isinstance(one.get("metrics"), dict)]

    def forget_after(self, step: int, *, write: bool = True) -> None:
        """Remove the evaluations after a step: a resumed run makes them again.

        Args:
            step: The step from which the run continues.
            write: Whether this process writes the file.
        """
        kept = [one for one in self.lines if one["step"] <= step]
        if write and len(kept) < len(self.lines):
            write_json_lines(self._path, kept)
        self.lines = kept

    def add(self, line: dict[str, Any], *, write: bool = True) -> None:
        """Add an evaluation.

        Args:
            line: The evaluation.
            write: Whether this process writes the file.

        Raises:
            OutputError: The file cannot be written.
        """
        document = {"schema": SCHEMA, **line}
        self.lines.append(document)
        if write:
            append_line(self._path, json_text(document, compact=True).encode() + b"\n")

    @property
    def best(self) -> dict[str, Any] | None:
        """The best evaluation; the earliest of equals. None without any."""
        best: dict[str, Any] | None = None
        for one in self.lines:
            if best is None or better(one["metrics"], best["metrics"]):
                best = one
        return best

    @property
    def alarms(self) -> Sequence[str | None]:
        """The alarms of all evaluations, in order."""
        return [one.get("alarm") for one in self.lines]
