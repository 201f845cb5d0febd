"""Bookkeeping of a key/value cache: the first tokens stay (an attention sink), and so do the newest whole chunks.

This module only counts; `kv_cache.py` changes the tensors. Tokens keep their positions, so the rest of the conversation
is attended to exactly as before. Only when the positions of the model run out, the kept chunks move back to directly
after the first tokens: the distances among them stay, and the distance to the first tokens becomes that of a new
conversation.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["ContextWarnings", "ContextWindow", "Eviction"]

_FREED = 8  # drop an eighth of the budget at a time, because dropping copies the cache


@dataclass(frozen=True, slots=True)
class Eviction:
    """A change of a cache before a chunk.

    Attributes:
        first: Number of tokens that stay unchanged.
        drop: Number of tokens to drop, directly after the first ones.
        back: Number of positions by which the remaining tokens move back.
    """

    first: int
    drop: int
    back: int

    def __bool__(self) -> bool:
        return bool(self.drop or self.back)


class ContextWindow:
    """The counts of one cache.

    Attributes:
        budget: Maximum number of tokens.
        positions: Number of positions of the model.
        first: Number of tokens that are never dropped.
        length: Current number of tokens.
        position: Position of the next token.
    """

    def __init__(self, budget: int, positions: int) -> None:
        self.budget = min(budget, positions)
        self.positions = positions
        self.length = self.position = self.first = 0
        self._chunks: deque[int] = deque()

    def keep(self, tokens: int) -> None:
        """Add the first tokens, which are never dropped."""
        self.first = self.length = self.position = tokens

    def open_chunk(self, most: int) -> Eviction:
        """Begin a chunk. A chunk without tokens is begun again, so a second call changes nothing.

        Args:
            most: Maximum number of tokens of the chunk.

        Returns:
            The change that makes room for it.

        Raises:
            ValueError: The first tokens and the chunk together exceed the budget.
        """
        if not self.fits(self.first, most):
            raise ValueError(f"{self.first} permanent tokens and a chunk of {most} exceed the budget of {self.budget}")
        drop = 0
        if self.length + most > self.budget:
            enough = max(self.first + most, self.budget - self.budget // _FREED)
            while self.length - drop + most > enough:
                drop += self._chunks.popleft()
            self.length -= drop
        back = self.position - self.length if self.position + most > self.positions else 0
        self.position -= back
        if not self._chunks or self._chunks[-1]:
            self._chunks.append(0)
        return Eviction(self.first, drop, back)

    def add(self, tokens: int) -> None:
        """Add tokens to the current chunk, or to a first chunk if none has begun."""
        if not self._chunks:
            self._chunks.append(0)
        self._chunks[-1] += tokens
        self.length += tokens
        self.position += tokens

    def fits(self, first: int, most: int) -> bool:
        """Return whether `first` permanent tokens leave room for chunks of `most` tokens."""
        return first + most <= self.budget

    def chunks_left(self, most: int) -> tuple[int, int]:
        """Return the number of chunks of `most` tokens until the oldest are dropped, and until the positions run out."""
        return (self.budget - self.length) // most, (self.positions - self.position) // most


class ContextWarnings:
    """The warnings of a session before its context changes."""

    def __init__(self, chunk_tokens: int, chunk_s: float) -> None:
        """Create the state.

        Args:
            chunk_tokens: Maximum number of tokens of a chunk.
            chunk_s: Duration of a chunk in seconds.
        """
        self._chunk_tokens, self._chunk_s = chunk_tokens, chunk_s
        self._warned_of_budget = self._warned_of_positions = False

    def due(self, window: ContextWindow) -> Iterator[str]:
        """Yield a warning once before the oldest chunks are dropped, and each time before the positions run out."""
        minute = 60 / self._chunk_s
        oldest, positions = window.chunks_left(self._chunk_tokens)
        if oldest <= minute and not self._warned_of_budget:
            self._warned_of_budget = True
            yield (
                f"in {round(oldest * self._chunk_s)} s the oldest part of the conversation is dropped "
                f"(qwen.context_tokens is {window.budget})"
            )
        if positions > minute:
            self._warned_of_positions = False
        elif not self._warned_of_positions:
            self._warned_of_positions = True
            yield (
                f"in {round(positions * self._chunk_s)} s the model's {window.positions} positions are used up: "
                "the context then moves back to the prompt, and the session continues"
            )
