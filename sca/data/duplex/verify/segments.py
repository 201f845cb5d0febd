"""Verify one segment of a row: its text, its words and the places of its tokens."""

import math
from bisect import bisect_right
from collections.abc import Sequence

from sca.data.duplex.model.counters import ProofCounters
from sca.data.duplex.model.labels import BACKCHANNEL
from sca.data.duplex.model.records import RowRecord, RowWordRecord, SegmentRecord, WordRecord
from sca.data.duplex.model.rows import PlacedToken
from sca.data.duplex.storage.records import span_of
from sca.data.duplex.verify.context import ProofContext
from sca.textutil import counted
from sca.units import HEARD_HZ, seconds_to_samples

__all__ = ["FLOOR_TENTHS", "SegmentVerifier"]

FLOOR_TENTHS = 50
"""Floor-transfer offsets are counted in tenths of a second up to this many; the outermost bins also contain everything beyond."""


class SegmentVerifier:
    """Compares a segment with the tokens of its row and the stored words of its speaker, and counts what it contains."""

    def __init__(
        self,
        row: RowRecord,
        segment: SegmentRecord,
        tokens: Sequence[PlacedToken],
        words: Sequence[WordRecord],
        context: ProofContext,
        counters: ProofCounters,
    ) -> None:
        """Prepare the verification.

        Args:
            row: The row of the segment.
            segment: The segment.
            tokens: The text tokens of the row that belong to the segment.
            words: The stored words that it claims to contain.
            context: The settings of the data set.
            counters: Counters to add to.
        """
        self._row, self._segment, self._tokens, self._words = row, segment, tokens, words
        self._context, self._counters = context, counters
        self.problems: list[str] = []

    def run(self) -> list[str]:
        """Verify the segment and return the problems found."""
        segment = self._segment
        self._count_segment()
        if len(self._tokens) != segment["n_tokens"]:
            expected = counted(segment["n_tokens"], "token")
            self.problems.append(f"has {expected}, {len(self._tokens)} are left in the row")
            return self.problems
        if self._tokens:
            first, last = self._tokens[0], self._tokens[-1]
            ends = first.chunk, first.k, last.chunk, last.k
            recorded = segment["first_chunk"], segment["first_k"], segment["last_chunk"], segment["last_k"]
            if ends != recorded:
                self.problems.append(f"its tokens are recorded at {recorded}, they are at {ends}")
        self._check_text()
        self._check_words()
        return self.problems

    def _count_segment(self) -> None:
        segment, counters = self._segment, self._counters
        counters.segments += 1
        counters.segments_by_kind[segment["kind"]] += 1
        length = seconds_to_samples(segment["end_s"], HEARD_HZ) - seconds_to_samples(segment["start_s"], HEARD_HZ)
        counters.spoken_samples += length
        counters.overlapped_samples += round(segment["overlap"] * length)
        offset = segment["floor_offset_s"]
        # A backchannel does not take the floor.
        if offset is not None and segment["kind"] != BACKCHANNEL:
            counters.floor_offsets[min(max(math.floor(offset * 10), -FLOOR_TENTHS), FLOOR_TENTHS)] += 1

    def _check_text(self) -> None:
        tokenizer = self._context.tokenizer
        ids = [token.id for token in self._tokens]
        text = (" " if self._segment["leading_space"] else "") + self._segment["text"]
        decoded = tokenizer.decode(ids)
        self._counters.units_decoded += 1
        if decoded != text:
            self.problems.append(f"its tokens decode to {decoded!r}, its text is {text!r}")
        elif "split_unit" not in self._row["flags"]:
            encoded, offsets = tokenizer.encode_with_offsets(text)
            if encoded != ids:
                self.problems.append(f"its tokens are not those that the tokenizer makes of {text!r}")
            else:
                self._check_owners(offsets)

    def _check_owners(self, offsets: Sequence[tuple[int, int]]) -> None:
        """Verify that each word has the tokens that begin in it or in the space before it."""
        if not self._words or "".join(self._spaced_words()) != self._segment["text"]:
            return  # reported by the verification of the words
        ends: list[int] = []
        at = int(self._segment["leading_space"])
        for spaced in self._spaced_words():
            at += len(spaced)
            ends.append(at)
        counts = [0] * len(ends)
        for start, _ in offsets:
            counts[min(bisect_right(ends, start), len(ends) - 1)] += 1
        for word, count in zip(self._segment["words"], counts, strict=False):
            if word["n_tokens"] != count:
                self.problems.append(
                    f"word {word['word']!r} has {counted(word['n_tokens'], 'token')}, its text has {count}"
                )
                return

    def _spaced_words(self) -> list[str]:
        """Return the stored words, each after the first with the space before it."""
        return [(" " if word["space"] and n else "") + word["word"] for n, word in enumerate(self._words)]

    def _check_words(self) -> None:
        segment, words = self._segment, self._segment["words"]
        if not len(words) == segment["n_words"] == len(self._words):
            self.problems.append(
                f"{counted(len(words), 'word')}, n_words is {segment['n_words']}, the speaker has {len(self._words)} there"
            )
            return
        at, lag = 0, 0
        for word, stored in zip(words, self._words, strict=True):
            tokens = self._tokens[at : at + word["n_tokens"]]
            at += word["n_tokens"]
            lag = max(lag, self._check_word(word, stored, tokens))
        if at != len(self._tokens):
            self.problems.append(f"its words have {counted(at, 'token')}, it has {len(self._tokens)}")
        if lag != segment["lag_chunks"]:
            self.problems.append(f"lags {counted(lag, 'chunk')}, lag_chunks is {segment['lag_chunks']}")
        if lag > self._context.max_lag:
            self._counters.units_flagged_lag += 1

    def _check_word(self, word: RowWordRecord, stored: WordRecord, tokens: Sequence[PlacedToken]) -> int:
        """Verify one word and return the largest lag of its tokens in chunks."""
        origin = self._row["start_chunk"] * self._context.chunk_samples
        onset, _ = span = span_of(stored)
        start, end = (seconds_to_samples(word[name], HEARD_HZ) + origin for name in ("start_s", "end_s"))
        if word["word"] != stored["word"] or (start, end) != span:
            self.problems.append(
                f"word {word['word']!r} at {word['start_s']:.3f} s does not match the stored word {stored['word']!r}"
            )
        recorded = word["chunk"], word["k"]
        if tokens and tokens[0][1:] != recorded:
            self.problems.append(f"word {word['word']!r} is recorded at {recorded}, its token is at {tokens[0][1:]}")
        self._counters.words += 1
        self._counters.word_samples += max(0, end - start)
        self._counters.words_by_source[stored["source"]] += 1
        return max((self._check_place(onset, token.chunk) for token in tokens), default=0)

    def _check_place(self, onset: int, chunk: int) -> int:
        """Verify the chunk of a token and return its lag in chunks.

        Args:
            onset: Start of its word, samples at 16 kHz in the session.
            chunk: Chunk of the token in the row.
        """
        context, counters, start_chunk = self._context, self._counters, self._row["start_chunk"]
        wanted = onset // context.chunk_samples - context.lead - start_chunk
        error = chunk - max(0, wanted)
        counters.errors[error] += 1
        if wanted < 0:
            counters.tokens_first_chunk += 1
        if error < -context.pull:
            early = counted(-error, "chunk")
            self.problems.append(f"a token is placed {early} before its word, at most {context.pull} are allowed")
        if context.lead >= 1:
            audible_until = (start_chunk + chunk + 1) * context.chunk_samples
            if audible_until > onset and error > 0:
                counters.tokens_lagged_past_onset += 1
                counters.samples_lagged_past_onset += audible_until - onset
            elif audible_until > onset and wanted >= 0:
                counters.tokens_leaked += 1
                self.problems.append(
                    f"a token in chunk {chunk} is placed after the onset of its word is audible, although it does not lag"
                )
        return max(0, error)
