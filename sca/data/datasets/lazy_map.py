"""The rows of a data set, each made into something else when it is asked for."""

from collections.abc import Callable, Sequence
from typing import Any, overload

__all__ = ["LazyMap"]


class LazyMap(Sequence[Any]):
    """`make(data, index)` for every row of `data`. A data-loader's workers get it pickled, so `make` has to be picklable."""

    def __init__(self, data: Any, make: Callable[[Any, int], Any]) -> None:
        self.data, self._make = data, make

    def __len__(self) -> int:
        return len(self.data)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._make(self.data, index)
