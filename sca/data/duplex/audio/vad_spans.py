"""Speech of a track by voice activity detection: for tracks without a transcript, and as evidence for those with one."""

from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from sca.audio.vad import SileroVad, speech_segments
from sca.data.duplex.model.spans import Span
from sca.units import HEARD_HZ

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Listened", "listen", "shared_vad", "spoken_spans"]

_BLOCK = 60 * HEARD_HZ


@dataclass(frozen=True, slots=True)
class Listened:
    """What one pass over a recording finds.

    Attributes:
        speech: The spans of speech, in order.
        peak: Largest magnitude.
        digest: Digest of the samples.
    """

    speech: list[Span]
    peak: float
    digest: str


@cache
def shared_vad() -> SileroVad:
    """Return the model, loaded once per process."""
    return SileroVad()


def spoken_spans(heard: Path) -> list[Span]:
    """Return the spans of speech in a mono file at 16 kHz, in order."""
    return listen(heard).speech


def listen(heard: "Path | pa.Buffer") -> Listened:
    """Find the speech, the peak and the digest of a mono file at 16 kHz. Reads it in blocks.

    Args:
        heard: The file, or its content.
    """
    import pyarrow as pa

    stream, probabilities = shared_vad().stream(), []
    digest, peak = blake2b(digest_size=16), 0.0
    with soundfile.SoundFile(heard if isinstance(heard, Path) else pa.BufferReader(heard)) as file:
        total = file.frames
        while len(block := file.read(_BLOCK, dtype="float32")):
            probabilities.append(stream.push(block))
            digest.update(block.tobytes())
            peak = max(peak, float(np.abs(block).max()))
    speech = speech_segments(np.concatenate(probabilities), total_samples=total) if probabilities else []
    return Listened(speech, peak, digest.hexdigest())
