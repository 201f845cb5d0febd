"""Read samples of stored tracks by seeking."""

from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from sca.data.duplex.audio.encode_tracks import WAV_HEADER_BYTES
from sca.errors import InputError
from sca.textutil import counted

__all__ = ["chunked", "read_samples"]


def chunked(audio: Any, first: int, n_chunks: int, chunk_samples: int, rate_hz: int) -> NDArray[np.float32]:
    """Chunks `[first, first + n_chunks)` of a stored track, float32 `(n_chunks, chunk_samples)`, zeros past its end."""
    found = read_samples(audio, first * chunk_samples, n_chunks * chunk_samples, rate_hz)
    chunks = np.zeros(n_chunks * chunk_samples, np.float32)
    np.multiply(found, np.float32(1 / 32768), out=chunks[: len(found)])
    return chunks.reshape(n_chunks, chunk_samples)


def read_samples(audio: Any, start: int, count: int, rate_hz: int) -> NDArray[np.int16]:
    """Samples `[start, start + count)` of a stored cell as int16, fewer where the track ends."""
    import pyarrow as pa

    if audio[:4].to_pybytes() == b"RIFF":
        pcm = np.frombuffer(audio, "<i2", offset=WAV_HEADER_BYTES)
        return pcm[start : start + count]
    try:
        with soundfile.SoundFile(pa.BufferReader(audio)) as file:
            if file.samplerate != rate_hz or file.channels != 1:
                raise InputError(
                    f"a stored track is {file.samplerate} Hz with {counted(file.channels, 'channel')}, not {rate_hz} Hz mono"
                )
            if start >= file.frames:
                return np.zeros(0, np.int16)
            file.seek(start)
            samples: NDArray[np.int16] = file.read(count, dtype="int16")
            return samples
    except soundfile.LibsndfileError as error:
        raise InputError(f"a stored track cannot be decoded: {error}", hint="sca verify says which") from error
