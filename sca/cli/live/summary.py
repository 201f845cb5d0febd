"""The result of a live session, in lines."""

from collections.abc import Mapping
from typing import Any

from sca.textutil import counted
from sca.units import SPOKEN_HZ

__all__ = ["session_lines"]


def session_lines(document: Mapping[str, Any], turns: int, interruptions: int) -> list[str]:
    """Format the durations and latencies of a session.

    Args:
        document: The contents of `timing.json`.
        turns: Number of the engine's turns.
        interruptions: Number of interrupted turns.
    """
    latency = document["latency_ms"]
    lines = [
        f"heard {document['heard_s']:.2f} s, spoke {document['said_samples'] / SPOKEN_HZ:.2f} s in "
        f"{counted(turns, 'turn')} ({interruptions} interrupted)"
    ]
    if latency["count"]:
        lines.append(f"mouth to ear: p50 {latency['p50']:g} ms, p95 {latency['p95']:g} ms, p99 {latency['p99']:g} ms")
    if document["said_non_finite"]:
        broken = counted(document["said_non_finite"], "sample")
        lines.append(f"in the output: {broken} without a number, played as silence")
    return lines
