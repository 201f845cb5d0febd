"""The proof of a row: read its tokens back, hold them against the words of the session, and count what was found.

Independent of how rows are made: it gets stored rows and the speaker's stored words, and trusts neither. `sca build-duplex`
runs it on every row it writes and `sca verify` on every row it reads, so the report of the one is the check of the other.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sca.data.duplex.model.counters import ProofCounters
from sca.data.duplex.model.spans import Span
from sca.data.duplex.verify.context import ProofContext
from sca.data.duplex.verify.control_tokens import control_problems
from sca.data.duplex.verify.turn_taking import TalkProof
from sca.textutil import counted
from sca.units import HEARD_HZ, encoder_tokens

__all__ = ["FLOOR_TENTHS", "RowVerifier", "parse_input_ids"]

Stored = Mapping[str, Any]
FLOOR_TENTHS = 50
"""Floor-transfer offsets are counted by tenths of a second up to this many; what lies further out is in the last."""


def parse_input_ids(ids: Sequence[int], context: ProofContext) -> tuple[list[list[int]], str | None]:
    """Each chunk's tokens without silence, and where the pattern breaks, if it does. Hold is the only token of its chunk."""
    at, end = len(context.prompt_ids), len(ids)
    if tuple(ids[:at]) != context.prompt_ids:
        return [], "the system prompt is not the one of the settings"
    chunks: list[list[int]] = []
    heard, hold = [context.placeholder] * context.frames, context.controls.hold
    while at < end:
        if list(ids[at : at + context.frames]) != heard:
            return (
                chunks,
                f"chunk {len(chunks)} does not begin with {counted(context.frames, 'audio placeholder')} (position {at})",
            )
        at += context.frames
        if at < end and ids[at] == context.silence_id:
            chunks.append([])
            at += 1
            continue
        if hold is not None and at < end and ids[at] == hold:
            chunks.append([hold])
            at += 1
            continue
        spoken = list(ids[at : at + context.capacity])
        if len(spoken) < context.capacity or context.placeholder in spoken:
            return (
                chunks,
                f"chunk {len(chunks)} has neither one silence nor {counted(context.capacity, 'token')} (position {at})",
            )
        text = [token for token in spoken if token != context.silence_id]
        if spoken[: len(text)] != text or hold in text:
            return chunks, f"chunk {len(chunks)} has text after silence (position {at})"
        chunks.append(text)
        at += context.capacity
    return chunks, None


class RowVerifier:
    """The rows of one side of a session, in order: every word in exactly one row, no gap in the time line."""

    def __init__(
        self, name: str, words: Sequence[Stored], other: Sequence[Span], session_chunks: int, context: ProofContext
    ) -> None:
        """words: of the speaker, as stored.   other: where the listener speaks."""
        self.name = name
        self.tally = ProofCounters()
        self.problems: list[str] = []
        self._words = words
        self._chunks = session_chunks
        self._context = context
        self._next_word = 0
        self._next_chunk = 0
        self.talk = TalkProof(words, other, context.gap, context.windows)
        self.problems += [f"{name}: {line}" for line in self.talk.broken_units()]

    def add(self, row: Stored) -> None:
        """Check the next row."""
        where = row["row_id"]
        expected = f"{row['session_id']}:{row['listener']}>{row['speaker']}:{row['start_chunk']:06d}"
        if where != expected:
            self._problem(where, f"row_id should be {expected}")
        if row["start_chunk"] != self._next_chunk:
            self._problem(where, f"starts at chunk {row['start_chunk']}, but the row before ends at {self._next_chunk}")
        self._next_chunk = row["start_chunk"] + row["n_chunks"] - row["extended_chunks"]
        every = self._tokens(row)
        marks = self._context.controls.names
        placed = [token for token in every if token[0] not in marks]
        for left_out in sorted([*row["segments"], *row["dropped"]], key=lambda part: part["first_word"]):
            if left_out["first_word"] != self._next_word:
                self._problem(
                    where, f"expected word {self._next_word} of the speaker next, found word {left_out['first_word']}"
                )
            self._next_word = left_out["first_word"] + left_out["n_words"]
        at = 0
        for n, segment in enumerate(row["segments"]):
            own = placed[at : at + segment["n_tokens"]]
            at += segment["n_tokens"]
            _Segment(self, row, n, segment, own).check()
        if at != len(placed):
            self._problem(where, f"{counted(len(placed), 'text token')}, but its segments have {at}")
        elif marks:
            for line in control_problems(row, every, self.talk, self._context):
                self._problem(where, line)
        for line in self.talk.row(row):
            self._problem(where, line)
        for part in row["dropped"]:
            self.tally.counts["units_dropped"] += 1
            self.tally.counts["tokens_dropped_on_request"] += part["n_tokens"]
            self.tally.counts["words_dropped_on_request"] += part["n_words"]
        self.tally.counts["rows"] += 1
        self.tally.counts["chunks"] += row["n_chunks"]
        self.tally.counts["extended_chunks"] += row["extended_chunks"]
        self.tally.counts["input_ids"] += len(row["input_ids"])
        self.tally.counts["text_tokens"] += len(placed)
        for flag in row["flags"]:
            self.tally.counts[f"rows_{flag}"] += 1

    def finish(self) -> None:
        """Note what is missing once every row was added."""
        if self._next_word != len(self._words):
            left = len(self._words) - self._next_word
            self.problems.append(
                f"{self.name}: no row has {counted(left, 'word')} of the speaker, the first is word {self._next_word}"
            )
        if self._next_chunk != self._chunks:
            self.problems.append(
                f"{self.name}: its rows end at chunk {self._next_chunk}, the session has {self._chunks}"
            )

    def _problem(self, where: str, what: str) -> None:
        self.problems.append(f"{where}: {what}")

    def _tokens(self, row: Stored) -> list[tuple[int, int, int]]:
        """The row's text tokens as (id, chunk, k), after its pattern, length, prompt and ids were checked."""
        context, where = self._context, row["row_id"]
        chunks, broken = parse_input_ids(row["input_ids"], context)
        if broken:
            self._problem(where, broken)
        elif len(chunks) != row["n_chunks"]:
            self._problem(where, f"{counted(len(chunks), 'chunk')} in input_ids, n_chunks says {row['n_chunks']}")
        if row["prompt_tokens"] != len(context.prompt_ids):
            self._problem(where, f"prompt_tokens is {row['prompt_tokens']}, the prompt has {len(context.prompt_ids)}")
        if len(row["input_ids"]) > context.max_tokens:
            self._problem(where, f"{counted(len(row['input_ids']), 'token')}, the most is {context.max_tokens}")
        made = encoder_tokens(context.mel_frames)
        if made != context.frames:
            self._problem(
                where,
                f"the encoder makes {counted(made, 'token')} of a chunk, the row has {counted(context.frames, 'placeholder')}",
            )
        placed = [(token, chunk, k) for chunk, tokens in enumerate(chunks) for k, token in enumerate(tokens)]
        limit, special, marks = context.tokenizer.vocab_size, context.tokenizer.special_ids, context.controls.names
        for token, chunk, k in placed:
            if token in marks:
                self.tally.counts[f"control_{marks[token]}"] += 1
            elif not 0 <= token < limit or token in special:
                self._problem(
                    where, f"token {token} at chunk {chunk}, place {k} is not a text token of {context.tokenizer.name}"
                )
        self.tally.used.update(sum(token not in marks for token in tokens) for tokens in chunks)
        return placed

    def words(self, first: int, count: int) -> Sequence[Stored]:
        """The speaker's stored words `[first, first + count)`."""
        return self._words[first : first + count]


@dataclass(frozen=True, slots=True)
class _Segment:
    """One segment of a row against its tokens and the speaker's words."""

    view: RowVerifier
    row: Stored
    n: int
    segment: Stored
    tokens: Sequence[tuple[int, int, int]]

    def check(self) -> None:
        segment = self.segment
        self.view.tally.counts["segments"] += 1
        self.view.tally.counts[f"segments_{segment['kind']}"] += 1
        self._count_overlap()
        if len(self.tokens) != segment["n_tokens"]:
            self._problem(f"has {counted(segment['n_tokens'], 'token')}, {len(self.tokens)} are left in the row")
            return
        if self.tokens:
            ends = (*self.tokens[0][1:], *self.tokens[-1][1:])
            said = (segment["first_chunk"], segment["first_k"], segment["last_chunk"], segment["last_k"])
            if ends != said:
                self._problem(f"says its tokens are at {said}, they are at {ends}")
        self._check_text()
        self._check_words()

    def _count_overlap(self) -> None:
        """What the conversation is like: speech, overlapped speech, and from where the floor was taken."""
        segment, counts = self.segment, self.view.tally.counts
        length = round((segment["end_s"] - segment["start_s"]) * HEARD_HZ)
        counts["spoken_samples"] += length
        counts["overlapped_samples"] += round(segment["overlap"] * length)
        offset = segment["floor_offset_s"]
        # Who nods along takes no floor.
        if offset is not None and segment["kind"] != "backchannel":
            counts[f"floor_offset_{min(max(math.floor(offset * 10), -FLOOR_TENTHS), FLOOR_TENTHS)}"] += 1

    def _check_text(self) -> None:
        tokenizer = self.view._context.tokenizer
        ids = [token for token, _, _ in self.tokens]
        text = (" " if self.segment["leading_space"] else "") + self.segment["text"]
        decoded = tokenizer.decode(ids)
        self.view.tally.counts["units_decoded"] += 1
        if decoded != text:
            self._problem(f"its tokens read {decoded!r}, its text is {text!r}")
        elif "split_unit" not in self.row["flags"] and tokenizer.encode(text) != ids:
            self._problem(f"its tokens are not how the tokenizer writes {text!r}")

    def _check_words(self) -> None:
        segment, words = self.segment, self.segment["words"]
        stored = self.view.words(segment["first_word"], segment["n_words"])
        if not len(words) == segment["n_words"] == len(stored):
            self._problem(
                f"{counted(len(words), 'word')}, n_words says {segment['n_words']}, the speaker has {len(stored)} there"
            )
            return
        at = 0
        lag = 0
        origin = self.row["start_chunk"] * self.view._context.chunk_samples
        for word, truth in zip(words, stored, strict=True):
            onset = round(truth["start"] * HEARD_HZ)
            starts = round(word["start_s"] * HEARD_HZ) + origin
            ends = round(word["end_s"] * HEARD_HZ) + origin
            if word["word"] != truth["word"] or starts != onset or ends != round(truth["end"] * HEARD_HZ):
                self._problem(f"word {word['word']!r} at {word['start_s']:.3f} s is not {truth['word']!r} as stored")
            own = self.tokens[at : at + word["n_tokens"]]
            at += word["n_tokens"]
            if own and own[0][1:] != (word["chunk"], word["k"]):
                self._problem(
                    f"word {word['word']!r} says it is at {(word['chunk'], word['k'])}, its token is at {own[0][1:]}"
                )
            lag = max([lag, *(self._place(onset, chunk) for _, chunk, _ in own)])
            self.view.tally.counts["words"] += 1
            self.view.tally.counts["word_samples"] += max(0, ends - starts)
            self.view.tally.counts[f"words_{truth['source']}"] += 1
        if at != len(self.tokens):
            self._problem(f"its words have {counted(at, 'token')}, it has {len(self.tokens)}")
        if lag != segment["lag_chunks"]:
            self._problem(f"lags {counted(lag, 'chunk')}, lag_chunks says {segment['lag_chunks']}")
        if lag > self.view._context.max_lag:
            self.view.tally.counts["units_flagged_lag"] += 1

    def _place(self, onset: int, chunk: int) -> int:
        """Count a token's distance from its wanted slot and what it may have heard; returns its lag in chunks."""
        context, counts = self.view._context, self.view.tally.counts
        raw: int = onset // context.chunk_samples - context.lead - self.row["start_chunk"]
        error = chunk - max(0, raw)
        self.view.tally.errors[error] += 1
        if raw < 0:
            counts["tokens_first_chunk"] += 1
        if error < -context.pull:
            self._problem(
                f"a token stands {counted(-error, 'chunk')} before its word, at most {context.pull} are allowed"
            )
        if context.lead >= 1:
            heard = (self.row["start_chunk"] + chunk + 1) * context.chunk_samples
            if heard > onset and error > 0:
                counts["tokens_lagged_past_onset"] += 1
                counts["samples_lagged_past_onset"] += heard - onset
            elif heard > onset and raw >= 0:
                counts["tokens_leaked"] += 1
                self._problem(f"a token in chunk {chunk} has heard its own word begin, though it does not lag")
        return max(0, error)

    def _problem(self, what: str) -> None:
        self.view.problems.append(f"{self.row['row_id']}: segment {self.n}: {what}")
