"""Silence in a track where it holds nothing but another speaker's voice, with ramps so that no edge clicks."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from sca.data.duplex.audio.crosstalk import outside
from sca.data.duplex.model.spans import Span, merge_spans
from sca.errors import writing
from sca.units import HEARD_HZ

__all__ = ["RAMP", "gate_spans", "silence"]

RAMP = HEARD_HZ // 100
"""Samples at 16 kHz that a gate takes to close and to open; they lie inside the silenced span."""
_TAIL = HEARD_HZ // 10  # what rings on after a voice, and the rest of it that fills no window
_BLOCK_S = 4


def gate_spans(only: Iterable[Span], own: Sequence[Span], samples: int) -> list[Span]:
    """What to silence in a track of `samples`: bleed and nothing else, 0.2 s away from all its speaker says himself.

    only: where there is bleed alone, of anybody.   own: where the track's own speaker speaks.
    """
    wider = merge_spans((max(0, start - _TAIL), min(samples, end + _TAIL)) for start, end in only)
    return [(start, end) for start, end in outside(wider, own) if end - start > 2 * RAMP]


def silence(path: Path, spans: Sequence[Span]) -> None:
    """Silence these samples at 16 kHz of a mono 16-bit file of any rate; all else keeps its every bit."""
    gated = path.with_name(f"gated_{path.name}")
    with soundfile.SoundFile(path) as source, writing(gated):
        rate, kind = source.samplerate, source.format
        scaled = [(start * rate // HEARD_HZ, end * rate // HEARD_HZ) for start, end in spans]
        with soundfile.SoundFile(gated, "w", rate, 1, "PCM_16", format=kind) as out:
            for first, block in _blocks(source):
                _close(block, first, scaled, RAMP * rate // HEARD_HZ)
                out.write(block)
    with writing(path):
        gated.replace(path)


def _blocks(source: soundfile.SoundFile) -> Iterator[tuple[int, NDArray[np.int16]]]:
    first = 0
    while len(block := source.read(_BLOCK_S * source.samplerate, dtype="int16")):
        yield first, block
        first += len(block)


def _close(block: NDArray[np.int16], first: int, spans: Sequence[Span], ramp: int) -> None:
    for start, end in spans:
        a, b = max(start - first, 0), min(end - first, len(block))
        if a >= b:
            continue
        at = np.arange(a, b) + first
        open_by = np.maximum(ramp - (at - start), ramp - (end - 1 - at)) / ramp
        block[a:b] = np.rint(block[a:b] * np.clip(open_by, 0.0, 1.0))
