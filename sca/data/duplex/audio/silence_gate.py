"""A gate that silences a track where it holds only another speaker's voice, with ramps to avoid clicks."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from sca.data.duplex.audio.crosstalk import outside
from sca.data.duplex.model.spans import Span
from sca.errors import writing
from sca.spans import merge_spans
from sca.units import HEARD_HZ

__all__ = ["RAMP", "gate_spans", "silence"]

RAMP = HEARD_HZ // 100
"""Length of the ramps at both ends, in samples at 16 kHz; they lie inside the silenced span."""
_TAIL = HEARD_HZ // 10  # reverberation after a voice, and the remainder that does not fill a window
_BLOCK_S = 4


def gate_spans(only: Iterable[Span], own: Sequence[Span], samples: int) -> list[Span]:
    """Return the spans of a track to silence: cross-talk only, at least 0.2 s away from the speaker's own speech.

    Args:
        only: Where the track holds only cross-talk.
        own: Where the track's own speaker speaks.
        samples: The length of the track. All times are samples at 16 kHz.
    """
    wider = merge_spans((max(0, start - _TAIL), min(samples, end + _TAIL)) for start, end in only)
    return [(start, end) for start, end in outside(wider, own) if end - start > 2 * RAMP]


def silence(path: Path, spans: Sequence[Span]) -> None:
    """Silence spans of a mono 16-bit file of any rate in place. All other samples stay bit-identical.

    Args:
        path: The file.
        spans: Samples at 16 kHz, sorted and disjoint.
    """
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
    """Apply the gate to a block in place; its first sample is sample `first` of the file."""
    for start, end in spans:
        a, b = max(start - first, 0), min(end - first, len(block))
        if a >= b:
            continue
        samples = np.arange(a, b) + first
        gain = np.maximum(ramp - (samples - start), ramp - (end - 1 - samples)) / ramp
        block[a:b] = np.rint(block[a:b] * np.clip(gain, 0.0, 1.0))
