"""Count again how many text tokens a chunk needs room for, from the stored words and the tokens of each word in the rows."""

from collections.abc import Iterable, Sequence

from sca.data.duplex.model.records import RowRecord, WordRecord
from sca.data.duplex.model.text_rate import TextRateCounters
from sca.data.duplex.rows.assemble import Layout, TokenizedUnit, tokenize_units
from sca.data.duplex.rows.text_rate import measure_text_rate
from sca.data.duplex.rows.turn_labels import label
from sca.data.duplex.storage.records import units_of
from sca.tokenizer import TextTokenizer

__all__ = ["text_rate_of"]


def text_rate_of(
    words: Sequence[WordRecord], rows: Iterable[RowRecord], layout: Layout, tokenizer: TextTokenizer
) -> TextRateCounters:
    """Return the counts of a speaker.

    Args:
        words: The stored words.
        rows: The rows that the speaker has with one listener.
        layout: The parameters of the rows.
        tokenizer: The tokenizer, for segments that were left out of the rows.
    """
    units = units_of(words)
    counts = _tokens_of_words(len(words), rows)
    # The labels do not matter for the rate.
    labels = [label(unit.span, len(unit.words), []) for unit in units]
    if None in counts:
        return measure_text_rate(tokenize_units(units, labels, tokenizer), layout)
    tokenized: list[TokenizedUnit] = []
    first = 0
    for unit, found in zip(units, labels, strict=True):
        own = counts[first : first + len(unit.words)]
        owners = tuple(n for n, count in enumerate(own) for _ in range(count or 0))
        tokenized.append(TokenizedUnit(unit, (0,) * len(owners), owners, (), first, False, found))
        first += len(unit.words)
    return measure_text_rate(tokenized, layout)


def _tokens_of_words(n_words: int, rows: Iterable[RowRecord]) -> list[int | None]:
    """Return the number of tokens of every word; None for a word that is in no segment."""
    counts: list[int | None] = [None] * n_words
    for row in rows:
        for segment in row["segments"]:
            for number, word in enumerate(segment["words"], segment["first_word"]):
                if 0 <= number < n_words:
                    counts[number] = word["n_tokens"]
    return counts
