"""The chunks of a row without labels, because the words of the speech there are unknown."""

from collections.abc import Collection, Iterable

from sca.data.duplex.model.spans import Span

__all__ = ["chunk_ranges", "unlabelled_chunks"]


def unlabelled_chunks(
    spans: Iterable[Span], first: int, n_chunks: int, lead: int, chunk_samples: int, used: Collection[int]
) -> list[Span]:
    """Return the chunks of a row whose silence token is not a label.

    A word that starts in chunk c of the session has its tokens in chunk `max(c - lead, first)` of the row, so that is
    the chunk in which silence would mean that no word starts in c. Chunks with text or control tokens are labelled.

    Args:
        spans: Speech without words, in samples of the session.
        first: First chunk of the row, counted in the session.
        n_chunks: Chunks of the row.
        lead: Chunks that a token precedes its sound.
        chunk_samples: Samples of a chunk.
        used: Chunks of the row with text or control tokens, counted from the row's first chunk.

    Returns:
        Ranges `[first, end)` of chunks, counted from the row's first chunk, in order.
    """
    found: set[int] = set()
    for start, end in spans:
        sounding = range(max(start // chunk_samples, first), min(-(-end // chunk_samples), first + n_chunks + lead))
        found.update(max(0, chunk - lead - first) for chunk in sounding)
    return chunk_ranges(found.difference(used))


def chunk_ranges(chunks: Iterable[int]) -> list[Span]:
    """Return the ranges `[first, end)` that consist of these chunks, in order."""
    ranges: list[Span] = []
    for chunk in sorted(set(chunks)):
        if ranges and ranges[-1][1] == chunk:
            ranges[-1] = (ranges[-1][0], chunk + 1)
        else:
            ranges.append((chunk, chunk + 1))
    return ranges
