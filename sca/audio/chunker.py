"""Cut a stream of samples into chunks of equal length, whatever blocks it comes in.

Knows no sample rate and no grid: how long a chunk is comes from outside (`sca.units.Grid`).
"""

import numpy as np

__all__ = ["Chunker", "split"]


def split(x: np.ndarray, chunk_samples: int) -> np.ndarray:
    """Cut float32 `(n,)` into float32 `(ceil(n / chunk_samples), chunk_samples)`, the last one filled up with zeros.

    A whole number of chunks comes back as a view of `x`, anything else as a copy. Raises ValueError for another dtype or shape.
    """
    _check(x, chunk_samples)
    chunks = -(-len(x) // chunk_samples)
    if chunks * chunk_samples != len(x):
        x = np.concatenate([x, np.zeros(chunks * chunk_samples - len(x), np.float32)])
    return x.reshape(chunks, chunk_samples)


class Chunker:
    """`split` for a stream: pushes and the flush give the same chunks, however the samples were cut into blocks.

    Chunks are copies; the caller may reuse its blocks.
    """

    def __init__(self, chunk_samples: int) -> None:
        _check(np.zeros(0, np.float32), chunk_samples)
        self._chunk = np.zeros(chunk_samples, np.float32)
        self._pending = 0

    @property
    def pending(self) -> int:
        """Samples waiting for a chunk to fill; always fewer than a chunk."""
        return self._pending

    def push(self, block: np.ndarray) -> list[np.ndarray]:
        """Take float32 `(n,)` of any n and return the chunks it completes. Raises ValueError for another dtype or shape."""
        size = len(self._chunk)
        _check(block, size)
        if self._pending + len(block) < size:
            self._keep(block)
            return []
        if len(block) == size and self._pending == 0:
            return [block.copy()]
        needed = size - self._pending
        self._keep(block[:needed])
        first, self._chunk, self._pending = self._chunk, np.zeros(size, np.float32), 0
        whole = (len(block) - needed) // size
        rest = block[needed:]
        chunks = rest[: whole * size].reshape(whole, size).copy()
        self._keep(rest[whole * size :])
        return [first, *chunks]

    def flush(self) -> np.ndarray | None:
        """Return the last, unfinished chunk filled up with zeros, or None when nothing waits; then start anew."""
        if self._pending == 0:
            return None
        self._chunk[self._pending :] = 0
        last, self._chunk, self._pending = self._chunk, np.zeros_like(self._chunk), 0
        return last

    def _keep(self, samples: np.ndarray) -> None:
        self._chunk[self._pending : self._pending + len(samples)] = samples
        self._pending += len(samples)


def _check(x: np.ndarray, chunk_samples: int) -> None:
    if chunk_samples < 1:
        raise ValueError(f"chunk_samples must be at least 1, got {chunk_samples}")
    if x.dtype != np.float32 or x.ndim != 1:
        raise ValueError(f"expected float32 (n,), got {x.dtype} {x.shape}")
