"""The kinds of labels, by which the loss is weighted.

Most labels continue what was before: text within a turn, silence within silence. The few at which a turn starts or ends
decide how the model takes turns.
"""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sca.control_tokens import Grammar, TokenKind
from sca.data.duplex.model.records import SegmentRecord

__all__ = ["IGNORED", "Boundaries", "Kind", "label_kinds"]

IGNORED = -100
"""The label, and the kind, of tokens that are not learned: torch and transformers leave it out of the loss."""

Boundaries = Literal["segments", "silences"]
"""Where turns start and end, see the setting `train.turn_boundaries`."""


class Kind(IntEnum):
    """The kind of a label.

    - SILENCE: the silence token, except where it ends a turn.
    - TURN_START: the token that starts a turn after silence: its start or backchannel token if the data set has one,
      else its first text token.
    - TURN_END: the token that ends a turn: its stop token if the data set has one, else the first silence after it.
    - TEXT: any other text token.
    - CONTROL: any other control token (hold; stop and start where they are no boundary).
    """

    SILENCE = 0
    TURN_START = 1
    TURN_END = 2
    TEXT = 3
    CONTROL = 4


_PLAIN = {
    TokenKind.SILENCE: Kind.SILENCE,
    TokenKind.HOLD: Kind.CONTROL,
    TokenKind.OPENING: Kind.CONTROL,
    TokenKind.STOP: Kind.CONTROL,
    TokenKind.TEXT: Kind.TEXT,
}
_SILENT = (TokenKind.SILENCE, TokenKind.STOP)


def label_kinds(
    input_ids: NDArray[np.int32],
    placeholder: int,
    n_chunks: int,
    segments: Sequence[SegmentRecord],
    unlabelled: Iterable[tuple[int, int]],
    grammar: Grammar,
    boundaries: Boundaries,
) -> NDArray[np.int64]:
    """Return the kind of every token of a row that can be a label.

    Args:
        input_ids: int32 `(tokens,)`: a prompt, then per chunk its audio tokens and its answer.
        placeholder: Id of the audio tokens.
        n_chunks: Chunks of the row.
        segments: Segments of the row, as stored.
        unlabelled: Ranges `[first, end)` of chunks whose tokens are not labels.
        grammar: The silence token and the control tokens.
        boundaries: `segments`: a turn is a segment, with the silences between its words. `silences`: every text after
            silence starts a turn, and every silence after text ends one.

    Returns:
        int64 `(tokens,)` of `Kind`, `IGNORED` for prompt, audio and unlabelled chunks.
    """
    kinds = np.full(len(input_ids), IGNORED, np.int64)
    audio = input_ids == placeholder
    heard = np.cumsum(audio)
    answers = np.flatnonzero(~audio & (heard > 0))
    tokens = [grammar.kind(int(token)) for token in input_ids[answers]]
    per_chunk = max(1, int(audio.sum()) // n_chunks)
    chunks = (heard[answers] - 1) // per_chunk
    first_of_chunk = np.searchsorted(chunks, np.arange(n_chunks))
    if boundaries == "segments":
        firsts = [int(first_of_chunk[one["first_chunk"]]) + one["first_k"] for one in segments]
        lasts = [int(first_of_chunk[one["last_chunk"]]) + one["last_k"] for one in segments]
    else:
        firsts = lasts = [at for at, token in enumerate(tokens) if token is TokenKind.TEXT]
    found = [_PLAIN[token] for token in tokens]
    for at in firsts:
        if (start := _start(tokens, at)) is not None:
            found[start] = Kind.TURN_START
    for at in lasts:
        if (end := _end(tokens, at, grammar)) is not None:
            found[end] = Kind.TURN_END
    kinds[answers] = found
    for first, end in unlabelled:
        kinds[answers[(chunks >= first) & (chunks < end)]] = IGNORED
    return kinds


def _start(tokens: Sequence[TokenKind], first_text: int) -> int | None:
    """Return the token that starts a turn, given its first text token; None if it follows no silence in this row."""
    at = first_text - 1 if first_text and tokens[first_text - 1] is TokenKind.OPENING else first_text
    return at if at and tokens[at - 1] in _SILENT else None


def _end(tokens: Sequence[TokenKind], last_text: int, grammar: Grammar) -> int | None:
    """Return the token that ends a turn, given its last text token; None if the row or the next turn comes first."""
    ending = TokenKind.SILENCE if grammar.controls.stop is None else TokenKind.STOP
    for at in range(last_text + 1, len(tokens)):
        if tokens[at] is ending:
            return at
        if tokens[at] in (TokenKind.TEXT, TokenKind.OPENING):
            return None
    return None
