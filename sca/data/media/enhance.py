"""Speech enhancement of a stream, in overlapping blocks that are cross-faded, so that no seam is audible.

An enhancer processes one block; this module processes the stream. With an enhancer that changes nothing the output
equals the input, bit for bit.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sca.errors import ScaError
from sca.units import seconds_to_samples

__all__ = ["Enhancer", "enhanced", "enhanced_stream"]

_BLOCK_S = 20
_OVERLAP_S = 0.5
EnhanceBlock = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class Enhancer(Protocol):
    """A loaded model.

    Attributes:
        rate_hz: The sample rate of its input and output.
    """

    rate_hz: int

    def enhance(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enhance float32 `(n,)`; the result has the same length and alignment."""
        ...


def enhanced(
    blocks: Iterable[NDArray[np.float32]], enhance: EnhanceBlock, block_samples: int, overlap_samples: int
) -> Iterator[NDArray[np.float32]]:
    """Enhance a stream in overlapping blocks. Memory is two blocks, for any length of the stream.

    Args:
        blocks: The stream: float32 `(n,)` of any n.
        enhance: Enhances one block.
        block_samples: The length of a block.
        overlap_samples: The length over which two blocks are cross-faded; less than half of `block_samples`.

    Yields:
        The enhanced stream, as many samples as the input.

    Raises:
        ScaError: `enhance` changed the length or the dtype.
    """
    if not 0 <= 2 * overlap_samples < block_samples:
        raise ValueError(f"the overlap must be under half a block, got {overlap_samples} of {block_samples}")
    step = block_samples - overlap_samples
    rise = (np.arange(overlap_samples, dtype=np.float32) + np.float32(0.5)) / np.float32(max(overlap_samples, 1))
    pending = np.zeros(0, np.float32)  # input that is not yet part of a whole block
    tail = np.zeros(0, np.float32)  # the enhanced end of the previous block
    for block in blocks:
        pending = np.concatenate([pending, block])
        while len(pending) > block_samples:  # not >=, so that the last block is never empty
            done = _cross_faded(_checked(enhance, pending[:block_samples]), tail, rise)
            yield done[:step]
            tail, pending = done[step:], pending[step:]
    if len(pending):
        yield _cross_faded(_checked(enhance, pending), tail, rise)


def _checked(enhance: EnhanceBlock, block: NDArray[np.float32]) -> NDArray[np.float32]:
    result = enhance(block)
    if result.shape != block.shape or result.dtype != np.float32:
        raise ScaError(f"an enhancer made {result.dtype} {result.shape} of float32 {block.shape}")
    return result


def _cross_faded(
    block: NDArray[np.float32], tail: NDArray[np.float32], rise: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return `block` with its beginning faded in over `tail`. Samples that are equal in both stay exactly the same."""
    n = min(len(tail), len(block))
    block = block.copy()
    block[:n] = tail[:n] + rise[:n] * (block[:n] - tail[:n])
    return block


def enhanced_stream(blocks: Iterable[NDArray[np.float32]], enhancer: Enhancer) -> Iterator[NDArray[np.float32]]:
    """Enhance a stream at the enhancer's rate, in blocks of 20 s with an overlap of 0.5 s."""
    block_samples = seconds_to_samples(_BLOCK_S, enhancer.rate_hz)
    return enhanced(blocks, enhancer.enhance, block_samples, seconds_to_samples(_OVERLAP_S, enhancer.rate_hz))
