"""Read the tokens of a row back from its `input_ids`."""

from collections.abc import Sequence

from sca.data.duplex.verify.context import ProofContext
from sca.textutil import counted

__all__ = ["parse_input_ids"]


def parse_input_ids(ids: Sequence[int], context: ProofContext) -> tuple[list[list[int]], str | None]:
    """Split the tokens of a row into chunks.

    Returns:
        The tokens of each chunk without silence, and a message if the pattern is broken somewhere; the chunks are then
        those before that place. Hold is the only token of its chunk.
    """
    at, end = len(context.prompt_ids), len(ids)
    if tuple(ids[:at]) != context.prompt_ids:
        return [], "the system prompt is not the one of the settings"
    chunks: list[list[int]] = []
    placeholders, hold = [context.placeholder] * context.frames, context.controls.hold
    while at < end:
        if list(ids[at : at + context.frames]) != placeholders:
            expected = counted(context.frames, "audio placeholder")
            return chunks, f"chunk {len(chunks)} does not begin with {expected} (position {at})"
        at += context.frames
        if at < end and ids[at] == context.silence_id:
            chunks.append([])
            at += 1
            continue
        if hold is not None and at < end and ids[at] == hold:
            chunks.append([hold])
            at += 1
            continue
        answer = list(ids[at : at + context.capacity])
        if len(answer) < context.capacity or context.placeholder in answer:
            expected = counted(context.capacity, "token")
            return chunks, f"chunk {len(chunks)} has neither one silence nor {expected} (position {at})"
        text = [token for token in answer if token != context.silence_id]
        if answer[: len(text)] != text or hold in text:
            return chunks, f"chunk {len(chunks)} has text after silence (position {at})"
        chunks.append(text)
        at += context.capacity
    return chunks, None
