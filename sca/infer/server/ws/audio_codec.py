"""Sound as clients send and want it, to and from what a session hears and says.

Three formats of the telephone and realtime doors: `pcm` (int16 little-endian at 24 kHz), `pcmu` and `pcma` (G.711 at 8 kHz), mono.
Knows no protocol: bytes in, samples out, and back. Streams: however the bytes are cut, the samples are the same.
"""

from typing import Literal

import numpy as np

from sca.audio.g711 import Law, decode_g711, encode_g711
from sca.audio.pcm import pcm16_samples
from sca.audio.resample import StreamResampler
from sca.units import HEARD_HZ, SPOKEN_HZ

__all__ = ["WIRE_HZ", "WireAudioFormat", "WireDecoder", "WireEncoder"]

WireAudioFormat = Literal["pcm", "pcmu", "pcma"]
WIRE_HZ: dict[WireAudioFormat, int] = {"pcm": 24_000, "pcmu": 8_000, "pcma": 8_000}
_LAWS: dict[WireAudioFormat, Law] = {"pcmu": "ulaw", "pcma": "alaw"}


class WireDecoder:
    """Bytes of a client become float32 mono `(n,)` at 16 kHz in [-1, 1]. Half a sample waits for its other half."""

    def __init__(self, sound_format: WireAudioFormat) -> None:
        self._law = _LAWS.get(sound_format)
        self._resampler = StreamResampler(WIRE_HZ[sound_format], HEARD_HZ)
        self._half = b""

    def push(self, data: bytes) -> np.ndarray:
        """What can be heard of all that came so far and was not given yet; may be empty."""
        return _within(self._resampler.push(self._samples(data)))

    def flush(self) -> np.ndarray:
        """What the resampler kept back (a half sample is dropped), and start anew."""
        self._half = b""
        return _within(self._resampler.flush())

    def _samples(self, data: bytes) -> np.ndarray:
        if self._law is not None:
            return decode_g711(data, self._law).astype(np.float32) / 32768
        data = self._half + data
        whole = len(data) // 2 * 2
        self._half = data[whole:]
        return np.frombuffer(data[:whole], "<i2").astype(np.float32) / 32768


class WireEncoder:
    """What a session says (int16 little-endian at 24 kHz, whole samples) becomes bytes for a client."""

    def __init__(self, sound_format: WireAudioFormat) -> None:
        self._law = _LAWS.get(sound_format)
        self._resampler = StreamResampler(SPOKEN_HZ, WIRE_HZ[sound_format])

    def push(self, audio_bytes: bytes) -> bytes:
        """What can be sent by now; PCM passes through as it is. Raises ValueError for half a sample."""
        if len(audio_bytes) % 2:
            raise ValueError(f"{len(audio_bytes)} bytes are not whole int16 samples")
        if self._law is None:
            return audio_bytes
        return self._encode(self._resampler.push(pcm16_samples(audio_bytes)))

    def flush(self) -> bytes:
        """The end of a turn: what the resampler kept back, and start anew."""
        return b"" if self._law is None else self._encode(self._resampler.flush())

    def _encode(self, samples: np.ndarray) -> bytes:
        assert self._law is not None
        whole = np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
        return encode_g711(whole, self._law)


def _within(samples: np.ndarray) -> np.ndarray:
    """A band-limited copy may swing a little beyond full scale."""
    result: np.ndarray = np.clip(samples, -1, 1)
    return result
