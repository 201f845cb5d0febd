"""Speech enhancement of a stream, in overlapping blocks that are cross-faded, so that no seam is audible.

An enhancer processes one block; this module processes the stream. With an enhancer that changes nothing the output
equals the input, bit for bit. The default `none` disables enhancement.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.errors import MissingToolError, ScaError, UsageError
from sca.textutil import first_line
from sca.units import seconds_to_samples

if TYPE_CHECKING:
    import torch

__all__ = ["NO_ENHANCER", "Enhancer", "enhanced", "enhanced_stream", "load_enhancer"]

NO_ENHANCER = "none"
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


class DeepFilter(Enhancer):
    """DeepFilterNet 3 with its own package, at 48 kHz on the CPU."""

    def __init__(self) -> None:
        """Load the model.

        Raises:
            MissingToolError: The package is not installed, or its weights cannot be loaded.
        """
        try:
            from df.enhance import enhance, init_df
        except (ImportError, OSError) as error:
            raise MissingToolError(
                "--enhance deepfilter needs DeepFilterNet, which is not installed",
                hint="pip install deepfilternet, in an environment with numpy below 2; or --enhance none",
            ) from error
        try:
            self._model, self._state, _ = init_df(log_level="ERROR")
        except Exception as error:  # it downloads its weights itself, and raises errors of any class
            raise MissingToolError(
                f"DeepFilterNet does not start: {first_line(error)}",
                hint="it downloads its weights the first time; run it once with a network",
            ) from error
        self._enhance: Callable[..., torch.Tensor] = enhance
        self.rate_hz = int(self._state.sr())

    @override
    def enhance(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        import torch

        # `pad` removes the delay of the model.
        result = self._enhance(self._model, self._state, torch.from_numpy(block.copy())[None], pad=True)
        clean: NDArray[np.float32] = np.asarray(result[0].numpy(), np.float32)
        return clean[: len(block)]


_ENHANCERS: dict[str, Callable[[], Enhancer]] = {"deepfilter": DeepFilter}


def load_enhancer(name: str) -> Enhancer | None:
    """Load an enhancer by name; None for `none`.

    Raises:
        UsageError: No enhancer has this name.
        MissingToolError: It is not installed.
    """
    if name == NO_ENHANCER:
        return None
    if name not in _ENHANCERS:
        raise UsageError(f"--enhance is {', '.join([NO_ENHANCER, *_ENHANCERS])}, got {name!r}")
    return _ENHANCERS[name]()


def enhanced_stream(blocks: Iterable[NDArray[np.float32]], enhancer: Enhancer) -> Iterator[NDArray[np.float32]]:
    """Enhance a stream at the enhancer's rate, in blocks of 20 s with an overlap of 0.5 s."""
    block_samples = seconds_to_samples(_BLOCK_S, enhancer.rate_hz)
    return enhanced(blocks, enhancer.enhance, block_samples, seconds_to_samples(_OVERLAP_S, enhancer.rate_hz))
