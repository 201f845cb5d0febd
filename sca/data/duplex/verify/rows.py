"""Verify rows: read their tokens back, compare them with the words of the session, and count what they contain.

Independent of how rows are made: the input is stored rows and the stored words of the speaker. `sca build-duplex`
verifies every row that it writes and `sca verify` every row that it reads, so that the report of one can be checked by
the other.
"""

from collections.abc import Sequence

from sca.data.duplex.model.counters import ProofCounters
from sca.data.duplex.model.left_out import LeftOutRow
from sca.data.duplex.model.records import RowRecord, WordRecord
from sca.data.duplex.model.row_names import row_id_of, typed_row_id
from sca.data.duplex.model.rows import PlacedToken
from sca.data.duplex.model.session import SessionResult
from sca.data.duplex.model.spans import Span
from sca.data.duplex.verify.context import ProofContext
from sca.data.duplex.verify.control_tokens import control_problems
from sca.data.duplex.verify.row_fields import field_problems
from sca.data.duplex.verify.row_tokens import parse_input_ids
from sca.data.duplex.verify.segments import SegmentVerifier
from sca.data.duplex.verify.turn_taking import TurnVerifier
from sca.textutil import counted
from sca.units import encoder_tokens

__all__ = ["LeftOutRows", "RowVerifier"]


class RowVerifier:
    """Verifies the rows of one side of a session, in order: every word is in exactly one row, and the rows leave no gap.

    Attributes:
        counters: What the rows contain.
        problems: Messages about what is wrong.
    """

    def __init__(
        self,
        name: str,
        words: Sequence[WordRecord],
        other: Sequence[Span],
        unlabelled: Sequence[Span],
        session_chunks: int,
        context: ProofContext,
    ) -> None:
        """Prepare the verification.

        Args:
            name: Name of the side, for messages.
            words: Words of the speaker, as stored.
            other: Where the listener speaks.
            unlabelled: Where the words of the speaker are unknown.
            session_chunks: Chunks of the session.
            context: The settings of the data set.
        """
        self.counters = ProofCounters()
        self.problems: list[str] = []
        self._name = name
        self._words = words
        self._unlabelled = unlabelled
        self._chunks = session_chunks
        self._context = context
        self._next_word = 0
        self._next_chunk = 0
        self._turns = TurnVerifier(words, other, context.gap, context.windows, session_chunks)
        self.problems += [f"{name}: {problem}" for problem in self._turns.unit_problems()]

    def add(self, row: RowRecord) -> None:
        """Verify the next row."""
        self._check_order(row)
        tokens = self._tokens(row)
        control_names = self._context.controls.names
        text_tokens = [token for token in tokens if token.id not in control_names]
        at = 0
        for n, segment in enumerate(row["segments"]):
            own = text_tokens[at : at + segment["n_tokens"]]
            at += segment["n_tokens"]
            words = self._words[segment["first_word"] : segment["first_word"] + segment["n_words"]]
            verifier = SegmentVerifier(row, segment, own, words, self._context, self.counters)
            for problem in verifier.run():
                self._report(row, f"segment {n}: {problem}")
        if at != len(text_tokens):
            self._report(row, f"{counted(len(text_tokens), 'text token')}, but its segments have {at}")
        elif control_names:
            for problem in control_problems(row, tokens, self._turns, self._context):
                self._report(row, problem)
        for problem in field_problems(row, self._words, tokens, self._unlabelled, self._context):
            self._report(row, problem)
        for problem in self._turns.row_problems(row):
            self._report(row, problem)
        self._count(row, len(text_tokens))

    def skip(self, row: LeftOutRow) -> None:
        """Accept that the next row is left out. Its chunks and words must still be those that the rows around it lack."""
        self._next_chunk += row.chunks
        self._next_word += row.words
        self.counters.rows_left_out += 1
        self.counters.words_left_out += row.words

    def finish(self) -> None:
        """Report what is missing after the last row."""
        if self._next_word != len(self._words):
            left = counted(len(self._words) - self._next_word, "word")
            self.problems.append(
                f"{self._name}: no row contains {left} of the speaker, the first is word {self._next_word}"
            )
        if self._next_chunk != self._chunks:
            self.problems.append(
                f"{self._name}: its rows end at chunk {self._next_chunk}, the session has {self._chunks}"
            )

    def _report(self, row: RowRecord, problem: str) -> None:
        self.problems.append(f"{typed_row_id(row['row_id'])}: {problem}")

    def _check_order(self, row: RowRecord) -> None:
        """Verify that the row and its words follow those before."""
        expected = row_id_of(row["session_id"], row["listener"], row["speaker"], row["start_chunk"])
        if row["row_id"] != expected:
            self._report(row, f"row_id should be {expected}")
        if row["start_chunk"] != self._next_chunk:
            self._report(row, f"starts at chunk {row['start_chunk']}, but the previous row ends at {self._next_chunk}")
        self._next_chunk = row["start_chunk"] + row["n_chunks"] - row["extended_chunks"]
        parts = [(part["first_word"], part["n_words"]) for part in (*row["segments"], *row["dropped"])]
        for first_word, n_words in sorted(parts):
            if first_word != self._next_word:
                self._report(row, f"expected word {self._next_word} of the speaker next, found word {first_word}")
            self._next_word = first_word + n_words

    def _tokens(self, row: RowRecord) -> list[PlacedToken]:
        """Return the text and control tokens of a row, after verifying its pattern, length, prompt and ids."""
        context = self._context
        chunks, broken = parse_input_ids(row["input_ids"], context)
        if broken:
            self._report(row, broken)
        elif len(chunks) != row["n_chunks"]:
            self._report(row, f"input_ids has {counted(len(chunks), 'chunk')}, n_chunks is {row['n_chunks']}")
        if row["prompt_tokens"] != len(context.prompt_ids):
            self._report(row, f"prompt_tokens is {row['prompt_tokens']}, the prompt has {len(context.prompt_ids)}")
        if len(row["input_ids"]) > context.max_tokens:
            self._report(row, f"{counted(len(row['input_ids']), 'token')}, at most {context.max_tokens} are allowed")
        made = encoder_tokens(context.mel_frames)
        if made != context.frames:
            self._report(
                row,
                f"the encoder makes {counted(made, 'token')} of a chunk, "
                f"the row has {counted(context.frames, 'placeholder')}",
            )
        tokens = [PlacedToken(token, chunk, k) for chunk, ids in enumerate(chunks) for k, token in enumerate(ids)]
        self._check_ids(row, tokens)
        control_names = context.controls.names
        self.counters.used.update(sum(token not in control_names for token in ids) for ids in chunks)
        return tokens

    def _check_ids(self, row: RowRecord, tokens: Sequence[PlacedToken]) -> None:
        tokenizer, control_names = self._context.tokenizer, self._context.controls.names
        limit, special = tokenizer.vocab_size, tokenizer.special_ids
        for token in tokens:
            if token.id in control_names:
                self.counters.controls[control_names[token.id]] += 1
            elif not 0 <= token.id < limit or token.id in special:
                self._report(
                    row,
                    f"token {token.id} at chunk {token.chunk}, place {token.k} is not a text token of {tokenizer.name}",
                )

    def _count(self, row: RowRecord, text_tokens: int) -> None:
        counters = self.counters
        for part in row["dropped"]:
            counters.units_dropped += 1
            counters.tokens_dropped_on_request += part["n_tokens"]
            counters.words_dropped_on_request += part["n_words"]
        counters.rows += 1
        counters.chunks += row["n_chunks"]
        counters.extended_chunks += row["extended_chunks"]
        counters.input_ids += len(row["input_ids"])
        counters.text_tokens += text_tokens
        counters.row_flags.update(row["flags"])
        counters.unlabelled_chunks += sum(part["end"] - part["first"] for part in row["unlabelled"])


class LeftOutRows:
    """The rows of a side that are left out, as the report names them, skipped in the order of their chunks.

    Attributes:
        rows: Those that are not skipped yet.
    """

    def __init__(self, rows: Sequence[LeftOutRow], result: SessionResult, side: tuple[str, str]) -> None:
        """Find the rows of a side.

        Args:
            rows: The rows that are left out, of any side.
            result: The session, which gets those that are skipped.
            side: Listener and speaker.
        """
        own = [row for row in rows if row.is_of(result.session_id, *side)]
        self.rows = sorted(own, key=lambda row: row.first_chunk)
        self._result = result

    def skip(self, verifier: RowVerifier, before_chunk: int | None = None) -> None:
        """Skip the rows that begin before a chunk; without one, all that are left."""
        while self.rows and (before_chunk is None or self.rows[0].first_chunk < before_chunk):
            row = self.rows.pop(0)
            verifier.skip(row)
            self._result.left_out.append(row)
