"""Turn-taking metrics from audio alone: speech is detected with the Silero VAD.

The metrics are those of Full-Duplex-Bench (Lin et al., arXiv 2503.04721 and 2507.23159; evaluation/eval_*.py of
github.com/DanielLin94144/Full-Duplex-Bench) that need no transcript. There, a response takes the turn if it lasts 1 s
or longer or has more than 3 words; here, without words, if it lasts 1 s or longer. All times are samples at 16 kHz.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from sca.audio.samples import SampleFile, read_samples
from sca.audio.vad import FRAME_SAMPLES, SileroVad, speech_segments
from sca.units import HEARD_HZ

__all__ = [
    "Segments",
    "Task",
    "TaskSummary",
    "TurnMetrics",
    "measure_backchannels",
    "measure_interruption",
    "measure_pause_handling",
    "measure_turn_taking",
    "speech_in",
    "summarize",
]

Task = Literal["pause", "turn", "interruption", "backchannel", "other"]
Segments = Sequence[tuple[int, int]]

_TURN_SAMPLES = HEARD_HZ  # turn_duration_threshold = 1 s


@dataclass(frozen=True, slots=True)
class TurnMetrics:
    """The metrics of one response; None if a metric does not apply.

    Attributes:
        took_over: Whether the response took the turn.
        response_s: From the end of the user's turn to the first speech of the response, at least 0, if it took the
            turn.
        spoke_in_pause: Whether speech began between the pause and the end of the user's turn.
        stop_s: From the user's interruption to silence, if the engine was speaking.
        backchannels_per_s: Short responses per second.
    """

    took_over: bool
    response_s: float | None = None
    spoke_in_pause: bool | None = None
    stop_s: float | None = None
    backchannels_per_s: float | None = None


class TaskSummary(TypedDict):
    """Averages over the items of a task; None if no item has the metric."""

    items: int
    take_over_rate: float | None
    response_latency_s: float | None
    spoke_in_pause_rate: float | None
    stop_latency_s: float | None
    backchannels_per_s: float | None


def speech_in(vad: SileroVad, path: Path) -> tuple[list[tuple[int, int]], int]:
    """Return the speech segments of a recording, read in blocks, and its length, in samples at 16 kHz."""
    stream = vad.stream()
    found: list[NDArray[np.float32]] = []
    with SampleFile() as samples:
        read_samples(path, HEARD_HZ, samples, heard=lambda block: found.append(stream.push(block)))
        total = len(samples)
    # Without padding, an end of speech inside the last, incomplete frame would be missed.
    probabilities = np.concatenate([*found, stream.push(np.zeros(FRAME_SAMPLES, np.float32))])
    return speech_segments(probabilities, total_samples=total), total


def _takes_over(response: Segments) -> bool:
    return bool(response) and response[-1][1] - response[0][0] >= _TURN_SAMPLES


def measure_turn_taking(response: Segments, user_end: int) -> TurnMetrics:
    """Measure smooth turn-taking, where the engine should take the turn soon.

    Source: eval_smooth_turn_taking.py; a negative latency counts as 0.

    Args:
        response: The speech segments of the engine.
        user_end: The end of the user's turn.
    """
    took_over = _takes_over(response)
    return TurnMetrics(took_over, max(0, response[0][0] - user_end) / HEARD_HZ if took_over else None)


def measure_pause_handling(response: Segments, gaps: Segments, user_end: int) -> TurnMetrics:
    """Measure pause handling, where the user has not finished and the engine should not take the turn.

    Source: eval_pause_handling.py.

    Args:
        response: The speech segments of the engine.
        gaps: The pauses of the user.
        user_end: The end of the user's turn.
    """
    first = min((start for start, _ in gaps), default=0)
    return TurnMetrics(_takes_over(response), spoke_in_pause=any(first <= start < user_end for start, _ in response))


def measure_interruption(response: Segments, start: int, end: int) -> TurnMetrics:
    """Measure a user interruption in [start, end); speech after `end` counts as the response.

    Source: asr.py (cropping) and eval_user_interruption.py. In addition, the stop latency of v1.5 is measured: how long
        a response
    that was in progress continued.

    Args:
        response: The speech segments of the engine.
        start: The start of the interruption.
        end: The end of the interruption.
    """
    after = [(max(a, end), b) for a, b in response if b > end]
    took_over = _takes_over(after)
    in_progress = [b for a, b in response if a <= start < b]
    return TurnMetrics(
        took_over,
        (after[0][0] - end) / HEARD_HZ if took_over else None,
        stop_s=(in_progress[0] - start) / HEARD_HZ if in_progress else None,
    )


def measure_backchannels(response: Segments, length: int) -> TurnMetrics:
    """Measure backchannels, which are short; a segment of a second or longer is a turn.

    Source: eval_backchannel.py.

    Args:
        response: The speech segments of the engine.
        length: The length of the recording.
    """
    short = sum(b - a < _TURN_SAMPLES for a, b in response)
    return TurnMetrics(
        any(b - a >= _TURN_SAMPLES for a, b in response),
        backchannels_per_s=short * HEARD_HZ / length if length else 0.0,
    )


def summarize(metrics: Sequence[TurnMetrics]) -> TaskSummary:
    """Average the metrics of a task, as the benchmark prints them."""
    pause = [float(m.spoke_in_pause) for m in metrics if m.spoke_in_pause is not None]
    return {
        "items": len(metrics),
        "take_over_rate": _mean([float(m.took_over) for m in metrics]),
        "response_latency_s": _mean([m.response_s for m in metrics if m.response_s is not None]),
        "spoke_in_pause_rate": _mean(pause),
        "stop_latency_s": _mean([m.stop_s for m in metrics if m.stop_s is not None]),
        "backchannels_per_s": _mean([m.backchannels_per_s for m in metrics if m.backchannels_per_s is not None]),
    }


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None
