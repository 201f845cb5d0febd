"""What may be chosen at each place of an answer, as tensors: a `Grammar` for many sessions at once, which no host has to look at.

state   int64 (b, 1)   `SpeakerState` of the grammar
place   0 for the first token of an answer, anything else after it
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sca.control_tokens import Grammar, SpeakerState, TokenKind

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Rules"]


class Rules:
    """grammar: of the answers.   never: tokens that are chosen nowhere, bool `(vocabulary,)`; all is made on its device."""

    def __init__(self, grammar: Grammar, never: Tensor) -> None:
        import torch

        self.grammar, device = grammar, never.device
        self._kinds = torch.full(never.shape, int(TokenKind.TEXT), device=device)
        for token in grammar.not_text:
            self._kinds[token] = int(grammar.kind(token))
        after = [
            [[grammar.after(s, kind, first=first) for kind in TokenKind] for first in (True, False)]
            for s in SpeakerState
        ]
        self._after = torch.tensor(
            [[[s if then is None else then for then in row] for row in rows] for s, rows in enumerate(after)]
        )
        self._after = self._after.to(device)
        barred = torch.tensor([[[then is None for then in row] for row in rows] for rows in after], device=device)
        self._barred = barred[:, :, self._kinds] | never

    def barred(self, state: Tensor, place: int) -> Tensor:
        """Which tokens may not be chosen, bool `(b, vocabulary)`."""
        return self._barred[:, int(place > 0)][state[:, 0]]

    def after(self, state: Tensor, place: int, token: Tensor) -> Tensor:
        """The state after a token `(b, 1)` that may be chosen."""
        return self._after[:, int(place > 0)][state, self._kinds[token]]

    def is_whole_answer(self, token: Tensor) -> Tensor:
        """Whether an answer that begins with it is over, bool `(b, 1)`."""
        return self._kinds[token] <= int(TokenKind.HOLD)

    def is_text(self, token: Tensor) -> Tensor:
        """Bool, as `token`."""
        return self._kinds[token] == int(TokenKind.TEXT)
