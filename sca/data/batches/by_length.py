"""Batches of items of similar lengths, within a bound of padded size that shrinks when the memory does not suffice.

A batch takes the memory of its longest item times its number of items. Items are sorted by length, the longest first: little
is padded, and a bound that is too large is found in the first batch. A batch that does not fit is halved, and the size
that failed is not tried again in this process.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

__all__ = ["LengthBatches", "is_out_of_memory"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_NO_MEMORY = ("out of memory", "failed to allocate memory", "can't allocate memory", "not enough memory", "bad_alloc")
"""What CUDA and torch, onnxruntime, the allocator of torch for the CPU, Windows, and C++ write."""


class LengthBatches:
    """The bound of one model on one device. Threads may share it."""

    def __init__(self, most: int, *, most_items: int = 0) -> None:
        """Create batches.

        Args:
            most: The largest padded size of a batch, in the unit of the lengths. A single item may be larger.
            most_items: The largest number of items; 0 is any.
        """
        self.most, self.most_items = most, most_items

    def run(
        self,
        items: Sequence[Item],
        lengths: Sequence[int],
        work: Callable[[Sequence[Item]], Iterable[Result]],
    ) -> list[Result]:
        """Apply a model to all items.

        Args:
            items: The items.
            lengths: Their lengths.
            work: Returns the results of a batch, one per item. A result does not depend on the other items.

        Returns:
            The results, in the order of the items.

        Raises:
            Exception: `work` raised it, other than for a lack of memory for more than one item.
        """
        results: dict[int, Result] = {}
        left = sorted(range(len(items)), key=lambda place: -lengths[place])
        while left:
            batch = left[: self._fitting(lengths[left[0]])]
            try:
                found = work([items[place] for place in batch])
            except Exception as error:
                if len(batch) == 1 or not is_out_of_memory(error):
                    raise
                self.most = min(self.most, len(batch) // 2 * lengths[batch[0]])
                _release()
                continue
            results.update(zip(batch, found, strict=True))
            left = left[len(batch) :]
        return [results[place] for place in range(len(items))]

    def _fitting(self, longest: int) -> int:
        """Return how many items fit with one of this length."""
        fitting = max(1, self.most // max(1, longest))
        return min(fitting, self.most_items) if self.most_items else fitting


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception, or one that it was raised from, means that the memory of a device does not suffice."""
    for one in _causes(error):
        # `torch.OutOfMemoryError`, and `NoMemoryError` of sca; without an import of torch.
        if isinstance(one, MemoryError) or type(one).__name__ in ("OutOfMemoryError", "NoMemoryError"):
            return True
        if any(words in str(one).lower() for words in _NO_MEMORY):
            return True
    return False


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _release() -> None:
    """Give cached blocks of the GPU back, which are too small for what failed and too many for what follows."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
