"""Crowd noise by loudness alone: bursts outside speech that stand well above the recording's quiet. Needs no model.

It cannot tell laughter from applause or a slammed door, and hears nothing while somebody speaks; its events say so: their
content is "crowd noise (by loudness only)" and their reaction is `other`.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from sca.audio.vad import speech_segments
from sca.data.reactions.base import Heard
from sca.timeline import AudienceEvent
from sca.units import HEARD_HZ

__all__ = ["CONTENT", "EnergyDetector"]

CONTENT = "crowd noise (by loudness only)"

_HOP = HEARD_HZ * 8 // 100  # 80 ms
_BESIDE_SPEECH = HEARD_HZ // 10  # the tail of a word that the VAD cut off is no audience
_SHORTEST = HEARD_HZ * 4 // 10
_MERGED = HEARD_HZ * 3 // 10
_ON_DB, _OFF_DB, _TOP_DB = 12.0, 6.0, 24.0  # above the quiet; what is louder than the top counts as the top
_QUIET_SHARE = 10  # percent of the recording that may be taken for its quiet, pauses between words included
_QUIETEST_DB = -60.0  # below this, a microphone's own noise would count as a burst over digital silence


class EnergyDetector:
    """Bursts of 0.4 s or longer, 12 dB over the level that a tenth of the recording stays under; they end 6 dB over it."""

    name = "energy"

    def find(self, samples: np.ndarray, speech: Sequence[tuple[int, int]]) -> list[Heard]:
        """See `Detector.find`; no event touches `speech`."""
        if samples.dtype != np.float32 or samples.ndim != 1:
            raise ValueError(f"expected float32 (n,), got {samples.dtype} {samples.shape}")
        if len(samples) < _HOP:
            return []
        quiet_db = max(_QUIETEST_DB, float(np.percentile(_levels_db(samples), _QUIET_SHARE)))
        found: list[Heard] = []
        for first, last in _between(speech, len(samples)):
            above = (_levels_db(samples[first:last]) - quiet_db) / _TOP_DB
            bursts = speech_segments(
                np.clip(above, 0, 1),
                onset=_ON_DB / _TOP_DB,
                offset=_OFF_DB / _TOP_DB,
                min_speech_samples=_SHORTEST,
                min_silence_samples=_MERGED,
                pad_samples=0,
                frame_samples=_HOP,
            )
            found += [
                AudienceEvent(start=(first + a) / HEARD_HZ, end=(first + b) / HEARD_HZ, content=CONTENT)
                for a, b in bursts
            ]
        return found


def _between(speech: Sequence[tuple[int, int]], total: int) -> Iterator[tuple[int, int]]:
    """What is left of `[0, total)` beside speech, kept away from it; nothing shorter than an event."""
    first = 0
    for start, end in [*speech, (total + _BESIDE_SPEECH, total + _BESIDE_SPEECH)]:
        if start - _BESIDE_SPEECH - first >= _SHORTEST:
            yield first, start - _BESIDE_SPEECH
        first = max(first, end + _BESIDE_SPEECH)


def _levels_db(samples: np.ndarray) -> np.ndarray:
    """The level of each whole hop in dB of full scale: float64 `(n // 1280,)`."""
    hops = samples[: len(samples) // _HOP * _HOP].reshape(-1, _HOP)
    power = np.einsum("ij,ij->i", hops, hops, dtype=np.float64) / _HOP
    levels: np.ndarray = 10 * np.log10(np.maximum(power, 1e-12))
    return levels
