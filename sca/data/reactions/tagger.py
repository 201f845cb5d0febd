"""From the scores of a tagger to events: the class table, hysteresis, merging, minimum length.

A tagger gets windows of the whole mix, speech included, so that laughter over a punchline is found. Each hop of 0.24 s
gets the scores of the window around its middle; at both ends of a recording that is the first or the last whole window.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.audio.samples import Samples
from sca.audio.vad import speech_segments
from sca.data.reactions.base import HOP_SAMPLES, Detector, SoundEvent, Tagger
from sca.errors import InputError
from sca.resources import reaction_table
from sca.timeline import AudienceEvent, EnvironmentEvent
from sca.units import HEARD_HZ, samples_to_seconds, seconds_to_samples

__all__ = ["EventClass", "TaggerDetector", "event_classes", "event_spans"]

_WINDOW_STEP = 160  # windows start on whole mel frames
_MARGIN = 4 * _WINDOW_STEP  # what spectra at the border of a part include of its neighbours
_HOPS_AT_ONCE = 2500  # 10 minutes: bounds the memory


@dataclass(frozen=True, slots=True)
class EventClass:
    """One entry of the class table: a kind of event, and when the score of its classes makes an event.

    Attributes:
        role: `audience` or `environment`.
        kind: The reaction type or the sound category.
        classes: Names of the tagger's classes; the score of the entry is the highest of theirs.
        on: Score at which an event starts.
        off: Score below which an event ends.
        min_samples: Events shorter than this are dropped, after merging.
        merge_samples: Gaps shorter than this are closed.
    """

    role: str
    kind: str
    classes: frozenset[str]
    on: float
    off: float
    min_samples: int
    merge_samples: int

    def event(self, start: int, end: int) -> SoundEvent:
        """Create the event of the samples `[start, end)`."""
        fields = {
            "start": samples_to_seconds(start, HEARD_HZ),
            "end": samples_to_seconds(end, HEARD_HZ),
            "content": self.kind,
        }
        if self.role == "environment":
            return EnvironmentEvent.model_validate({**fields, "sound_category": self.kind})
        return AudienceEvent.model_validate({**fields, "reaction_type": self.kind})


class _TableEntry(TypedDict):
    """An entry of the table, with the values of `[default]` filled in."""

    classes: list[str]
    on: float
    off: float
    min_s: float
    merge_s: float


@cache
def event_classes(own_table: str = "") -> tuple[EventClass, ...]:
    """Read the class table that ships with sca (sca/resources/reactions.toml).

    Args:
        own_table: The table of a tagger, whose values replace those of every tagger; empty for none.
    """
    table = tomllib.loads(reaction_table())
    replaced = table.get(own_table, {})
    return tuple(
        _event_class(role, kind, table["default"] | own | replaced.get(kind, {}))
        for role in ("audience", "environment")
        for kind, own in table[role].items()
    )


def _event_class(role: str, kind: str, entry: _TableEntry) -> EventClass:
    return EventClass(
        role=role,
        kind=kind,
        classes=frozenset(entry["classes"]),
        on=entry["on"],
        off=entry["off"],
        min_samples=seconds_to_samples(entry["min_s"], HEARD_HZ),
        merge_samples=seconds_to_samples(entry["merge_s"], HEARD_HZ),
    )


def event_spans(scores: NDArray[np.float32], entry: EventClass, total_samples: int) -> list[tuple[int, int]]:
    """Find the events of one entry of the class table.

    Args:
        scores: The score of the entry at each hop, `(hops,)`.
        entry: The thresholds.
        total_samples: Length of the recording.

    Returns:
        `(start, end)` in samples, sorted and disjoint.
    """
    return speech_segments(
        scores,
        onset=entry.on,
        offset=entry.off,
        min_speech_samples=entry.min_samples,
        min_silence_samples=entry.merge_samples,
        pad_samples=0,
        frame_samples=HOP_SAMPLES,
        total_samples=total_samples,
    )


class TaggerDetector(Detector):
    """A detector around a tagger.

    Raises:
        InputError: The tagger has none of the classes in the table.
    """

    def __init__(self, name: str, tagger: Tagger) -> None:
        self._name = name
        self._tagger = tagger
        self._columns: dict[EventClass, list[int]] = {}
        for entry in event_classes(tagger.own_table):
            columns = [i for i, label in enumerate(tagger.labels) if label in entry.classes]
            if columns:
                self._columns[entry] = columns
        if not self._columns:
            raise InputError(
                f"{name} detects no reactions: none of its {len(tagger.labels)} classes is in sca's table",
                hint="give a tagger that was trained on AudioSet, with AudioSet's class names",
            )

    @property
    @override
    def name(self) -> str:
        return self._name

    @override
    def find(self, samples: Samples, speech: Sequence[tuple[int, int]]) -> list[SoundEvent]:
        first = samples[:1]
        if first.dtype != np.float32 or first.ndim != 1:
            raise ValueError(f"expected float32 (n,), got {first.dtype} with {first.ndim} axes")
        if len(samples) == 0:
            return []
        scores = self._scores(samples)
        events = [
            entry.event(start, end)
            for column, entry in enumerate(self._columns)
            for start, end in event_spans(scores[:, column], entry, len(samples))
        ]
        return sorted(events, key=lambda event: (event.start, event.end))

    def _scores(self, samples: Samples) -> NDArray[np.float32]:
        """Return the score of each entry of the table at each hop, `(hops, entries)`, computed part by part."""
        window = self._tagger.window_samples
        starts = _window_starts(len(samples), window)
        found = []
        for n in range(0, len(starts), _HOPS_AT_ONCE):
            some = starts[n : n + _HOPS_AT_ONCE]
            first = max(0, some[0] - _MARGIN)
            part = samples[first : some[-1] + window + _MARGIN]
            part = np.pad(part, (0, max(0, window - len(part))))
            scores = self._tagger.scores(part, [start - first for start in some])
            found.append(np.stack([scores[:, columns].max(axis=1) for columns in self._columns.values()], axis=1))
        return np.concatenate(found)


def _window_starts(total: int, window: int) -> list[int]:
    """Return the start of the window of each hop of a recording; shorter ones are padded to one window."""
    hops = -(-total // HOP_SAMPLES)
    last = max(0, total - window) // _WINDOW_STEP * _WINDOW_STEP
    before = (window - HOP_SAMPLES) // 2 // _WINDOW_STEP * _WINDOW_STEP
    return [min(max(0, hop * HOP_SAMPLES - before), last) for hop in range(hops)]
