"""Where somebody speaks on a track, by the VAD: for tracks whose words nobody wrote down."""

from functools import cache
from pathlib import Path

import numpy as np
import soundfile

from sca.audio.vad import SileroVad, speech_segments
from sca.data.duplex.model.spans import Span
from sca.units import HEARD_HZ

__all__ = ["shared_vad", "spoken_spans"]

_BLOCK = 60 * HEARD_HZ


@cache
def shared_vad() -> SileroVad:
    """The model, loaded once a process."""
    return SileroVad()


def spoken_spans(heard: Path) -> list[Span]:
    """Samples `[start, end)` of speech in a mono file at 16 kHz, in order. Reads it in blocks."""
    stream, found = shared_vad().stream(), []
    with soundfile.SoundFile(heard) as file:
        total = file.frames
        while len(block := file.read(_BLOCK, dtype="float32")):
            found.append(stream.push(block))
    return speech_segments(np.concatenate(found), total_samples=total) if found else []
