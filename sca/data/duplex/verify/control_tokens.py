"""Verify the control tokens of a row: each is where the stored words require it, and nowhere else.

The tokens are read back from the row; how the builder placed them is not used.
"""

from collections.abc import Iterator, Sequence

from sca.data.duplex.model.labels import BACKCHANNEL
from sca.data.duplex.model.records import RowRecord, RowWordRecord, SegmentRecord
from sca.data.duplex.model.rows import PlacedToken
from sca.data.duplex.verify.context import ProofContext
from sca.data.duplex.verify.turn_taking import TurnVerifier
from sca.textutil import counted
from sca.units import HEARD_HZ, seconds_to_samples

__all__ = ["control_problems"]


def control_problems(
    row: RowRecord, tokens: Sequence[PlacedToken], turns: TurnVerifier, context: ProofContext
) -> Iterator[str]:
    """Yield what is wrong with the control tokens of a row.

    Args:
        row: A row with as many text tokens as its segments have together.
        tokens: All its tokens except silence, in order.
        turns: The words of the speaker.
        context: The settings of the data set.
    """
    controls = context.controls
    answers = [token for token in tokens if token.id != controls.hold]
    taken = {token.chunk for token in answers}
    expected_holds: set[int] = set()
    at = 0
    for n, segment in enumerate(row["segments"]):
        check = _SegmentControls(row, segment, turns, context)
        own = answers[at : at + segment["n_tokens"] + len(check.around)]
        at += len(own)
        if problem := check.missing(own):
            yield f"segment {n}: {problem}"
            return
        yield from (f"segment {n}: {problem}" for problem in check.misplaced(own))
        expected_holds.update(chunk for chunk in check.spoken_chunks(own) if chunk not in taken)
    if answers[at:]:
        token = answers[at]
        name = controls.names.get(token.id, f"token {token.id}")
        yield f"{name} at chunk {token.chunk}, place {token.k} belongs to no segment"
    holds = {token.chunk for token in tokens if token.id == controls.hold}
    if controls.hold is not None and holds != expected_holds:
        chunk = min(holds ^ expected_holds)
        yield f"chunk {chunk} should {'' if chunk in expected_holds else 'not '}have a hold token"


class _SegmentControls:
    """The control tokens around one segment."""

    def __init__(self, row: RowRecord, segment: SegmentRecord, turns: TurnVerifier, context: ProofContext) -> None:
        self._row, self._segment, self._context = row, segment, context
        first, last = segment["first_word"], segment["first_word"] + segment["n_words"] - 1
        self._begins, self._ends = turns.begins_unit(first), turns.ends_unit(last)
        backchannel = segment["kind"] == BACKCHANNEL
        self._opening = context.controls.opening(backchannel=backchannel) if self._begins else None
        self._closing = context.controls.stop if self._ends else None
        self.around = [token for token in (self._opening, self._closing) if token is not None]

    def missing(self, own: Sequence[PlacedToken]) -> str | None:
        """Return a message if the tokens of the segment are not its text enclosed by its control tokens.

        Args:
            own: The tokens of the segment, with the control tokens around it.
        """
        names = self._context.controls.names
        text = own[int(self._opening is not None) : len(own) - int(self._closing is not None)]
        found: list[int] = []
        if len(own) > len(self.around):
            found += [own[0].id] * (self._opening is not None) + [own[-1].id] * (self._closing is not None)
        if found == self.around and text and not any(token.id in names for token in text):
            return None
        wanted = " and ".join(names[token] for token in self.around) or "no control token"
        return f"{wanted} should be around its {counted(self._segment['n_tokens'], 'token')}"

    def misplaced(self, own: Sequence[PlacedToken]) -> Iterator[str]:
        """Yield what is wrong with the chunks of the control tokens."""
        names = self._context.controls.names
        if self._opening is not None and own[0].chunk < self._wanted_chunks()[0] - self._context.pull:
            yield f"{names[self._opening]} is in chunk {own[0].chunk}, too early"
        if self._closing is not None and own[-1].chunk != (due := self._closing_chunk(own[-2])):
            yield f"{names[self._closing]} is in chunk {own[-1].chunk}, it should be in chunk {due}"

    def spoken_chunks(self, own: Sequence[PlacedToken]) -> range:
        """Return the chunks of the row during which the segment is spoken."""
        n_chunks = self._row["n_chunks"]
        begin = own[0].chunk if self._begins else 0
        end = max(own[-1].chunk, self._last_chunk()) if self._ends else n_chunks - 1
        return range(begin, min(end + 1, n_chunks))

    def _wanted_chunks(self) -> tuple[int, int]:
        """Return the chunks that the first and last word with tokens should be in, counted in the row."""
        words = [word for word in self._segment["words"] if word["n_tokens"]]
        return self._wanted_chunk(words[0]), self._wanted_chunk(words[-1])

    def _wanted_chunk(self, word: RowWordRecord) -> int:
        onset = seconds_to_samples(word["start_s"], HEARD_HZ)
        return max(0, onset // self._context.chunk_samples - self._context.lead)

    def _last_chunk(self) -> int:
        """Return the chunk in which the speech of the segment ends, within the window."""
        end = seconds_to_samples(self._segment["end_s"], HEARD_HZ)
        planned = self._row["n_chunks"] - self._row["extended_chunks"]
        last = (end - 1) // self._context.chunk_samples - self._context.lead
        return max(min(last, planned - 1), self._wanted_chunks()[1])

    def _closing_chunk(self, before: PlacedToken) -> int:
        """Return the chunk that the closing token should be in, given the token before it."""
        last = self._last_chunk()
        if last > before.chunk:
            return last
        return before.chunk if before.k + 1 < self._context.capacity else before.chunk + 1
