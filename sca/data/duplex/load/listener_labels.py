"""Labels of the words that a row hears, as a channel of their own."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from sca.data.corpora.text.scripts import starts_with_space
from sca.data.duplex.load.dataset import DuplexRow
from sca.data.duplex.model.records import WordRecord
from sca.units import HEARD_HZ, seconds_to_samples

__all__ = ["listener_labels"]


def listener_labels(row: DuplexRow, encode: Callable[[str], Sequence[int]], ignored: int) -> NDArray[np.int64]:
    """Place the tokens of the listener's words on the audio tokens of a row.

    The tokens of a word begin in the first chunk that starts at or after the end of the word. As labels are predicted
    from the token before, the model has then heard the whole word, and nothing after that chunk's start. Tokens that
    find their chunk full move to the next one; those past the end of the row are left out. All other audio tokens are
    labelled with silence, except where words would be that are not known.

    Args:
        row: The row.
        encode: Returns the tokens of a text.
        ignored: The label of all tokens but audio tokens, of audio tokens where the listener's words are not known,
            and of all tokens if none of them is.

    Returns:
        int64 `(tokens,)`.
    """
    labels = np.full(len(row.input_ids), ignored, np.int64)
    if row.listener_words is None:
        return labels
    audio = np.flatnonzero(row.input_ids == row.placeholder)
    n_chunks, chunk_samples = row.heard.shape
    per_chunk = len(audio) // n_chunks
    placed = np.full(len(audio), row.silence_id, np.int64)
    for start_s, end_s in row.listener_unlabelled:
        first, last = (_chunk_after(at_s, chunk_samples) for at_s in (start_s, end_s))
        placed[first * per_chunk : (last + 1) * per_chunk] = ignored
    free = 0
    for word, before in zip(row.listener_words, [None, *row.listener_words], strict=False):
        chunk = _chunk_after(word["end"], chunk_samples)
        tokens = encode(_text(word, before))
        first = max(free, chunk * per_chunk)
        if first + len(tokens) > len(placed):
            break
        placed[first : first + len(tokens)] = tokens
        free = first + len(tokens)
    labels[audio] = placed
    return labels


def _chunk_after(at_s: float, chunk_samples: int) -> int:
    """Return the first chunk that starts at or after a time."""
    return -(-seconds_to_samples(round(at_s, 6), HEARD_HZ) // chunk_samples)


def _text(word: WordRecord, before: WordRecord | None) -> str:
    """Return the text of a word with its leading space. A unit has one as in the rows, unless it is the first."""
    begins_unit = before is None or before["unit"] != word["unit"]
    space = word["space"] or (begins_unit and word["unit"] > 0 and starts_with_space(word["word"]))
    return (" " if space else "") + word["word"]
