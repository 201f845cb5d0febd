"""Make speech cleaner, in blocks that meet without a seam: what is before and after a block's edge fades into each other.

An enhancer knows one block; this module knows the stream. With the identity the samples that come out are the ones that went in,
bit for bit. `none` is the default: nothing is enhanced.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sca.errors import MissingToolError, ScaError, UsageError
from sca.textutil import first_line

__all__ = ["NO_ENHANCER", "Enhancer", "enhanced", "enhanced_stream", "load_enhancer"]

NO_ENHANCER = "none"
_BLOCK_S = 20.0
_OVERLAP_S = 0.5


class Enhancer(Protocol):
    """A loaded model. rate_hz: the rate it works at."""

    rate_hz: int

    def enhance(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Float32 `(n,)` to float32 of the same length and alignment."""
        ...


def enhanced(
    blocks: Iterable[NDArray[np.float32]],
    enhance: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    block_samples: int,
    overlap_samples: int,
) -> Iterator[NDArray[np.float32]]:
    """Feed a stream to `enhance` in blocks of `block_samples` that overlap; yields as many samples as came in.

    blocks: float32 `(n,)` of any n.   overlap_samples: less than half of `block_samples`; over it one block's result fades into the
    next one's. Memory is two blocks, whatever the length of the stream.
    """
    if not 0 <= 2 * overlap_samples < block_samples:
        raise ValueError(f"the overlap must be under half a block, got {overlap_samples} of {block_samples}")
    step = block_samples - overlap_samples
    rise = (np.arange(overlap_samples, dtype=np.float32) + np.float32(0.5)) / np.float32(max(overlap_samples, 1))
    held = np.zeros(0, np.float32)  # input not yet in the past of a whole block
    tail = np.zeros(0, np.float32)  # the end of the block before, as it was enhanced
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) > block_samples:  # more: so that the last block is never empty
            done = _faded(_checked(enhance, held[:block_samples]), tail, rise)
            yield done[:step]
            tail, held = done[step:], held[step:]
    if len(held):
        yield _faded(_checked(enhance, held), tail, rise)


def _checked(
    enhance: Callable[[NDArray[np.float32]], NDArray[np.float32]], block: NDArray[np.float32]
) -> NDArray[np.float32]:
    found = enhance(block)
    if found.shape != block.shape or found.dtype != np.float32:
        raise ScaError(f"an enhancer made {found.dtype} {found.shape} of float32 {block.shape}")
    return found


def _faded(block: NDArray[np.float32], tail: NDArray[np.float32], rise: NDArray[np.float32]) -> NDArray[np.float32]:
    """`block`, whose beginning rises out of `tail`. Where the two agree, they come out as they are."""
    over = min(len(tail), len(block))
    block = block.copy()
    block[:over] = tail[:over] + rise[:over] * (block[:over] - tail[:over])
    return block


class DeepFilter:
    """DeepFilterNet 3 through its own package, at 48 kHz on the CPU."""

    def __init__(self) -> None:
        try:
            from df.enhance import enhance, init_df
        except (ImportError, OSError) as error:
            raise MissingToolError(
                "--enhance deepfilter needs DeepFilterNet, and that is not installed",
                hint="pip install deepfilternet, in an environment with numpy below 2; or --enhance none",
            ) from error
        self._model: Any
        try:
            self._model, self._state, _ = init_df(log_level="ERROR")
        except Exception as error:  # it fetches its weights itself, and raises whatever that raises
            raise MissingToolError(
                f"DeepFilterNet does not start: {first_line(error)}",
                hint="it fetches its weights the first time; run it once with a network",
            ) from error
        self._enhance: Any = enhance
        self.rate_hz = int(self._state.sr())

    def enhance(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Enhancer`. Its own delay is taken out (`pad`)."""
        import torch

        found = self._enhance(self._model, self._state, torch.from_numpy(block.copy())[None], pad=True)
        clean: NDArray[np.float32] = np.asarray(found[0].numpy(), np.float32)
        return clean[: len(block)]


_ENHANCERS: dict[str, Callable[[], Enhancer]] = {"deepfilter": DeepFilter}


def load_enhancer(name: str) -> Enhancer | None:
    """The enhancer of a name, None for `none`. Raises `UsageError` for another name, `MissingToolError` when it is not there."""
    if name == NO_ENHANCER:
        return None
    if name not in _ENHANCERS:
        raise UsageError(f"--enhance is {', '.join([NO_ENHANCER, *_ENHANCERS])}, got {name!r}")
    return _ENHANCERS[name]()


def enhanced_stream(blocks: Iterable[NDArray[np.float32]], enhancer: Enhancer) -> Iterator[NDArray[np.float32]]:
    """`enhanced` with this project's blocks, for sound at the enhancer's rate."""
    return enhanced(blocks, enhancer.enhance, round(_BLOCK_S * enhancer.rate_hz), round(_OVERLAP_S * enhancer.rate_hz))
