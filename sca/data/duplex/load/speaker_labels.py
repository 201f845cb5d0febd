"""Labels of the words that a row speaks."""

import numpy as np
from numpy.typing import NDArray

from sca.data.duplex.load.dataset import DuplexRow

__all__ = ["speaker_labels", "unlabelled_positions"]


def speaker_labels(row: DuplexRow, ignored: int) -> NDArray[np.int64]:
    """Return the text, control and silence tokens of a row.

    Args:
        row: The row.
        ignored: The label of the prompt, of the audio, and of chunks in which the words of the speaker are unknown.

    Returns:
        int64 `(tokens,)`.
    """
    audio = row.input_ids == row.placeholder
    answer = ~audio & (np.cumsum(audio) > 0)  # everything before the first audio token is the prompt
    answer[unlabelled_positions(row)] = False
    return np.where(answer, row.input_ids, ignored).astype(np.int64)


def unlabelled_positions(row: DuplexRow) -> NDArray[np.int64]:
    """Return the positions in `input_ids` of the tokens that are not labels because the words there are not known."""
    audio = row.input_ids == row.placeholder
    n_chunks = len(row.heard)
    chunk = (np.cumsum(audio) - 1) // max(1, int(audio.sum()) // n_chunks)
    masked = np.zeros(n_chunks + 1, bool)  # the prompt is in chunk -1, the last of these
    for first, end in row.unlabelled:
        masked[first:end] = True
    return np.flatnonzero(~audio & masked[chunk])
