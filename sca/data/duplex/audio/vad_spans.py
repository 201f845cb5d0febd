"""Speech of a track by voice activity detection, for tracks without a transcript."""

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
    """Return the model, loaded once per process."""
    return SileroVad()


def spoken_spans(heard: Path) -> list[Span]:
    """Return the spans of speech in a mono file at 16 kHz, in order. Reads the file in blocks."""
    stream, probabilities = shared_vad().stream(), []
    with soundfile.SoundFile(heard) as file:
        total = file.frames
        while len(block := file.read(_BLOCK, dtype="float32")):
            probabilities.append(stream.push(block))
    return speech_segments(np.concatenate(probabilities), total_samples=total) if probabilities else []
