"""The proof of a row's control tokens: each stands where the words ask for it, and nowhere else.

Reads the row back and trusts only the stored words; how the builder placed them is not looked at.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sca.data.duplex.model.labels import BACKCHANNEL
from sca.data.duplex.verify.turn_taking import TalkProof
from sca.textutil import counted
from sca.units import HEARD_HZ

if TYPE_CHECKING:
    from sca.data.duplex.verify.context import ProofContext

__all__ = ["control_problems"]

Token = tuple[int, int, int]
"""Id, chunk, place in the chunk."""


def control_problems(
    row: Mapping[str, Any], tokens: Sequence[Token], talk: TalkProof, context: "ProofContext"
) -> Iterator[str]:
    """What is wrong with the control tokens of a row whose text tokens are as many as its segments say.

    tokens: all but silence, in order.
    """
    controls = context.controls
    names = controls.names
    spoken = [token for token in tokens if token[0] != controls.hold]
    held = {chunk for token, chunk, _ in tokens if token == controls.hold}
    taken = {chunk for _, chunk, _ in spoken}
    expected: set[int] = set()
    at = 0
    for n, segment in enumerate(row["segments"]):
        first, last = segment["first_word"], segment["first_word"] + segment["n_words"] - 1
        opening = controls.opening(backchannel=segment["kind"] == BACKCHANNEL) if talk.begins_unit(first) else None
        closing = controls.stop if talk.ends_unit(last) else None
        around = [mark for mark in (opening, closing) if mark is not None]
        own = spoken[at : at + segment["n_tokens"] + len(around)]
        at += len(own)
        text = own[int(opening is not None) : len(own) - int(closing is not None)]
        marks = [own[0]] * (opening is not None) + [own[-1]] * (closing is not None) if len(own) > len(around) else []
        if [token for token, _, _ in marks] != around or any(token in names for token, _, _ in text) or not text:
            wanted = " and ".join(names[mark] for mark in around) or "no control token"
            yield f"segment {n}: {wanted} should stand around its {counted(segment['n_tokens'], 'token')}"
            return
        ends = _ends(row, segment, context)
        if opening is not None and not _wanted(row, segment["words"], context)[0] - context.pull <= own[0][1]:
            yield f"segment {n}: {names[opening]} stands at chunk {own[0][1]}, too early"
        if closing is not None and own[-1][1] != (due := _due(own[-2], ends, context)):
            yield f"segment {n}: {names[closing]} stands at chunk {own[-1][1]}, it should at {due}"
        begin = own[0][1] if talk.begins_unit(first) else 0
        end = max(own[-1][1], ends) if talk.ends_unit(last) else row["n_chunks"] - 1
        expected |= {chunk for chunk in range(begin, min(end + 1, row["n_chunks"])) if chunk not in taken}
    if spoken[at:]:
        token, chunk, k = spoken[at]
        yield f"{names.get(token, f'token {token}')} at chunk {chunk}, place {k} belongs to no segment"
    if controls.hold is not None and held != expected:
        chunk = min(held ^ expected)
        yield f"chunk {chunk} {'has no' if chunk in expected else 'has a'} hold token, and should{' not' * (chunk in held)}"


def _wanted(row: Mapping[str, Any], words: Sequence[Mapping[str, Any]], context: "ProofContext") -> tuple[int, int]:
    """The wanted chunks of the first and the last of these words that have tokens, counted from the row's start."""
    onsets = [round(word["start_s"] * HEARD_HZ) for word in words if word["n_tokens"]]
    first, last = (max(0, onset // context.chunk_samples - context.lead) for onset in (onsets[0], onsets[-1]))
    return first, last


def _ends(row: Mapping[str, Any], segment: Mapping[str, Any], context: "ProofContext") -> int:
    """The chunk in which the segment's speech ends, within the window."""
    end = round(segment["end_s"] * HEARD_HZ)
    planned: int = row["n_chunks"] - row["extended_chunks"]
    said: int = (end - 1) // context.chunk_samples - context.lead
    return max(min(said, planned - 1), _wanted(row, segment["words"], context)[1])


def _due(before: Token, ends: int, context: "ProofContext") -> int:
    """The chunk of the token that closes a segment, given the token before it."""
    _, chunk, k = before
    if ends > chunk:
        return ends
    return chunk if k + 1 < context.capacity else chunk + 1
