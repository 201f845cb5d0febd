"""Crowd noise by loudness alone: bursts outside speech that are clearly louder than the recording's quiet parts.

This detector needs no model. It cannot distinguish laughter from applause or a slammed door, and it finds nothing
during speech. Its events show this: their content is "crowd noise (by loudness only)" and their reaction is `other`.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.audio.samples import Samples
from sca.audio.vad import speech_segments
from sca.data.reactions.base import Detector, SoundEvent
from sca.timeline import AudienceEvent
from sca.units import HEARD_HZ, samples_to_seconds

__all__ = ["CONTENT", "EnergyDetector"]

CONTENT = "crowd noise (by loudness only)"

_HOP = HEARD_HZ * 8 // 100  # 80 ms
_HOPS_AT_ONCE = 4096  # 5 minutes: bounds the memory
_SPEECH_MARGIN = HEARD_HZ // 10  # the end of a word that the VAD cut off must not count as audience
_MIN_EVENT = HEARD_HZ * 4 // 10
_MERGE_GAP = HEARD_HZ * 3 // 10
_ON_DB, _OFF_DB, _MAX_DB = 12.0, 6.0, 24.0  # above the quiet level; higher levels are clipped to the maximum
_QUIET_PERCENTILE = 10  # of the levels of all hops; pauses between words count too
_MIN_QUIET_DB = -60.0  # below this, a microphone's own noise would count as a burst over digital silence


class EnergyDetector(Detector):
    """Finds bursts of 0.4 s or longer.

    A burst starts 12 dB above the quiet level, the level that a tenth of the recording stays below, and ends 6 dB above
    it. No event overlaps the speech that is passed to `find`.
    """

    @property
    @override
    def name(self) -> str:
        return "energy"

    @override
    def find(self, samples: Samples, speech: Sequence[tuple[int, int]]) -> list[SoundEvent]:
        beginning = samples[:1]
        if beginning.dtype != np.float32 or beginning.ndim != 1:
            raise ValueError(f"expected float32 (n,), got {beginning.dtype} with {beginning.ndim} axes")
        if len(samples) < _HOP:
            return []
        quiet_db = max(_MIN_QUIET_DB, float(np.percentile(_levels_db(samples, 0, len(samples)), _QUIET_PERCENTILE)))
        events: list[SoundEvent] = []
        for first, last in _spans_without_speech(speech, len(samples)):
            level = (_levels_db(samples, first, last) - quiet_db) / _MAX_DB
            bursts = speech_segments(
                np.clip(level, 0, 1),
                onset=_ON_DB / _MAX_DB,
                offset=_OFF_DB / _MAX_DB,
                min_speech_samples=_MIN_EVENT,
                min_silence_samples=_MERGE_GAP,
                pad_samples=0,
                frame_samples=_HOP,
            )
            events += [_event(first + start, first + end) for start, end in bursts]
        return events


def _event(start: int, end: int) -> AudienceEvent:
    return AudienceEvent(
        start=samples_to_seconds(start, HEARD_HZ), end=samples_to_seconds(end, HEARD_HZ), content=CONTENT
    )


def _spans_without_speech(speech: Sequence[tuple[int, int]], total: int) -> Iterator[tuple[int, int]]:
    """Yield the spans of `[0, total)` that are apart from speech by a margin and at least as long as an event."""
    first = 0
    for start, end in [*speech, (total + _SPEECH_MARGIN, total + _SPEECH_MARGIN)]:
        if start - _SPEECH_MARGIN - first >= _MIN_EVENT:
            yield first, start - _SPEECH_MARGIN
        first = max(first, end + _SPEECH_MARGIN)


def _levels_db(samples: Samples, first: int, last: int) -> NDArray[np.float64]:
    """Compute the level of each whole hop of `[first, last)` in dB of full scale, part by part."""
    power = [np.zeros(0)]
    for start in range(first, last - _HOP + 1, _HOPS_AT_ONCE * _HOP):
        part = samples[start : min(last, start + _HOPS_AT_ONCE * _HOP)]
        hops = part[: len(part) // _HOP * _HOP].reshape(-1, _HOP)
        power.append(np.einsum("ij,ij->i", hops, hops, dtype=np.float64) / _HOP)
    levels: NDArray[np.float64] = 10 * np.log10(np.maximum(np.concatenate(power), 1e-12))
    return levels
