"""Decode a stored track once: verify its format and length, and keep what the other checks of audio need."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from numpy.typing import NDArray

from sca.textutil import counted

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MEANS_PER_S", "DecodedTrack", "decode_track"]

MEANS_PER_S = 1000
"""Means per second of audio: averages of 1 ms are the same at every rate, except for sound that they remove."""
_BLOCK_S = 10


@dataclass(frozen=True, slots=True)
class DecodedTrack:
    """What was found in a stored track.

    Attributes:
        problems: Messages about format and length. Empty if the audio is as it should be.
        means: float32 `(n,)`, the average of every full millisecond in units of one 16-bit step.
        peak: The largest magnitude, 32768 is full scale.
    """

    problems: list[str] = field(default_factory=list)
    means: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    peak: int = 0


def decode_track(audio: "pa.Buffer", rate_hz: int, samples: int) -> DecodedTrack:
    """Decode a stored track to its end.

    Args:
        audio: The audio file.
        rate_hz: The sample rate that it should have.
        samples: The length that it should have.
    """
    import pyarrow as pa

    problems: list[str] = []
    means: list[NDArray[np.float32]] = []
    frames = peak = 0
    try:
        with soundfile.SoundFile(pa.BufferReader(audio)) as file:
            if (file.samplerate, file.channels, file.subtype) != (rate_hz, 1, "PCM_16"):
                channels = counted(file.channels, "channel")
                problems.append(
                    f"has {file.samplerate} Hz, {channels}, {file.subtype}, it should have {rate_hz} Hz, mono, PCM_16"
                )
            while len(block := file.read(_BLOCK_S * rate_hz, dtype="int16")):
                frames += len(block)
                if block.ndim == 1:
                    means.append(_means(block, rate_hz // MEANS_PER_S))
                    peak = max(peak, int(block.max()), -int(block.min()))
    except (soundfile.LibsndfileError, RuntimeError) as error:
        return DecodedTrack([*problems, f"cannot be decoded ({error})"])
    if frames != samples:
        problems.append(f"has {counted(frames, 'sample')}, the length of the session requires {samples}")
    return DecodedTrack(problems, np.concatenate(means) if means else np.zeros(0, np.float32), peak)


def _means(block: NDArray[np.int16], width: int) -> NDArray[np.float32]:
    whole = block[: len(block) // width * width].astype(np.float32).reshape(-1, width)
    means: NDArray[np.float32] = whole @ np.full(width, 1 / width, np.float32)
    return means
