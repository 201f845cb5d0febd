"""Who speaks when, held against the stored words: units, labels, and where rows are cut. Part of the proof of a row.

Recomputes from the words of both sides alone what the segments of a row say of them.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from sca.data.duplex.model.spans import Span, merge_spans
from sca.data.duplex.rows.turn_labels import label
from sca.data.duplex.rows.windows import WindowPlan
from sca.data.duplex.storage.records import units_of
from sca.textutil import counted
from sca.units import HEARD_HZ

__all__ = ["TalkProof"]

Stored = Mapping[str, Any]
_CUT_FLAGS = {"listener_cut", "word_cut", "forced_cut"}


class TalkProof:
    """One side of a session. words: of the speaker, as stored.   other: where the listener speaks.   gap: samples between units."""

    def __init__(self, words: Sequence[Stored], other: Sequence[Span], gap: int, plan: WindowPlan) -> None:
        self._words, self._gap, self._plan = words, gap, plan
        self._units = units_of(words)
        spans = [(unit.start, unit.end) for unit in self._units]
        self._labels = [label(span, len(unit.words), other) for span, unit in zip(spans, self._units, strict=True)]
        said = [(_samples(word["start"]), _samples(word["end"])) for word in words]
        self._speech = merge_spans([*said, *other])
        self._cut: tuple[int, frozenset[str]] | None = None

    def broken_units(self) -> Iterator[str]:
        """What is wrong with how the speaker's words are put together."""
        numbers = [word["unit"] for word in self._words]
        if numbers and (numbers[0] != 0 or any(b - a not in (0, 1) for a, b in pairwise(numbers))):
            yield "the units of its words are not numbered from 0 on"
            return
        for n, (before, after) in enumerate(pairwise(self._units)):
            if after.start - before.end < self._gap:
                apart = (after.start - before.end) / HEARD_HZ
                yield f"units {n} and {n + 1} are {apart:.3f} s apart, at least {self._gap / HEARD_HZ:g} s make two of them"

    def begins_unit(self, word: int) -> bool:
        """Whether the speaker's word of this number is the first of its unit."""
        return word == 0 or self._words[word]["unit"] != self._words[word - 1]["unit"]

    def ends_unit(self, word: int) -> bool:
        """Whether it is the last."""
        return word + 1 >= len(self._words) or self._words[word]["unit"] != self._words[word + 1]["unit"]

    def row(self, row: Stored) -> Iterator[str]:
        """What is wrong with a row's segments and cuts. Rows come in order."""
        plan = self._plan
        parts = len(row["segments"]) + len(row["dropped"])
        if plan.max_segments is not None and parts > plan.max_segments:
            yield f"{counted(parts, 'segment')}, at most {plan.max_segments} are allowed"
        length = row["n_chunks"] - row["extended_chunks"]
        if length > plan.max_chunks:
            yield f"{counted(length, 'chunk')} long, at most {plan.max_chunks} are allowed"
        yield from self._cut_before(row)
        self._cut = row["start_chunk"] + length, frozenset(row["flags"]) & _CUT_FLAGS
        for n, segment in enumerate(row["segments"]):
            yield from (f"segment {n}: {line}" for line in self._segment(segment))

    def _cut_before(self, row: Stored) -> Iterator[str]:
        """A cut that no flag of its two rows speaks of is in the silence of both."""
        at = row["start_chunk"] * self._plan.chunk_samples
        if self._cut is None or self._cut[0] != row["start_chunk"] or self._cut[1] & set(row["flags"]):
            return
        silence = _silence(self._speech, at)
        if silence < self._plan.min_silence:
            yield (
                f"begins in {silence / HEARD_HZ:.3f} s of silence of both, {self._plan.min_silence / HEARD_HZ:g} s are wanted, "
                "and no flag says so"
            )

    def _segment(self, segment: Stored) -> Iterator[str]:
        first, count = segment["first_word"], segment["n_words"]
        words = self._words[first : first + count]
        if not words or len(words) != count:
            return  # said elsewhere
        numbers = {word["unit"] for word in words}
        if len(numbers) > 1:
            yield f"holds words of {len(numbers)} units"
            return
        text = "".join((" " if word["space"] else "") + word["word"] for word in words).strip(" ")
        if text != segment["text"]:
            yield f"its text is {segment['text']!r}, its words are {text!r}"
        truth = self._labels[numbers.pop()]
        offset = None if truth.offset is None else truth.offset / HEARD_HZ
        says = segment["kind"], float(np.float32(segment["overlap"])), segment["floor_offset_s"]
        wanted = truth.kind, float(np.float32(truth.overlap)), offset
        if says != wanted:
            yield f"is labelled {_shown(says)}, the words say {_shown(wanted)}"


def _shown(labelled: tuple[str, float, float | None]) -> str:
    kind, overlap, offset = labelled
    return f"{kind}, overlap {overlap:.3f}, floor offset {'none' if offset is None else f'{offset:.4f} s'}"


def _samples(seconds: float) -> int:
    return round(seconds * HEARD_HZ)


def _silence(speech: Sequence[Span], at: int) -> int:
    """Samples of silence that `at` lies in or at the edge of; 0 within speech."""
    before = bisect_left(speech, at, key=lambda span: span[0])  # spans that begin before it
    if before and speech[before - 1][1] > at:
        return 0
    after = bisect_right(speech, at, key=lambda span: span[1])  # spans that have ended
    start = speech[after - 1][1] if after else -(1 << 62)
    end = speech[after][0] if after < len(speech) else 1 << 62
    return end - start
