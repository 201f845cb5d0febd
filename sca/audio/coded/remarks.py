"""Remarks about what was read of a recording, in the words of every command."""

import math

import numpy as np
from numpy.typing import NDArray

from sca.textutil import counted

__all__ = ["clipped", "cut", "estimated", "mixed", "rest", "silence", "times"]

_NOTED_PEAK = 10 ** (1 / 20)
"""1 dB above full scale. Lossy codecs exceed it by less."""
_MAX_TIMES = 5
_ESTIMATE_S, _ESTIMATE_SHARE = 1.0, 0.02


def clipped(peak: float) -> str | None:
    """Return a remark about samples above full scale, or None.

    Args:
        peak: The largest magnitude, 1 at full scale.
    """
    if peak <= _NOTED_PEAK:
        return None
    return f"samples above full scale are clipped: the peak is {20 * math.log10(peak):.1f} dB above it"


def estimated(duration_us: int | None, length_s: float) -> str | None:
    """Return a remark about the length of a file without one in its header, or None if the estimate is about right.

    Args:
        duration_us: What FFmpeg estimates from the bit rate, in microseconds.
        length_s: The length of the sound.
    """
    if duration_us is None or abs(duration_us / 1e6 - length_s) <= max(_ESTIMATE_S, _ESTIMATE_SHARE * length_s):
        return None
    return f"no length in its header: {duration_us / 1e6:.0f} s by its bit rate, {length_s:.2f} s of sound"


def mixed(weights: NDArray[np.float32]) -> str | None:
    """Return a remark about a mono mix that is not an average; otherwise None.

    Args:
        weights: The weight of each channel.
    """
    if len(set(weights.tolist())) < 2:
        return None
    return f"{len(weights)} channels of film sound are mixed, with the centre channel at full level"


def silence(seconds: float, what: str, starts_s: list[float] | None = None) -> str:
    """Return a remark about silence in place of packets.

    Args:
        seconds: Its length.
        what: What the packets are: `missing` or `damaged`.
        starts_s: Where it begins, if that is known.
    """
    places = f", at {times(starts_s)}" if starts_s else ""
    return f"{seconds:.2f} s of silence in place of {what} packets{places}"


def cut(seconds: float, promised_s: float) -> str:
    """Return a remark about a recording that ends early.

    Args:
        seconds: What is missing at its end.
        promised_s: The length that its header states.
    """
    return f"cut short: the last {seconds:.2f} s of {promised_s:.2f} s are missing"


def rest(size: int) -> str:
    """Return a remark about bytes after the last whole packet of a file without a length in its header.

    Args:
        size: Their number.
    """
    return f"{counted(size, 'byte')} left out at the end: no whole packet"


def times(seconds: list[float]) -> str:
    """Return the first few of some times, as text."""
    return ", ".join(f"{second:.2f}" for second in seconds[:_MAX_TIMES]) + ", …" * (len(seconds) > _MAX_TIMES) + " s"
