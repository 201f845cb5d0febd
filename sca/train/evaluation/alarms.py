"""Alarms of an evaluation: the model is stuck silent, or stuck talking."""

from collections.abc import Sequence
from typing import Literal

__all__ = ["Alarm", "alarm_of", "alarm_text", "same_alarms"]

Alarm = Literal["stuck_silent", "stuck_talking"]

_LEAST_TALK = 0.1
"""Smallest number of chunks with text, relative to that of the rows."""
_LEAST_SILENCE = 0.5
"""Smallest share of the rows' silent chunks in which a model is silent too."""

_TEXTS: dict[Alarm, str] = {
    "stuck_silent": "the model is stuck silent: it has text in {talk:.0%} as many chunks as the rows",
    "stuck_talking": "the model is stuck talking: it is silent in {silence:.0%} of the chunks in which the rows are silent",
}
_HINTS: dict[Alarm, str] = {
    "stuck_silent": "normal in the first steps; later lower train.silence_weight or raise train.turn_start_weight",
    "stuck_talking": "normal before silence is learned; later raise train.silence_weight or train.turn_end_weight",
}


def alarm_of(metrics: dict[str, float]) -> Alarm | None:
    """Return the alarm of an evaluation, from `talk_ratio` and `silence_kept`."""
    if metrics.get("talk_ratio", 1) < _LEAST_TALK:
        return "stuck_silent"
    return "stuck_talking" if metrics.get("silence_kept", 1) < _LEAST_SILENCE else None


def alarm_text(alarm: Alarm, metrics: dict[str, float]) -> str:
    """Return the sentence of an alarm, with what to do."""
    sentence = _TEXTS[alarm].format(talk=metrics.get("talk_ratio", 0), silence=metrics.get("silence_kept", 0))
    return f"{sentence} ({_HINTS[alarm]})"


def same_alarms(alarms: Sequence[str | None]) -> int:
    """Return the number of evaluations at the end that have the alarm of the last one; 0 if that has none."""
    if not alarms or alarms[-1] is None:
        return 0
    return next((k for k, one in enumerate(reversed(alarms)) if one != alarms[-1]), len(alarms))
