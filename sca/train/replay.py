"""Rows and the live loop compared: what a trained model says while it hears a row, chunk by chunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sca.data.duplex.load.dataset import DuplexRow
from sca.infer.engine import Engine
from sca.train.evaluation.live import free_run
from sca.train.evaluation.runs import answers_of
from sca.units import Grid

if TYPE_CHECKING:
    from sca.tokenizer import TextTokenizer

__all__ = ["Replay", "replay"]

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Replay:
    """What a model said against what a row says.

    Attributes:
        row_id: The row.
        wanted: The text tokens of each chunk of the row.
        said: Those of the model.
        silence: The silence token.
    """

    row_id: str
    wanted: tuple[Tokens, ...]
    said: tuple[Tokens, ...]
    silence: int

    @property
    def equal(self) -> int:
        """The number of chunks in which the model says exactly the tokens of the row."""
        return sum(wanted == said for wanted, said in zip(self.wanted, self.said, strict=True))

    @property
    def silent(self) -> tuple[int, int]:
        """In how many of the silent chunks of the row the model is silent, and their number."""
        quiet = [said for wanted, said in zip(self.wanted, self.said, strict=True) if set(wanted) == {self.silence}]
        return sum(set(said) == {self.silence} for said in quiet), len(quiet)

    def text(self, tokens: Sequence[Tokens], tokenizer: TextTokenizer) -> str:
        """Return the text of chunks without silence and control tokens."""
        return tokenizer.decode([one for chunk in tokens for one in chunk if one not in tokenizer.special_ids]).strip()


def replay(engine: Engine, row: DuplexRow, grid: Grid, prompt: str) -> Replay:
    """Let a model hear a row in the live loop, and compare.

    Args:
        engine: A loaded engine.
        row: The row.
        grid: Its grid.
        prompt: Its system prompt.
    """
    said = free_run(engine, row, grid, prompt)
    return Replay(row.row_id, tuple(answers_of(row)), tuple(said), row.silence_id)
