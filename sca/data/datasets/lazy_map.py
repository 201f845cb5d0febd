"""A sequence that computes its items from the rows of a data set on access."""

from collections.abc import Callable, Sequence, Sized
from typing import Generic, TypeVar, overload

from typing_extensions import override

__all__ = ["LazyMap"]

Data = TypeVar("Data", bound=Sized)
Example = TypeVar("Example", covariant=True)


class LazyMap(Sequence[Example], Generic[Data, Example]):
    """The sequence `make(data, 0), make(data, 1), …`.

    Args:
        data: A map-style data set.
        make: Computes one item. It must be picklable, because data-loader workers receive a pickled copy of this
            object.
    """

    def __init__(self, data: Data, make: Callable[[Data, int], Example]) -> None:
        self.data = data
        self._make = make

    @override
    def __len__(self) -> int:
        return len(self.data)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Example]: ...
    @override
    def __getitem__(self, index: int | slice) -> Example | Sequence[Example]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return self._make(self.data, index)
