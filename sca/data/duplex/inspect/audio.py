"""The audio of a view: its loudness, and a mix of all speakers."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sca.audio.pcm import int16_to_float32
from sca.data.duplex.audio.stored_samples import read_samples
from sca.data.duplex.inspect.view import View
from sca.data.duplex.storage.tracks import StoredTrack
from sca.units import HEARD_HZ, seconds_to_samples

__all__ = ["BLOCK_S", "mix_audio", "peak_levels"]

BLOCK_S = 10
"""Seconds of audio in a block of `mix_audio`."""

_LEVEL_BLOCK_S = 60


def peak_levels(view: View, track: StoredTrack, bins_per_s: int) -> NDArray[np.uint8]:
    """Return the largest absolute sample of every bin over the whole view, 0 to 255.

    Audio is read a minute at a time.
    """
    size = HEARD_HZ // bins_per_s
    count = round(view.duration_s * bins_per_s)
    peaks = np.zeros(count, np.uint8)
    origin = seconds_to_samples(_start(view), HEARD_HZ)
    for at in range(0, count, _LEVEL_BLOCK_S * bins_per_s):
        bins = min(_LEVEL_BLOCK_S * bins_per_s, count - at)
        samples = read_samples(track.heard, origin + at * size, bins * size, HEARD_HZ)
        padded = np.zeros(bins * size, np.int32)
        padded[: len(samples)] = samples
        peaks[at : at + bins] = np.minimum(np.abs(padded).reshape(bins, size).max(axis=1) >> 7, 255)
    return peaks


def mix_audio(view: View, rate_hz: int, channels: int, block_s: int = BLOCK_S) -> Iterator[NDArray[np.float32]]:
    """Mix the audio of all speakers.

    Args:
        view: The view.
        rate_hz: 24000, the rate of the spoken tracks.
        channels: 1, or 2 to place the speakers from left to right.
        block_s: Seconds per block.

    Yields:
        float32 `(n, channels)`.
    """
    total = seconds_to_samples(view.duration_s, rate_hz)
    origin = seconds_to_samples(_start(view), rate_hz)
    last = max(len(view.tracks) - 1, 1)
    for at in range(0, total, block_s * rate_hz):
        n = min(block_s * rate_hz, total - at)
        out = np.zeros((n, channels), np.float32)
        for place, track in enumerate(view.tracks):
            samples = int16_to_float32(read_samples(track.spoken, origin + at, n, rate_hz))
            gains = (1 - place / last, place / last) if channels == 2 else (1.0,)
            for channel, gain in enumerate(gains):
                out[: len(samples), channel] += gain * samples
        yield np.clip(out, -1.0, 1.0)


def _start(view: View) -> float:
    return view.audio_chunk * view.chunk_s
