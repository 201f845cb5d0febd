"""Measure how many text tokens a chunk needs room for, by placing the tokens with every number."""

from collections.abc import Sequence

from sca.data.duplex.model.text_rate import MAX_TOKENS_PER_CHUNK, TextRateCounters
from sca.data.duplex.rows.assemble import Layout, TokenizedUnit
from sca.data.duplex.rows.placement import Cursor, place_tokens, wanted_chunks

__all__ = ["measure_text_rate"]


def measure_text_rate(units: Sequence[TokenizedUnit], layout: Layout) -> TextRateCounters:
    """Place the tokens of a speaker in the whole session, without windows, for every number of tokens per chunk.

    Args:
        units: The units of the speaker, in time order.
        layout: The parameters of row building; its `capacity` is not used.
    """
    counters = TextRateCounters(sum(len(unit.ids) for unit in units), sum(u.unit.end - u.unit.start for u in units))
    extra = [layout.controls.start is not None, layout.controls.stop is not None]
    wanted = [_wanted(unit, layout, *extra) for unit in units]
    for number in range(1, MAX_TOKENS_PER_CHUNK + 1):
        errors = _errors(wanted, number, layout.pull)
        counters.late[number] = sum(error > 0 for error in errors)
        counters.very_late[number] = sum(error > 1 for error in errors)
        counters.off[number] = sum(map(abs, errors))
        if not counters.off[number]:
            break  # more room changes nothing
    counters.late, counters.very_late, counters.off = +counters.late, +counters.very_late, +counters.off
    return counters


def _wanted(unit: TokenizedUnit, layout: Layout, start: bool, stop: bool) -> list[int]:
    """Return the chunks of the tokens of a unit, with one more at either end for its control tokens."""
    chunks = [max(0, at) for at in wanted_chunks(unit.unit, unit.owners, layout.chunk_samples, layout.lead)]
    return chunks[:1] * start + chunks + chunks[-1:] * stop


def _errors(wanted: Sequence[Sequence[int]], capacity: int, pull: int) -> list[int]:
    free, errors = Cursor(0), []
    for chunks in wanted:
        placed = place_tokens(chunks, free, capacity=capacity, pull=pull)
        free = placed.after
        errors += [found - target for found, target in zip(placed.chunks, chunks, strict=True)]
    return errors
