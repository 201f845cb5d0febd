"""Conversion between the audio formats of clients and those of a session.

Formats: `pcm` (int16 little-endian at 24 kHz), `pcmu` and `pcma` (G.711 at 8 kHz), all mono. Both directions are
streams: the samples do not depend on how the bytes are cut.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sca.audio.g711 import Law, decode_g711, encode_g711
from sca.audio.pcm import float32_to_int16, int16_to_float32, pcm16_samples
from sca.audio.resample import StreamResampler
from sca.units import HEARD_HZ, SPOKEN_HZ

__all__ = ["WIRE_HZ", "WireAudioFormat", "WireDecoder", "WireEncoder"]

WireAudioFormat = Literal["pcm", "pcmu", "pcma"]
WIRE_HZ: dict[WireAudioFormat, int] = {"pcm": 24_000, "pcmu": 8_000, "pcma": 8_000}
_LAWS: dict[WireAudioFormat, Law] = {"pcmu": "ulaw", "pcma": "alaw"}


class WireDecoder:
    """Converts the bytes of a client to float32 mono `(n,)` at 16 kHz in [-1, 1]."""

    def __init__(self, audio_format: WireAudioFormat) -> None:
        self._law = _LAWS.get(audio_format)
        self._resampler = StreamResampler(WIRE_HZ[audio_format], HEARD_HZ)
        self._half_sample = b""

    def push(self, data: bytes) -> NDArray[np.float32]:
        """Decode more bytes and return the samples that are complete, which may be none. A half sample is kept."""
        return _clip(self._resampler.push(self._decode(data)))

    def flush(self) -> NDArray[np.float32]:
        """Return the samples that are left in the resampler, drop a half sample, and start a new stream."""
        self._half_sample = b""
        return _clip(self._resampler.flush())

    def _decode(self, data: bytes) -> NDArray[np.float32]:
        if self._law is not None:
            return int16_to_float32(decode_g711(data, self._law))
        data = self._half_sample + data
        whole = len(data) // 2 * 2
        self._half_sample = data[whole:]
        return pcm16_samples(data[:whole])


class WireEncoder:
    """Converts the spoken audio of a session (int16 little-endian at 24 kHz) to bytes for a client."""

    def __init__(self, audio_format: WireAudioFormat) -> None:
        self._law = _LAWS.get(audio_format)
        self._resampler = StreamResampler(SPOKEN_HZ, WIRE_HZ[audio_format])

    def push(self, audio_bytes: bytes) -> bytes:
        """Encode more audio and return the bytes that are complete. PCM is returned unchanged.

        Raises:
            ValueError: `audio_bytes` does not consist of whole samples.
        """
        if len(audio_bytes) % 2:
            raise ValueError(f"{len(audio_bytes)} bytes are not whole int16 samples")
        if self._law is None:
            return audio_bytes
        return self._encode(self._resampler.push(pcm16_samples(audio_bytes)), self._law)

    def flush(self) -> bytes:
        """Return the bytes that are left in the resampler, and start a new stream: the turn is over."""
        return b"" if self._law is None else self._encode(self._resampler.flush(), self._law)

    def _encode(self, samples: NDArray[np.float32], law: Law) -> bytes:
        return encode_g711(float32_to_int16(samples), law)


def _clip(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Clip samples to [-1, 1]: band-limited resampling can overshoot full scale a little."""
    result: NDArray[np.float32] = np.clip(samples, -1, 1)
    return result
