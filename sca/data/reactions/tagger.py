"""From a tagger's scores to events: one score a hop and class, the class table, hysteresis, merging, minimum length.

A tagger hears windows of the whole mix, speech included, so that laughter over a punchline is found; what the VAD calls speech
does not matter here. Each hop of 0.24 s gets the scores of the window around its middle; at both ends of a recording that is
the first or last whole window.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sca.audio.vad import speech_segments
from sca.data.reactions.base import Heard
from sca.errors import InputError
from sca.resources import reaction_table
from sca.timeline import AudienceEvent, EnvironmentEvent
from sca.units import HEARD_HZ

__all__ = ["HOP_SAMPLES", "WINDOW_SAMPLES", "Rule", "Tagger", "TaggerDetector", "rules", "spans"]

HOP_SAMPLES = HEARD_HZ * 24 // 100
"""One score of each class every 0.24 s: twice as fine as usual, because events are judged at ± 0.5 s."""
WINDOW_SAMPLES = 8 * HOP_SAMPLES
"""What a tagger hears at a time where it leaves the choice: 1.92 s, long enough for a laugh and short enough to place it."""

_STEP = 160  # windows start on whole mel frames


class Tagger(Protocol):
    """A model that says what is heard in a window.

    labels: its classes by name.   window_samples: how long a window is, a multiple of 160.
    """

    labels: Sequence[str]
    window_samples: int

    def scores(self, samples: NDArray[np.float32], starts: Sequence[int]) -> NDArray[np.float32]:
        """Probabilities `(len(starts), len(labels))` of the windows `[start, start + window_samples)`.

        samples: float32 `(n,)` at 16 kHz, n at least one window.   starts: ascending multiples of 160.
        """


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of the table: which classes mean what, and when their score is an event. Times in samples."""

    role: str
    kind: str
    classes: frozenset[str]
    on: float
    off: float
    min_samples: int
    merge_samples: int

    def event(self, start: int, end: int) -> Heard:
        """What is written about `[start, end)`."""
        times: dict[str, Any] = {"start": start / HEARD_HZ, "end": end / HEARD_HZ, "content": self.kind}
        if self.role == "environment":
            return EnvironmentEvent(**times, sound_category=self.kind)
        return AudienceEvent(**times, reaction_type=self.kind)


@cache
def rules() -> tuple[Rule, ...]:
    """The table that ships with sca (sca/resources/reactions.toml)."""
    table = tomllib.loads(reaction_table())
    found = []
    for role in ("audience", "environment"):
        for kind, own in table[role].items():
            entry = table["default"] | own
            seconds = [round(entry[name] * HEARD_HZ) for name in ("min_s", "merge_s")]
            found.append(Rule(role, kind, frozenset(entry["classes"]), entry["on"], entry["off"], *seconds))
    return tuple(found)


def spans(scores: NDArray[np.float32], rule: Rule, total_samples: int) -> list[tuple[int, int]]:
    """Where an entry's scores `(hops,)` make events: `(start, end)` in samples, sorted and apart from each other."""
    return speech_segments(
        scores,
        onset=rule.on,
        offset=rule.off,
        min_speech_samples=rule.min_samples,
        min_silence_samples=rule.merge_samples,
        pad_samples=0,
        frame_samples=HOP_SAMPLES,
        total_samples=total_samples,
    )


class TaggerDetector:
    """A `Detector` around a tagger. Raises `InputError` when the tagger has no class of the table."""

    def __init__(self, name: str, tagger: Tagger) -> None:
        self.name = name
        self._tagger = tagger
        columns = {rule: [i for i, label in enumerate(tagger.labels) if label in rule.classes] for rule in rules()}
        self._columns = {rule: found for rule, found in columns.items() if found}
        if not self._columns:
            raise InputError(
                f"{name} knows no reaction: none of its {len(tagger.labels)} classes is in sca's table",
                hint="give a tagger that was trained on AudioSet, with AudioSet's class names",
            )

    def find(self, samples: np.ndarray, speech: Sequence[tuple[int, int]]) -> list[Heard]:
        """See `Detector.find`; `speech` is not looked at."""
        if samples.dtype != np.float32 or samples.ndim != 1:
            raise ValueError(f"expected float32 (n,), got {samples.dtype} {samples.shape}")
        if len(samples) == 0:
            return []
        scores = self._tagger.scores(*_windows(samples, self._tagger.window_samples))
        found = [
            rule.event(start, end)
            for rule, columns in self._columns.items()
            for start, end in spans(scores[:, columns].max(axis=1), rule, len(samples))
        ]
        return sorted(found, key=lambda event: (event.start, event.end))


def _windows(samples: NDArray[np.float32], window: int) -> tuple[NDArray[np.float32], list[int]]:
    """The samples, filled up with silence to one window, and where the window of each hop starts."""
    hops = -(-len(samples) // HOP_SAMPLES)
    if len(samples) < window:
        samples = np.pad(samples, (0, window - len(samples)))
    last = (len(samples) - window) // _STEP * _STEP
    before = (window - HOP_SAMPLES) // 2 // _STEP * _STEP
    return samples, [min(max(0, hop * HOP_SAMPLES - before), last) for hop in range(hops)]
