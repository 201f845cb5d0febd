"""The allowed tokens at each place of an answer: a `Grammar` as tensors, for many sessions at once, without host synchronisation.

Below, `state` is an int64 `(b, 1)` of `SpeakerState` values, and `place` is 0 for the first token of an answer and
larger after it.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from sca.control_tokens import Grammar, SpeakerState, TokenKind

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["TokenMask"]


class TokenMask:
    """The token masks of a grammar.

    Attributes:
        grammar: The grammar.
        device: The device of the tables, which is that of the logits.
    """

    def __init__(self, grammar: Grammar, never: Tensor) -> None:
        """Build the tables.

        Args:
            grammar: The grammar of the answers.
            never: Tokens that are never allowed, bool `(vocabulary,)`. The tables are created on its device.
        """
        import torch

        self.grammar, device = grammar, never.device
        self.device = device
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
        barred = torch.tensor(
            [
                [[[then is None for then in row] for row in rows] for rows in after],
                [
                    [[kind != grammar.quiet(s, first=first) for kind in TokenKind] for first in (True, False)]
                    for s in SpeakerState
                ],
            ],
            device=device,
        )
        self._barred = barred[..., self._kinds] | never

    def barred(self, state: Tensor, place: int, listen: Tensor | None = None) -> Tensor:
        """Return the tokens that are not allowed, bool `(b, vocabulary)`.

        Args:
            state: The states.
            place: The place.
            listen: The sessions that must be silent, int64 `(b, 1)` of 0 and 1; None for none. See `Grammar.quiet`.
        """
        tables = self._barred[:, :, int(place > 0)]
        return tables[0][state[:, 0]] if listen is None else tables[listen[:, 0], state[:, 0]]

    def after(self, state: Tensor, place: int, token: Tensor) -> Tensor:
        """Return the state after an allowed token `(b, 1)`."""
        return self._after[:, int(place > 0)][state, self._kinds[token]]

    def is_whole_answer(self, token: Tensor) -> Tensor:
        """Return whether an answer that begins with the token is complete, bool `(b, 1)`."""
        return self._kinds[token] <= int(TokenKind.HOLD)

    def on(self, device: torch.device) -> TokenMask:
        """Return this mask with its tables on a device."""
        moved = copy(self)
        moved.device = device
        for name, table in vars(self).items():
            if hasattr(table, "to"):
                setattr(moved, name, table.to(device))
        return moved

    def is_text(self, token: Tensor) -> Tensor:
        """Return whether tokens are text, bool of the same shape."""
        return self._kinds[token] == int(TokenKind.TEXT)
