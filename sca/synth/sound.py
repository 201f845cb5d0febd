"""What happens to the sound of speakers: rooms, bleed from the other speaker, noise, and codecs of telephones.

Nothing here moves the speech: the direct sound of a room, and the result of a codec, start where the speech does.
Noise is from `numpy.random.RandomState`, whose numbers are the same in every version of NumPy.
"""

import io
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sca.audio.g711 import decode_g711, encode_g711
from sca.audio.pcm import float32_to_int16, int16_to_float32
from sca.audio.resample import resample

__all__ = ["Codec", "Tracks", "coded", "in_room", "pink_noise", "white_noise", "with_bleed"]

Codec = Literal["none", "mulaw", "opus"]
Tracks = tuple[NDArray[np.float32], NDArray[np.float32]]

_PREDELAY_S = 0.004
_DIRECT_DB = 6.0
"""Energy of the direct sound relative to that of the reverberation."""
_TELEPHONE_HZ, _OPUS_HZ = 8000, 48_000
_OPUS_BITS_PER_S = 24_000


def in_room(samples: NDArray[np.float32], rate_hz: int, rt60_s: float, seed: int) -> NDArray[np.float32]:
    """Add the reverberation of a room: noise that decays exponentially, 6 dB below the direct sound.

    Args:
        samples: Float32 `(n,)`.
        rate_hz: The rate.
        rt60_s: The time in which the reverberation decays by 60 dB.
        seed: The room.

    Returns:
        Float32 `(n,)`; the direct sound is unchanged.
    """
    times = np.arange(max(int(rt60_s * rate_hz), 1)) / rate_hz
    tail = np.random.RandomState(seed).standard_normal(len(times)) * 10 ** (-3 * times / rt60_s)
    tail[: int(_PREDELAY_S * rate_hz)] = 0
    energy = float(np.sum(tail**2)) or 1.0
    tail *= np.sqrt(10 ** (-_DIRECT_DB / 10) / energy)
    size = _fast_size(len(samples) + len(tail))
    echo = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(tail, size), size)[: len(samples)]
    result: NDArray[np.float32] = samples + echo.astype(np.float32)
    return result


def with_bleed(tracks: Tracks, level_db: float) -> Tracks:
    """Add each track to the other one.

    Args:
        tracks: Two tracks of one length.
        level_db: The level of what is added relative to its own track, below 0.
    """
    gain = np.float32(10 ** (level_db / 20))
    return tracks[0] + gain * tracks[1], tracks[1] + gain * tracks[0]


def white_noise(samples: int, level: float, seed: int) -> NDArray[np.float32]:
    """Return white noise, float32 `(samples,)`, with the RMS `level`."""
    return np.random.RandomState(seed).standard_normal(samples).astype(np.float32) * np.float32(level)


def pink_noise(samples: int, level: float, seed: int) -> NDArray[np.float32]:
    """Return pink noise (3 dB less per octave), float32 `(samples,)`, with the RMS `level`."""
    size = _fast_size(samples)
    spectrum = np.fft.rfft(np.random.RandomState(seed).standard_normal(size))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum, size)[:samples]
    rms = float(np.sqrt(np.mean(noise**2))) or 1.0
    return (noise * (level / rms)).astype(np.float32)


def _fast_size(samples: int) -> int:
    """Return a length of at least `samples` whose Fourier transform is fast: 2, 3 or 5 times a power of two."""
    powers = [factor << max((samples // factor).bit_length(), 0) for factor in (1, 3, 5)]
    return min(size for power in powers for size in (power, power // 2) if size >= max(samples, 2))


def coded(samples: NDArray[np.float32], rate_hz: int, codec: Codec) -> NDArray[np.float32]:
    """Encode and decode samples.

    Args:
        samples: Float32 `(n,)` in [-1, 1].
        rate_hz: The rate.
        codec: `mulaw` is the 8 kHz µ-law of telephones, `opus` has 24 kbit/s, `none` changes nothing.

    Returns:
        Float32 `(n,)`, in time with `samples`.
    """
    if codec == "none":
        return samples
    if codec == "mulaw":
        law = encode_g711(float32_to_int16(resample(samples, rate_hz, _TELEPHONE_HZ)), "ulaw")
        heard = resample(int16_to_float32(decode_g711(law, "ulaw")), _TELEPHONE_HZ, rate_hz)
    else:
        heard = resample(_opus(resample(samples, rate_hz, _OPUS_HZ)), _OPUS_HZ, rate_hz)
    result = np.zeros(len(samples), np.float32)
    shared = min(len(heard), len(samples))
    result[:shared] = heard[:shared]
    return result


def _opus(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Encode and decode samples at 48 kHz. The container states how much of the start is padding."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=_OPUS_HZ, layout="mono")
        stream.bit_rate = _OPUS_BITS_PER_S
        frame = av.AudioFrame.from_ndarray(np.clip(samples, -1, 1)[None, :], format="flt", layout="mono")
        frame.sample_rate = _OPUS_HZ
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as container:
        blocks = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    return np.concatenate([np.zeros(0, np.float32), *blocks]).astype(np.float32)
