"""Verify causality: changing the audio after a chunk must not change the features up to that chunk by a single bit."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sca.audio.mel import MEL_BINS, log_mel
from sca.data.duplex.audio.stored_samples import chunked
from sca.data.duplex.model.records import RowRecord
from sca.textutil import counted
from sca.units import HEARD_HZ, Grid

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["CausalityCheck", "leaked_chunks"]

_MAX_CHUNKS = 64
"""Chunks in the middle of a row that are tested."""


class CausalityCheck:
    """Tests rows for causality.

    Attributes:
        rows: Rows tested.
        leak_s: The largest leak found, in seconds.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self.rows = 0
        self.leak_s = 0.0

    def problems(self, row: RowRecord, audio: "Sequence[pa.Buffer]", origin: int) -> Iterator[str]:
        """Test a row and yield what is wrong.

        Args:
            row: The row.
            audio: Audio files at 16 kHz, whose mix is heard.
            origin: Chunk of the session with which the files begin.
        """
        grid = self._grid
        first = row["start_chunk"] + max(0, row["n_chunks"] - _MAX_CHUNKS) // 2
        count = min(row["n_chunks"], _MAX_CHUNKS)
        heard = chunked(audio, first - origin, count, grid.heard_samples, HEARD_HZ)
        middle = len(heard) // 2
        self.rows += 1
        if (shape := log_mel(heard[:1]).shape) != (1, MEL_BINS, grid.mel_frames):
            yield f"{row['row_id']}: a chunk has features of shape {shape}"
        leaked = leaked_chunks(log_mel, heard, middle)
        if leaked:
            self.leak_s = max(self.leak_s, leaked * float(grid.chunk_s))
            yield (
                f"{row['row_id']}: audio after chunk {first + middle} of the session changes features "
                f"{counted(leaked, 'chunk')} back"
            )


def leaked_chunks(
    features_of: Callable[[NDArray[np.float32]], NDArray[np.float32]], heard: NDArray[np.float32], middle: int
) -> int:
    """Return how many chunks, counted back from `middle`, have other features when all audio after `middle` changes.

    Args:
        features_of: Computes features `(n, ...)` of chunks `(n, samples)`.
        heard: float32 `(n, samples)`.
        middle: Index of the last chunk with unchanged audio.
    """
    changed = heard.copy()
    changed[middle + 1 :] = np.float32(0.5) - changed[middle + 1 :]
    before, after = features_of(heard)[: middle + 1], features_of(changed)[: middle + 1]
    differ = np.flatnonzero((before != after).reshape(middle + 1, -1).any(axis=1))
    return middle + 1 - int(differ[0]) if len(differ) else 0
