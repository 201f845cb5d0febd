"""Verify turn-taking: units, labels, and where rows are cut. Part of the verification of a row.

Everything is recomputed from the stored words of both sides.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from sca.data.duplex.model.records import RowRecord, SegmentRecord, WordRecord
from sca.data.duplex.model.spans import Span
from sca.data.duplex.rows.turn_labels import label
from sca.data.duplex.rows.windows import WindowPlan
from sca.data.duplex.storage.records import span_of, units_of
from sca.spans import merge_spans
from sca.textutil import counted
from sca.units import HEARD_HZ

__all__ = ["CUT_FLAGS", "TurnVerifier"]

CUT_FLAGS = frozenset({"listener_cut", "word_cut", "forced_cut"})
"""The flags of cuts that are not in the silence of both speakers."""
_FAR = 1 << 62


class TurnVerifier:
    """Verifies the units, labels and cuts of one side of a session."""

    def __init__(
        self, words: Sequence[WordRecord], other: Sequence[Span], gap: int, plan: WindowPlan, session_chunks: int
    ) -> None:
        """Prepare the verification.

        Args:
            words: Words of the speaker, as stored.
            other: Where the listener speaks.
            gap: Samples at 16 kHz that separate two units at least.
            plan: Bounds of the windows.
            session_chunks: Chunks of the session.
        """
        self._words, self._gap, self._plan, self._session_chunks = words, gap, plan, session_chunks
        self._units = units_of(words)
        self._labels = [label(unit.span, len(unit.words), other) for unit in self._units]
        self._own_speech = merge_spans(map(span_of, words))
        self._speech = merge_spans([*self._own_speech, *other])
        self._last_cut: tuple[int, frozenset[str]] | None = None

    def unit_problems(self) -> Iterator[str]:
        """Yield what is wrong with the grouping of the words into units."""
        numbers = [word["unit"] for word in self._words]
        if numbers and (numbers[0] != 0 or any(b - a not in (0, 1) for a, b in pairwise(numbers))):
            yield "the unit numbers of its words do not count up from 0"
            return
        for n, (before, after) in enumerate(pairwise(self._units)):
            if after.start - before.end < self._gap:
                apart = (after.start - before.end) / HEARD_HZ
                yield f"units {n} and {n + 1} are {apart:.3f} s apart, units need at least {self._gap / HEARD_HZ:g} s"

    def begins_unit(self, word: int) -> bool:
        """Return whether the word with this index is the first of its unit."""
        return word == 0 or self._words[word]["unit"] != self._words[word - 1]["unit"]

    def ends_unit(self, word: int) -> bool:
        """Return whether the word with this index is the last of its unit."""
        return word + 1 >= len(self._words) or self._words[word]["unit"] != self._words[word + 1]["unit"]

    def row_problems(self, row: RowRecord) -> Iterator[str]:
        """Yield what is wrong with the segments and cuts of the next row."""
        plan = self._plan
        parts = len(row["segments"]) + len(row["dropped"])
        if plan.max_segments is not None and parts > plan.max_segments:
            yield f"{counted(parts, 'segment')}, at most {plan.max_segments} are allowed"
        length = row["n_chunks"] - row["extended_chunks"]
        if length > plan.max_chunks:
            yield f"{counted(length, 'chunk')} long, at most {plan.max_chunks} are allowed"
        yield from self._cut_problems(row)
        ends = (row["start_chunk"], row["start_chunk"] + length)
        kinds = {kind for chunk in ends if 0 < chunk < self._session_chunks and (kind := self._cut_kind(chunk))}
        if kinds != (flagged := CUT_FLAGS & set(row["flags"])):
            found, expected = (", ".join(sorted(names)) or "none" for names in (flagged, kinds))
            yield f"its flags name the cuts {found}, its words give {expected}"
        self._last_cut = row["start_chunk"] + length, frozenset(row["flags"]) & CUT_FLAGS
        for n, segment in enumerate(row["segments"]):
            yield from (f"segment {n}: {problem}" for problem in self._segment_problems(segment))

    def _cut_problems(self, row: RowRecord) -> Iterator[str]:
        """Verify that both speakers are silent at the start of the row, unless a flag of both its rows names the cut."""
        chunk, plan = row["start_chunk"], self._plan
        if self._last_cut is None or self._last_cut[0] != chunk or self._last_cut[1] & set(row["flags"]):
            return
        silence = _silence(self._speech, chunk * plan.chunk_samples)
        if silence < plan.min_silence:
            yield (
                f"begins in {silence / HEARD_HZ:.3f} s of silence of both speakers, {plan.min_silence / HEARD_HZ:g} s are "
                "needed, and no flag names the cut"
            )

    def _cut_kind(self, chunk: int) -> str | None:
        """Return the flag of a cut at the start of a chunk; None for a cut in the silence of both speakers."""
        plan, at = self._plan, chunk * self._plan.chunk_samples
        if _silence(self._speech, at) >= plan.min_silence:
            return None
        own = _silence(self._own_speech, at)
        if own >= plan.min_silence:
            return "listener_cut"
        half = plan.chunk_samples // 2
        near = any(at - half <= start < at + half for start, _ in self._own_speech)
        return "word_cut" if own >= 1 or near else "forced_cut"

    def _segment_problems(self, segment: SegmentRecord) -> Iterator[str]:
        first, count = segment["first_word"], segment["n_words"]
        words = self._words[first : first + count]
        if not words or len(words) != count:
            return  # reported by the verification of the segment
        numbers = {word["unit"] for word in words}
        if len(numbers) > 1:
            yield f"contains words of {len(numbers)} units"
            return
        text = "".join((" " if word["space"] else "") + word["word"] for word in words).strip(" ")
        if text != segment["text"]:
            yield f"its text is {segment['text']!r}, its words are {text!r}"
        truth = self._labels[numbers.pop()]
        offset = None if truth.offset is None else truth.offset / HEARD_HZ
        recorded = segment["kind"], float(np.float32(segment["overlap"])), segment["floor_offset_s"]
        computed = truth.kind, float(np.float32(truth.overlap)), offset
        if recorded != computed:
            yield f"is labelled {_format_label(*recorded)}, its words give {_format_label(*computed)}"


def _format_label(kind: str, overlap: float, offset: float | None) -> str:
    return f"{kind}, overlap {overlap:.3f}, floor offset {'none' if offset is None else f'{offset:.4f} s'}"


def _silence(speech: Sequence[Span], at: int) -> int:
    """Return the samples of silence around `at` or at its edge, 0 within speech."""
    begun = bisect_left(speech, at, key=lambda span: span[0])
    if begun and speech[begun - 1][1] > at:
        return 0
    ended = bisect_right(speech, at, key=lambda span: span[1])
    start = speech[ended - 1][1] if ended else -_FAR
    end = speech[ended][0] if ended < len(speech) else _FAR
    return end - start
