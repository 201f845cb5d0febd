"""Samples of stored audio, read by seeking: the cost is that of the samples read, not of the recording."""

from collections.abc import Sequence
from hashlib import md5
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from numpy.typing import NDArray

from sca.audio.decoder.sndfile import open_stored
from sca.audio.pcm import int16_to_float32
from sca.data.duplex.audio.encode_tracks import WAV_HEADER_BYTES
from sca.errors import InputError
from sca.textutil import counted

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["chunked", "mix", "mixed_samples", "read_samples", "samples_digest"]

_BLOCK = 1 << 20


def chunked(
    tracks: "Sequence[pa.Buffer]", first: int, n_chunks: int, chunk_samples: int, rate_hz: int
) -> NDArray[np.float32]:
    """Read chunks `[first, first + n_chunks)` of a stored track, or of the mix of several.

    Returns:
        float32 `(n_chunks, chunk_samples)`, zeros past the end of the tracks.
    """
    found = mixed_samples(tracks, first * chunk_samples, n_chunks * chunk_samples, rate_hz)
    chunks = np.zeros(n_chunks * chunk_samples, np.float32)
    chunks[: len(found)] = int16_to_float32(found)
    return chunks.reshape(n_chunks, chunk_samples)


def mixed_samples(tracks: "Sequence[pa.Buffer]", start: int, count: int, rate_hz: int) -> NDArray[np.int16]:
    """Read samples `[start, start + count)` of the mix of stored tracks, fewer at their end.

    Args:
        tracks: FLAC or WAV files in memory, mono.
        start: First sample.
        count: Number of samples.
        rate_hz: The sample rate that the files must have.

    Raises:
        InputError: A file cannot be decoded, or has another rate or several channels.
    """
    return mix([read_samples(audio, start, count, rate_hz) for audio in tracks])


def mix(parts: Sequence[NDArray[np.int16]]) -> NDArray[np.int16]:
    """Mix sounds: the sum of their samples as one ear hears it, without a change of level, clipped to full scale.

    16-bit samples are summed, so that a file of the mix holds exactly what is mixed when rows are loaded.

    Args:
        parts: int16 `(n,)` each; shorter ones end earlier.

    Returns:
        int16 `(n,)`, as long as the longest part; a single part as it is.
    """
    if len(parts) == 1:
        return parts[0]
    mixed = np.zeros(max(map(len, parts)), np.int32)
    for part in parts:
        mixed[: len(part)] += part
    full_scale = np.iinfo(np.int16)
    return np.clip(mixed, full_scale.min, full_scale.max).astype(np.int16)


def read_samples(audio: "pa.Buffer", start: int, count: int, rate_hz: int) -> NDArray[np.int16]:
    """Read samples `[start, start + count)` of a stored audio file, fewer at its end.

    Args:
        audio: A FLAC or WAV file in memory, mono.
        start: First sample.
        count: Number of samples.
        rate_hz: The sample rate that the file must have.

    Raises:
        InputError: The file cannot be decoded, or has another rate or several channels.
    """
    import pyarrow as pa

    if audio[:4].to_pybytes() == b"RIFF":
        pcm = np.frombuffer(audio, "<i2", offset=WAV_HEADER_BYTES)
        return pcm[start : start + count]
    try:
        with open_stored(pa.BufferReader(audio)) as file:
            if file.samplerate != rate_hz or file.channels != 1:
                channels = counted(file.channels, "channel")
                raise InputError(f"a stored track has {file.samplerate} Hz and {channels}, not {rate_hz} Hz mono")
            if start >= file.frames:
                return np.zeros(0, np.int16)
            file.seek(start)
            samples: NDArray[np.int16] = file.read(count, dtype="int16")
            return samples
    except soundfile.LibsndfileError as error:
        raise InputError(f"a stored track cannot be decoded: {error}", hint="sca verify shows which one") from error


def samples_digest(audio: "Path | pa.Buffer") -> str:
    """Return the MD5 of the 16-bit samples of a mono file, in hexadecimal digits. The header of a FLAC file has it.

    Args:
        audio: The file, or its content.
    """
    import pyarrow as pa

    stored = pa.memory_map(str(audio)) if isinstance(audio, Path) else pa.BufferReader(audio)
    with stored:
        # "fLaC", a header of 4 bytes, and STREAMINFO of 34 bytes, which ends with the MD5; 0 without one.
        # Source: RFC 9639, section 8.2.
        start = stored.read(42)
        if start[:4] == b"fLaC" and any(start[26:42]):
            return bytes(start[26:42]).hex()
        stored.seek(0)
        digest = md5(usedforsecurity=False)
        with soundfile.SoundFile(stored) as file:
            while len(block := file.read(_BLOCK, dtype="int16")):
                digest.update(block.astype("<i2", copy=False).tobytes())
    return digest.hexdigest()
