"""Verify that the audio of a stored track can be decoded and has the right format and length."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import soundfile

from sca.textutil import counted

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["audio_problems"]

_BLOCK = 1 << 18


def audio_problems(audio: "pa.Buffer", rate_hz: int, samples: int) -> Iterator[str]:
    """Decode a stored track to its end and yield what is wrong with it.

    Args:
        audio: The audio file.
        rate_hz: The sample rate that it should have.
        samples: The length that it should have.
    """
    import pyarrow as pa

    try:
        with soundfile.SoundFile(pa.BufferReader(audio)) as file:
            if (file.samplerate, file.channels, file.subtype) != (rate_hz, 1, "PCM_16"):
                channels = counted(file.channels, "channel")
                yield (
                    f"has {file.samplerate} Hz, {channels}, {file.subtype}, it should have {rate_hz} Hz, mono, PCM_16"
                )
            frames = 0
            while block := len(file.read(_BLOCK, dtype="int16")):
                frames += block
    except (soundfile.LibsndfileError, RuntimeError) as error:
        yield f"cannot be decoded ({error})"
        return
    if frames != samples:
        yield f"has {counted(frames, 'sample')}, the length of the session requires {samples}"
