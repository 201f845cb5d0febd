"""Turn-taking measured from sound alone: who speaks when, by the Silero VAD, and what that says about an answer.

The measures are those of Full-Duplex-Bench (Lin et al., arXiv 2503.04721 and 2507.23159; evaluation/eval_*.py of
github.com/DanielLin94144/Full-Duplex-Bench) as far as they need no transcript. There, what is said takes the turn when it lasts
1 s or longer, or has more than 3 words; here, without words, when it lasts 1 s or longer. All times are samples at 16 kHz.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sca.audio.vad import SileroVad, speech_segments
from sca.units import HEARD_HZ

__all__ = ["Measures", "Segments", "Task", "backchannels", "interruption", "pauses", "speech", "summary", "turn_taking"]

Task = Literal["pause", "turn", "interruption", "backchannel", "other"]
Segments = Sequence[tuple[int, int]]

_TURN = HEARD_HZ  # turn_duration_threshold = 1 s


@dataclass(frozen=True, slots=True)
class Measures:
    """What one answer came to; None where it does not apply.

    took_over: whether it took the turn.   response_s: end of the user's turn to the first speech of the answer, never below 0,
    when it took over.   spoke_in_pause: speech began between the pause and the end of the user's turn.   stop_s: the user's
    interruption to silence, when it was speaking.   backchannels_per_s: short answers a second.
    """

    took_over: bool
    response_s: float | None = None
    spoke_in_pause: bool | None = None
    stop_s: float | None = None
    backchannels_per_s: float | None = None


def speech(vad: SileroVad, samples: np.ndarray) -> list[tuple[int, int]]:
    """Where there is speech in float32 `(n,)` at 16 kHz."""
    # An end inside the last, unfinished frame would be missed.
    padded = np.concatenate([samples, np.zeros(512, np.float32)])
    return speech_segments(vad.probabilities(padded), total_samples=len(samples))


def _takes_over(said: Segments) -> bool:
    return bool(said) and said[-1][1] - said[0][0] >= _TURN


def turn_taking(said: Segments, user_end: int) -> Measures:
    """Smooth turn-taking: taking over is wanted, and soon (eval_smooth_turn_taking.py; a negative latency counts as 0)."""
    took = _takes_over(said)
    return Measures(took, max(0, said[0][0] - user_end) / HEARD_HZ if took else None)


def pauses(said: Segments, gaps: Segments, user_end: int) -> Measures:
    """Pause handling: the user is not finished, so taking over is a fault (eval_pause_handling.py)."""
    first = min((start for start, _ in gaps), default=0)
    return Measures(_takes_over(said), spoke_in_pause=any(first <= start < user_end for start, _ in said))


def interruption(said: Segments, start: int, end: int) -> Measures:
    """The user interrupts in [start, end): what comes after counts as the answer (asr.py crops there, eval_user_interruption.py).

    Ours beside it: how long an answer that was going on went on (v1.5 calls that the stop latency).
    """
    after = [(max(a, end), b) for a, b in said if b > end]
    took = _takes_over(after)
    running = [b for a, b in said if a <= start < b]
    return Measures(
        took,
        (after[0][0] - end) / HEARD_HZ if took else None,
        stop_s=(running[0] - start) / HEARD_HZ if running else None,
    )


def backchannels(said: Segments, length: int) -> Measures:
    """Backchannels are short; one piece of speech of a second or longer is a turn (eval_backchannel.py)."""
    short = sum(b - a < _TURN for a, b in said)
    return Measures(
        any(b - a >= _TURN for a, b in said), backchannels_per_s=short * HEARD_HZ / length if length else 0.0
    )


def summary(measures: Sequence[Measures]) -> dict[str, float | int | None]:
    """Averages over the items of a task, as the benchmark prints them; None where there is nothing to average."""
    pause = [float(m.spoke_in_pause) for m in measures if m.spoke_in_pause is not None]
    return {
        "items": len(measures),
        "take_over_rate": _mean([float(m.took_over) for m in measures]),
        "response_latency_s": _mean([m.response_s for m in measures if m.response_s is not None]),
        "spoke_in_pause_rate": _mean(pause),
        "stop_latency_s": _mean([m.stop_s for m in measures if m.stop_s is not None]),
        "backchannels_per_s": _mean([m.backchannels_per_s for m in measures if m.backchannels_per_s is not None]),
    }


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None
