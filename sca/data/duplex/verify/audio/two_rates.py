"""Verify that the 16 kHz and the 24 kHz audio of a track are the same sound.

Both are compared as averages of 1 ms, which resampling hardly changes: on speech the difference has 0.1 to 0.2 % of the
energy, on white noise 1.3 %. Another recording, or the same one 10 ms later, differs by 170 % and more.
"""

import numpy as np
from numpy.typing import NDArray

from sca.data.duplex.verify.audio.stored_audio import MEANS_PER_S
from sca.units import HEARD_HZ, SPOKEN_HZ

__all__ = ["rates_problem"]

_NAMES = f"the {HEARD_HZ // 1000} kHz and the {SPOKEN_HZ // 1000} kHz track"
_QUIETEST_RMS = 30.0
"""Seconds with a lower level in both tracks (-61 dBFS) are not compared."""
_MAX_DIFFERENCE = 0.7
"""Largest share of the energy by which a second may differ. Tones above 5 kHz reach 0.62, speech 0.05."""
_MAX_GAIN_ERROR = 0.05


def rates_problem(heard: NDArray[np.float32], spoken: NDArray[np.float32]) -> str | None:
    """Return how the two rates of a track differ; None if they are the same sound.

    Args:
        heard: Averages of 1 ms of the 16 kHz audio, in 16-bit steps.
        spoken: Averages of 1 ms of the 24 kHz audio.
    """
    seconds = min(len(heard), len(spoken)) // MEANS_PER_S
    if not seconds:
        return None
    a, b = (means[: seconds * MEANS_PER_S].reshape(seconds, MEANS_PER_S) for means in (heard, spoken))
    of_a, of_b, of_both = _energies(a, a), _energies(b, b), _energies(a, b)
    most = np.maximum(of_a, of_b)
    audible = most > MEANS_PER_S * _QUIETEST_RMS**2
    if not audible.any():
        return None
    difference = (of_a + of_b - 2 * of_both)[audible] / most[audible]
    places = np.flatnonzero(audible)[difference > _MAX_DIFFERENCE]
    if len(places):
        return (
            f"{_NAMES} are not the same sound in {len(places)} of {np.count_nonzero(audible)} audible seconds, "
            f"the first is second {places[0]}"
        )
    gain = float(of_both[audible].sum() / of_a[audible].sum())
    if abs(gain - 1) > _MAX_GAIN_ERROR:
        return f"{_NAMES} have different levels: {20 * np.log10(gain):+.1f} dB at {SPOKEN_HZ // 1000} kHz"
    return None


def _energies(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    energies: NDArray[np.float64] = np.einsum("ij,ij->i", a, b).astype(np.float64)
    return energies
