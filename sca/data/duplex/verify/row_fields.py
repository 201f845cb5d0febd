"""Verify the fields of a row that follow from the others: flags, times, origin of words, added chunks, segments left out."""

from collections.abc import Iterator, Sequence

from sca.data.duplex.model.records import DroppedRecord, RowRecord, WordRecord
from sca.data.duplex.model.rows import PlacedToken
from sca.data.duplex.model.spans import Span
from sca.data.duplex.rows.unlabelled import unlabelled_chunks
from sca.data.duplex.verify.context import ProofContext
from sca.data.duplex.verify.turn_taking import CUT_FLAGS
from sca.textutil import counted
from sca.units import HEARD_HZ, seconds_to_samples

__all__ = ["ROW_FLAGS", "field_problems"]

_OWN_FLAGS = {"lag", "split_unit", "extended"}
ROW_FLAGS = frozenset({*_OWN_FLAGS, *CUT_FLAGS})
"""The flags of a row, except those of a retimed session."""


def field_problems(
    row: RowRecord,
    words: Sequence[WordRecord],
    tokens: Sequence[PlacedToken],
    unlabelled: Sequence[Span],
    context: ProofContext,
) -> Iterator[str]:
    """Yield what is wrong with the derived fields of a row.

    Args:
        row: The row.
        words: The stored words of its speaker.
        tokens: Its text and control tokens.
        unlabelled: Where the words of its speaker are unknown.
        context: The settings of the data set.
    """
    yield from _time_problems(row)
    yield from _extension_problems(row, tokens)
    yield from _flag_problems(row, words, context)
    yield from _unlabelled_problems(row, tokens, unlabelled, context)
    expected = _align_source(row, words)
    if row["align_source"] != expected:
        yield f"align_source is {row['align_source']}, its words are {expected}"
    if row["dropped"] and not context.drops_units:
        yield f"{counted(len(row['dropped']), 'segment')} left out, but on_lag is keep"
    for n, part in enumerate(row["dropped"]):
        yield from (f"left-out segment {n}: {problem}" for problem in _dropped_problems(row, part, words, context))


def _time_problems(row: RowRecord) -> Iterator[str]:
    for n, segment in enumerate(row["segments"]):
        if not segment["words"]:
            continue
        times = segment["words"][0]["start_s"], max(word["end_s"] for word in segment["words"])
        if (segment["start_s"], segment["end_s"]) != times:
            yield (
                f"segment {n}: is from {segment['start_s']:.3f} s to {segment['end_s']:.3f} s, "
                f"its words from {times[0]:.3f} s to {times[1]:.3f} s"
            )


def _extension_problems(row: RowRecord, tokens: Sequence[PlacedToken]) -> Iterator[str]:
    last = tokens[-1].chunk + 1 if tokens else 0
    if row["extended_chunks"] < 0 or (row["extended_chunks"] and last != row["n_chunks"]):
        yield (
            f"{counted(row['extended_chunks'], 'chunk')} past its window, "
            f"its last token is in chunk {last - 1} of {row['n_chunks']}"
        )


def _unlabelled_problems(
    row: RowRecord, tokens: Sequence[PlacedToken], unlabelled: Sequence[Span], context: ProofContext
) -> Iterator[str]:
    origin = row["start_chunk"] * context.chunk_samples
    dropped = [
        (seconds_to_samples(part["start_s"], HEARD_HZ) + origin, seconds_to_samples(part["end_s"], HEARD_HZ) + origin)
        for part in row["dropped"]
    ]
    expected = unlabelled_chunks(
        [*unlabelled, *dropped] if context.masks_unlabelled else [],
        row["start_chunk"],
        row["n_chunks"] - row["extended_chunks"],
        context.lead,
        context.chunk_samples,
        {token.chunk for token in tokens},
    )
    found = [(part["first"], part["end"]) for part in row["unlabelled"]]
    if found != expected:
        yield (
            f"{counted(_length(found), 'chunk')} without labels, speech without words and the segments left out "
            f"are in {_length(expected)}"
        )


def _length(ranges: Sequence[Span]) -> int:
    return sum(end - first for first, end in ranges)


def _flag_problems(row: RowRecord, words: Sequence[WordRecord], context: ProofContext) -> Iterator[str]:
    lags = [segment["lag_chunks"] for segment in row["segments"]]
    expected = {
        "lag": bool(row["dropped"]) or any(lag > context.max_lag for lag in lags),
        "extended": row["extended_chunks"] > 0,
        "split_unit": any(_is_split(segment["first_word"], segment["n_words"], words) for segment in row["segments"]),
    }
    for flag in sorted(_OWN_FLAGS):
        if (flag in row["flags"]) != expected[flag]:
            yield f"{'has' if flag in row['flags'] else 'does not have'} the flag {flag}, contrary to its segments"
    if len(set(row["flags"])) != len(row["flags"]):
        yield f"has a flag twice: {', '.join(row['flags'])}"


def _is_split(first: int, count: int, words: Sequence[WordRecord]) -> bool:
    """Return whether words `[first, first + count)` are only a part of their unit."""
    end = first + count
    if not 0 <= first < end <= len(words):
        return False  # reported by the verification of the segment
    begins = first == 0 or words[first - 1]["unit"] != words[first]["unit"]
    return not begins or (end < len(words) and words[end]["unit"] == words[end - 1]["unit"])


def _align_source(row: RowRecord, words: Sequence[WordRecord]) -> str:
    sources = {
        word["source"]
        for segment in row["segments"]
        for word in words[segment["first_word"] : segment["first_word"] + segment["n_words"]]
    }
    return "none" if not sources else sources.pop() if len(sources) == 1 else "mixed"


def _dropped_problems(
    row: RowRecord, part: DroppedRecord, words: Sequence[WordRecord], context: ProofContext
) -> Iterator[str]:
    own = words[part["first_word"] : part["first_word"] + part["n_words"]]
    if not own or len(own) != part["n_words"]:
        yield f"has words {part['first_word']} and {part['n_words'] - 1} more, the speaker does not"
        return
    text = "".join((" " if word["space"] else "") + word["word"] for word in own).strip(" ")
    if part["text"] != text:
        yield f"its text is {part['text']!r}, its words are {text!r}"
    origin = row["start_chunk"] * context.chunk_samples
    times = tuple(seconds_to_samples(part[name], HEARD_HZ) + origin for name in ("start_s", "end_s"))
    expected = (
        seconds_to_samples(own[0]["start"], HEARD_HZ),
        max(seconds_to_samples(word["end"], HEARD_HZ) for word in own),
    )
    if times != expected:
        yield f"is from {part['start_s']:.3f} s to {part['end_s']:.3f} s, its words are not"
