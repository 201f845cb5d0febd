"""Sound inside a block of HTML: a player of a WAV file, bounded in length."""

import base64
import io
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from sca.audio.decode import ANY_DAMAGE, BlockReader
from sca.audio.pcm import float32_to_int16
from sca.audio.resample import resample
from sca.units import seconds_to_samples

__all__ = ["MAX_SOUND_S", "SOUND_HZ", "beginning", "player"]

SOUND_HZ = 16_000
"""The rate of the sound in a block."""

MAX_SOUND_S = 30
"""The longest sound in a block: 1.9 MB as stereo WAV, 2.6 MB in base64."""


def player(left: NDArray[np.float32], right: NDArray[np.float32] | None = None) -> str:
    """Return a player with the first `MAX_SOUND_S` seconds of a sound, as HTML.

    Args:
        left: float32 `(n,)` at 16 kHz: the sound, or its left channel.
        right: The right channel, of any length.
    """
    sides = [left] if right is None else [left, right]
    most, total = MAX_SOUND_S * SOUND_HZ, max(map(len, sides))
    samples = np.zeros((min(most, total), len(sides)), np.int16)
    for channel, side in enumerate(sides):
        samples[: len(side), channel] = float32_to_int16(side[:most])
    file = io.BytesIO()
    soundfile.write(file, samples, SOUND_HZ, format="WAV", subtype="PCM_16")
    sound = base64.b64encode(file.getvalue()).decode()
    cut = f"<p>the first {MAX_SOUND_S} s of {total / SOUND_HZ:.1f} s</p>" if total > most else ""
    return f'<audio controls preload="none" src="data:audio/wav;base64,{sound}"></audio>{cut}'


def beginning(path: Path, channel: int | None = None, start_s: float = 0.0) -> NDArray[np.float32]:
    """Read the first `MAX_SOUND_S` seconds of a recording, and a little more if it is longer.

    Args:
        path: The recording.
        channel: The channel, from 0; None averages all of them.
        start_s: Where to start.

    Returns:
        float32 `(n,)` at 16 kHz.

    Raises:
        InputError: The recording cannot be read.
    """
    with BlockReader(path, channel=channel, reading=ANY_DAMAGE) as reader:
        rate = reader.info.rate_hz
        first, end = (seconds_to_samples(at, rate) for at in (start_s, start_s + MAX_SOUND_S + 0.1))
        blocks = []
        for samples in reader:
            blocks.append(samples)
            if reader.frames >= end:
                break
    read: NDArray[np.float32] = np.concatenate(blocks)[first:end] if blocks else np.zeros(0, np.float32)
    return resample(read, rate, SOUND_HZ)
