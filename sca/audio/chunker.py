"""Cut a stream of samples into chunks of equal length, independent of the block sizes it arrives in.

The chunk length is a parameter; it usually comes from `sca.units.Grid`.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["Chunker", "split"]


def split(x: NDArray[np.float32], chunk_samples: int) -> NDArray[np.float32]:
    """Cut an array into chunks and pad the last one with zeros.

    Args:
        x: Samples, float32 `(n,)`.
        chunk_samples: The length of a chunk.

    Returns:
        Float32 `(ceil(n / chunk_samples), chunk_samples)`: a view of `x` if `n` is a multiple of the chunk length, else
        a copy.

    Raises:
        ValueError: `x` has another dtype or shape, or the chunk length is not positive.
    """
    _check(x, chunk_samples)
    chunks = -(-len(x) // chunk_samples)
    if chunks * chunk_samples != len(x):
        x = np.concatenate([x, np.zeros(chunks * chunk_samples - len(x), np.float32)])
    return x.reshape(chunks, chunk_samples)


class Chunker:
    """Streaming `split`: the pushes and the flush return the same chunks, for any block sizes.

    Chunks are copies, so the caller may reuse its blocks.
    """

    def __init__(self, chunk_samples: int) -> None:
        _check(np.zeros(0, np.float32), chunk_samples)
        self._chunk = np.zeros(chunk_samples, np.float32)
        self._pending = 0

    @property
    def pending(self) -> int:
        """Number of samples in the unfinished chunk; always less than a chunk."""
        return self._pending

    def push(self, block: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Add float32 `(n,)` of any length and return the chunks that it completes.

        Raises:
            ValueError: The block has another dtype or shape.
        """
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

    def flush(self) -> NDArray[np.float32] | None:
        """Return the unfinished chunk, padded with zeros, or None if nothing is pending. A new stream may follow."""
        if self._pending == 0:
            return None
        self._chunk[self._pending :] = 0
        last, self._chunk, self._pending = self._chunk, np.zeros_like(self._chunk), 0
        return last

    def _keep(self, samples: NDArray[np.float32]) -> None:
        self._chunk[self._pending : self._pending + len(samples)] = samples
        self._pending += len(samples)


def _check(x: NDArray[np.float32], chunk_samples: int) -> None:
    if chunk_samples < 1:
        raise ValueError(f"chunk_samples must be at least 1, got {chunk_samples}")
    if x.dtype != np.float32 or x.ndim != 1:
        raise ValueError(f"expected float32 (n,), got {x.dtype} {x.shape}")
