"""From embeddings of windows to the speakers of each moment.

One speaker at a time is found by Viterbi decoding: the score of a speaker in a window is the cosine of the window with
the speaker's mean, and a change costs a fixed amount, so a single window decides nothing.

Two speakers at once are found by what the mixture does to the cosines: that of the speaker falls below the speaker's
usual one, and that of another speaker rises above what this speaker usually has with it. A window over a change of
speakers looks the same, so only a run of windows that is longer than a change counts.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["NOBODY", "best_path", "decode"]

NOBODY = -1
"""The value for no speaker."""
_CHANGE = 0.45
_CHANGE_AT_PAUSE = 0.15
_MIXED = 0.2
_EDGE_WINDOWS = 1
"""Windows at both ends of a run of mixed windows that only partly contain the overlap."""


def decode(
    cosines: NDArray[np.float32],
    weights: NDArray[np.float32],
    after_gap: Sequence[bool],
    after_pause: Sequence[bool],
) -> NDArray[np.int16]:
    """Return the speakers of each window.

    Args:
        cosines: Those of windows with the means of the speakers, float32 `(n, speakers)`, n at least 1.
        weights: The speech of a window, `(n,)`; 1 is one hop between windows.
        after_gap: Whether the time between the previous window and this one is silent, `(n,)`.
        after_pause: Whether a change of speakers is likely before a window, because there is a pause, `(n,)`.

    Returns:
        int16 `(n, 2)`: the speaker; and a second one at the same time, or `NOBODY`.
    """
    path = best_path(cosines * weights[:, None], np.where(np.asarray(after_pause, bool), _CHANGE_AT_PAUSE, _CHANGE))
    found = np.full((len(cosines), 2), NOBODY, np.int16)
    found[:, 0] = path
    if cosines.shape[1] > 1:
        found[:, 1] = _second_speakers(cosines, path, np.asarray(after_gap, bool))
    return found


def _second_speakers(
    cosines: NDArray[np.float32], path: NDArray[np.int64], after_gap: NDArray[np.bool_]
) -> NDArray[np.int16]:
    """Return the second speaker of a window, besides that of the path, or `NOBODY`."""
    count = cosines.shape[1]
    usual = np.stack(
        [np.median(cosines[path == n], axis=0) if (path == n).any() else cosines.max(axis=0) for n in range(count)]
    )
    rows = np.arange(len(cosines))
    order = np.argsort(-cosines, axis=1)
    best, second = order[:, 0], order[:, 1]
    fallen = usual[best, best] - cosines[rows, best]
    risen = cosines[rows, second] - usual[best, second]
    mixed = (fallen + risen > _MIXED) & (fallen > 0) & (risen > 0)
    mixed[1:-1] |= mixed[:-2] & mixed[2:]
    found = np.full(len(cosines), NOBODY, np.int16)
    start = 0
    for n in range(len(cosines) + 1):
        if n == len(cosines) or after_gap[n] or not mixed[n]:
            inner = slice(start + _EDGE_WINDOWS, n - _EDGE_WINDOWS)
            if n - start > 2 * _EDGE_WINDOWS:
                found[inner] = np.where(best[inner] == path[inner], second[inner], best[inner])
            start = n + (n < len(cosines) and not mixed[n])
    return found


def best_path(scores: NDArray[np.float32], change: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the states with the highest sum of scores minus the cost of the changes.

    Args:
        scores: `(n, states)`, n at least 1.
        change: The cost of a change before each step, `(n,)`.
    """
    count = len(scores)
    came_from = np.zeros(scores.shape, np.int64)
    total = scores[0].astype(np.float64)
    stay = np.arange(scores.shape[1])
    for n in range(1, count):
        best = int(total.argmax())
        moved = total[best] - change[n]
        came_from[n] = np.where(total >= moved, stay, best)
        total = np.maximum(total, moved) + scores[n]
    path = np.zeros(count, np.int64)
    path[-1] = int(total.argmax())
    for n in range(count - 1, 0, -1):
        path[n - 1] = came_from[n, path[n]]
    return path
