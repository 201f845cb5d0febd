"""What a cache remembers, as counts: the first tokens for good (an attention sink), then the newest whole chunks.

Knows no tensors; `cache.py` does to a cache what is decided here. Tokens keep the positions they came with, so what is left of a
conversation is attended to exactly as before. Only when positions run out are the kept chunks moved back, to stand directly after
the first tokens: their distances among each other stay, that to the first tokens shrinks to what a fresh conversation would have.
"""

from collections import deque
from dataclasses import dataclass

__all__ = ["ContextWindow", "Eviction"]

_FREED = 8  # an eighth of the budget at a time: dropping copies the cache


@dataclass(frozen=True, slots=True)
class Eviction:
    """What must happen to a cache before a chunk.

    first: tokens that stay as they are.   drop: tokens that leave, directly after them.   back: positions by which all that is
    left after them is moved back.
    """

    first: int
    drop: int
    back: int

    def __bool__(self) -> bool:
        return bool(self.drop or self.back)


class ContextWindow:
    """Counts of one cache.

    budget: most tokens it may hold.   positions: how many the model knows.   length: tokens held.   position: of the next token.
    """

    def __init__(self, budget: int, positions: int) -> None:
        self.budget = min(budget, positions)
        self.positions = positions
        self.length = self.position = self.first = 0
        self._chunks: deque[int] = deque()

    def keep(self, tokens: int) -> None:
        """The first tokens came, which stay."""
        self.first = self.length = self.position = tokens

    def open_chunk(self, most: int) -> Eviction:
        """A chunk of at most `most` tokens begins; what has to go for it. Raises ValueError when it has no place at all."""
        if not self.fits(self.first, most):
            raise ValueError(f"{self.first} tokens that stay and {most} of a chunk are more than {self.budget}")
        drop = 0
        if self.length + most > self.budget:
            enough = max(self.first + most, self.budget - self.budget // _FREED)
            while self.length - drop + most > enough:
                drop += self._chunks.popleft()
            self.length -= drop
        back = self.position - self.length if self.position + most > self.positions else 0
        self.position -= back
        self._chunks.append(0)
        return Eviction(self.first, drop, back)

    def took(self, tokens: int) -> None:
        """So many more tokens of the chunk came; of the first one, if none was opened."""
        if not self._chunks:
            self._chunks.append(0)
        self._chunks[-1] += tokens
        self.length += tokens
        self.position += tokens

    def fits(self, first: int, most: int) -> bool:
        """Whether `first` tokens that stay leave room for chunks of `most`."""
        return first + most <= self.budget

    def chunks_left(self, most: int) -> tuple[int, int]:
        """Chunks of `most` tokens until the oldest leave, and until positions run out; 0 is the next one."""
        return (self.budget - self.length) // most, (self.positions - self.position) // most
