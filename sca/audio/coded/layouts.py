"""Channel layouts: how several channels become one, and how the parts of a file get the same number of channels."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["cancels", "fitted", "mono_weights", "stereo_weights"]

_CENTRE = frozenset({"FC"})
_FRONT = frozenset({"FL", "FR"})
_UNHEARD = frozenset({"LFE", "LFE2"})
_BEHIND = 0.5 * 2**-0.5
"""A surround channel: half of what ITU-R BS.775 gives it in each channel of a stereo mix."""

_CANCELLED = 0.01
"""-20 dB: the power of the sum of two channels to the sum of their powers; it is 1 if they are unrelated."""
_INAUDIBLE = 1e-6
"""-60 dBFS."""


def cancels(power: float, power_of_sum: float, tolerance: float = 1.0) -> bool:
    """Return whether the sum of two channels has lost the sound of both: one of them is inverted.

    Args:
        power: The sum of their mean powers.
        power_of_sum: The mean power of their sum.
        tolerance: A factor above 1 also finds sums that are this much stronger.
    """
    return power * tolerance > 2 * _INAUDIBLE and power_of_sum < _CANCELLED * tolerance * power


def mono_weights(channels: tuple[str, ...]) -> NDArray[np.float32]:
    """Return the weight of each channel in the mono mix, float32 `(n,)`.

    A layout with a centre and front channels is mixed as film sound: the centre, which has the speech, keeps its level;
    left and right count half each, as in a stereo file; surround channels are 9 dB lower; the low-frequency channel is
    left out (ITU-R BS.775). All others are averaged: microphones, mono, stereo.

    Args:
        channels: The names of the channels in FFmpeg's spelling, such as `("FL", "FR", "FC")`.
    """
    names = set(channels)
    if not (names & _CENTRE and names >= _FRONT):
        return np.full(len(channels), 1 / max(1, len(channels)), np.float32)
    weights = [
        1.0 if name in _CENTRE else 0.5 if name in _FRONT else 0.0 if name in _UNHEARD else _BEHIND for name in channels
    ]
    return np.array(weights, np.float32)


def stereo_weights(channels: tuple[str, ...]) -> NDArray[np.float32]:
    """Return the weight of each channel in the left and the right of the stereo mix, float32 `(2, n)`.

    The average of both is the mono mix: a channel of one side counts twice on it, and one of neither side, such as the
    centre, is on both. Channels without sides, such as several microphones, are mixed on both.

    Args:
        channels: The names of the channels, as in `mono_weights`.
    """
    sides = [None if name in _UNHEARD else "L" if "L" in name else "R" if "R" in name else None for name in channels]
    weights = mono_weights(channels)
    if not {"L", "R"} <= set(sides):
        return np.stack([weights, weights])
    return np.stack([weights * [2 if side == own else side is None for side in sides] for own in "LR"]).astype(
        np.float32
    )


def fitted(
    samples: NDArray[np.float32], channels: tuple[str, ...], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Convert samples to another number of channels: a mono mix on every channel.

    Args:
        samples: Float32 `(n, channels)`.
        channels: The names of its channels.
        weights: The weights with which the channels of the result will be mixed. The mix of the result equals that of
            the samples.

    Returns:
        Float32 `(n, len(weights))`; the samples themselves if they have that many channels.
    """
    count = len(weights)
    if samples.shape[1] == count:
        return samples
    mono = samples[:, :1] if samples.shape[1] == 1 else (samples @ mono_weights(channels))[:, None]
    total = np.float32(weights.sum())
    return np.repeat(mono if total == 1 else mono / total, count, axis=1)
