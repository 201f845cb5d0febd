"""Build training rows: the windows of one side of a session, with their tokens on the grid.

Pure. A row contains chunks and tokens, not audio: `input_ids` is the system prompt, then for every chunk the audio
placeholders and either one silence token or `capacity` tokens, of which those after the text are silence. With control
tokens enabled, hold replaces the single silence token of a chunk while the speaker is speaking, and start and stop are
placed like text.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sca.control_tokens import NO_CONTROLS, ControlTokens
from sca.data.corpora.text.scripts import starts_with_space
from sca.data.duplex.model.labels import BACKCHANNEL, Label
from sca.data.duplex.model.rows import DroppedSegment, PlacedToken, PlacedWord, Row, Segment
from sca.data.duplex.model.spans import Span
from sca.data.duplex.model.units import Unit
from sca.data.duplex.rows.placement import Cursor, place_tokens, token_words, wanted_chunks
from sca.data.duplex.rows.unlabelled import unlabelled_chunks
from sca.data.duplex.rows.windows import Window
from sca.tokenizer import TextTokenizer

__all__ = ["Layout", "TokenizedUnit", "make_row", "tokenize_units"]

_UNTIL_ROW_END = 1 << 30  # a unit that continues in the next row is spoken until the end of this one


@dataclass(frozen=True, slots=True)
class Layout:
    """The parameters of row building.

    Attributes:
        chunk_samples: Samples of a chunk at 16 kHz.
        frames: Audio placeholders per chunk.
        capacity: Text tokens per chunk.
        lead: Chunks that a token precedes the chunk of its word's onset.
        pull: Most chunks that a token is moved backwards to make room.
        max_lag: Chunks of lag above which a segment is flagged, or dropped.
        drop_late_units: Whether segments that lag more are dropped.
        silence_id: Silence token.
        placeholder: Audio placeholder.
        prompt_ids: Tokens of the system prompt.
        controls: Control tokens.
        masks_unlabelled: Whether chunks with unknown words are left out of the labels.
    """

    chunk_samples: int
    frames: int
    capacity: int
    lead: int
    pull: int
    max_lag: int
    drop_late_units: bool
    silence_id: int
    placeholder: int
    prompt_ids: tuple[int, ...]
    controls: ControlTokens = NO_CONTROLS
    masks_unlabelled: bool = True


@dataclass(frozen=True, slots=True)
class TokenizedUnit:
    """A unit and its tokens.

    Attributes:
        unit: The unit.
        ids: Its tokens.
        owners: Index of the word that each token belongs to.
        anchors: For each word the sample that decides which row it falls into: its start, or the anchor of the word
            before if a token spans both (scripts without spaces). So no row ends inside a token or a character.
        first_word: Words of the speaker before this unit.
        leading_space: Whether the tokens begin with a space.
        label: Label of the unit.
    """

    unit: Unit
    ids: tuple[int, ...]
    owners: tuple[int, ...]
    anchors: tuple[int, ...]
    first_word: int
    leading_space: bool
    label: Label


def tokenize_units(units: Sequence[Unit], labels: Sequence[Label], tokenizer: TextTokenizer) -> list[TokenizedUnit]:
    """Tokenize each unit as a whole.

    It has a leading space, except for the first unit of the speaker and for scripts without spaces.
    """
    tokenized: list[TokenizedUnit] = []
    first_word = 0
    for n, (unit, label) in enumerate(zip(units, labels, strict=True)):
        space = n > 0 and starts_with_space(unit.text)
        ids, offsets = tokenizer.encode_with_offsets(f" {unit.text}" if space else unit.text)
        owners = token_words(unit, offsets, int(space))
        anchors = _anchors(unit, offsets, owners, int(space))
        tokenized.append(TokenizedUnit(unit, tuple(ids), tuple(owners), anchors, first_word, space, label))
        first_word += len(unit.words)
    return tokenized


def _anchors(unit: Unit, offsets: Sequence[tuple[int, int]], owners: Sequence[int], shift: int) -> tuple[int, ...]:
    first_token: dict[int, int] = {}
    for i, owner in enumerate(owners):
        first_token.setdefault(owner, i)
    anchors: list[int] = []
    for n, word in enumerate(unit.words):
        token = first_token.get(n)
        starts_token = n == 0 or (token is not None and offsets[token - 1][1] <= word.char_start + shift)
        start = word.start if starts_token else anchors[-1]
        anchors.append(max(start, anchors[-1]) if anchors else start)
    return tuple(anchors)


def make_row(
    window: Window, last: bool, units: Sequence[TokenizedUnit], layout: Layout, unlabelled: Sequence[Span] = ()
) -> Row:
    """Build the row of a window from the words that start in it.

    Args:
        window: The window.
        last: Whether it is the last window of the session. It also gets the words that start after it.
        units: All units of the speaker, in time order.
        layout: The parameters of row building.
        unlabelled: Speech of the speaker without words, in samples of the session.
    """
    cursor = Cursor(window.first)
    segments: list[Segment] = []
    dropped: list[DroppedSegment] = []
    flags = list(window.flags)
    for unit, first, end in _parts_in(window, last, units, layout.chunk_samples):
        segment, after = _place_part(unit, first, end, window, cursor, layout)
        if segment.lag > layout.max_lag:
            flags.append("lag")
            if layout.drop_late_units:
                dropped.append(_dropped(segment))
                continue
        if end - first < len(unit.anchors):
            flags.append("split_unit")
        segments.append(segment)
        cursor = after
    planned = window.last - window.first
    tokens = [token for segment in segments for token in segment.all_tokens]
    n_chunks = max(planned, tokens[-1].chunk + 1 if tokens else 0)
    if n_chunks > planned:
        flags.append("extended")
    held = _held_chunks(tokens, n_chunks, [segment.spoken_chunks for segment in segments], layout)
    used = {token.chunk for token in tokens} | held
    spans = [*unlabelled, *((segment.start, segment.end) for segment in dropped)] if layout.masks_unlabelled else []
    return Row(
        first=window.first,
        n_chunks=n_chunks,
        extended=n_chunks - planned,
        input_ids=_input_ids(tokens, n_chunks, held, layout),
        segments=tuple(segments),
        dropped=tuple(dropped),
        flags=tuple(dict.fromkeys(flags)),
        unlabelled=tuple(unlabelled_chunks(spans, window.first, planned, layout.lead, layout.chunk_samples, used)),
    )


def _parts_in(
    window: Window, last: bool, units: Sequence[TokenizedUnit], chunk_samples: int
) -> Iterator[tuple[TokenizedUnit, int, int]]:
    """Yield the units with words in a window, and the range `[first, end)` of these words."""
    since = window.first * chunk_samples
    until = None if last else window.last * chunk_samples
    for unit in units:
        first = 0 if window.first == 0 else bisect_left(unit.anchors, since)
        end = len(unit.anchors) if until is None else bisect_left(unit.anchors, until)
        if first < end:
            yield unit, first, end


def _dropped(segment: Segment) -> DroppedSegment:
    words = [word.word for word in segment.words]
    return DroppedSegment(
        text=segment.text,
        start=words[0].start,
        end=max(word.end for word in words),
        n_tokens=len(segment.tokens),
        first_word=segment.first_word,
        n_words=len(words),
    )


def _place_part(
    unit: TokenizedUnit, first: int, end: int, window: Window, cursor: Cursor, layout: Layout
) -> tuple[Segment, Cursor]:
    """Place words `[first, end)` of a unit and the control tokens around them.

    Returns:
        The segment, its chunks counted from the window's first chunk, and the first free place after it.
    """
    origin = window.first
    begins, ends = first == 0, end == len(unit.anchors)
    picked = [i for i, owner in enumerate(unit.owners) if first <= owner < end]
    all_wanted = wanted_chunks(unit.unit, unit.owners, layout.chunk_samples, layout.lead)
    wanted = [max(all_wanted[i], origin) for i in picked]
    opening = layout.controls.opening(backchannel=unit.label.kind == BACKCHANNEL) if begins else None
    closing = layout.controls.stop if ends else None
    speech_end = max(word.end for word in unit.unit.words[first:end])
    # Speech that ends in the lead of the next window, or before its last token, ends with this window or with that
    # token.
    last_spoken = max(min(_chunk_of_end(speech_end, layout), window.last - 1), wanted[-1])
    ids = [opening, *(unit.ids[i] for i in picked), closing]
    targets = [wanted[0], *wanted, last_spoken]
    used = [(token, target) for token, target in zip(ids, targets, strict=True) if token is not None]
    placed = place_tokens([target for _, target in used], cursor, capacity=layout.capacity, pull=layout.pull)
    tokens = _placed_tokens([token for token, _ in used], placed.chunks, cursor, origin)
    text_tokens = tokens[opening is not None : len(tokens) - (closing is not None)]
    last_chunk = max(tokens[-1].chunk, last_spoken - origin) if ends else _UNTIL_ROW_END
    return Segment(
        text=_text_of(unit.unit, first, end),
        leading_space=_has_leading_space(unit, first),
        first_word=unit.first_word + first,
        words=_placed_words(unit, range(first, end), picked, text_tokens),
        tokens=tuple(text_tokens),
        label=unit.label,
        lag=max(token.chunk + origin - target for token, target in zip(text_tokens, wanted, strict=True)),
        opening=None if opening is None else tokens[0],
        closing=None if closing is None else tokens[-1],
        spoken_chunks=(tokens[0].chunk if begins else 0, last_chunk),
    ), placed.after


def _chunk_of_end(end: int, layout: Layout) -> int:
    """Return the chunk of speech that ends at sample `end`, `lead` chunks before its sound like the tokens of words."""
    return (end - 1) // layout.chunk_samples - layout.lead


def _placed_tokens(ids: Sequence[int], chunks: Sequence[int], cursor: Cursor, origin: int) -> list[PlacedToken]:
    """Return tokens with their places.

    `cursor` gives the places taken in its chunk; chunks are counted from `origin`.
    """
    tokens: list[PlacedToken] = []
    chunk, k = cursor.chunk, cursor.used
    for token, at in zip(ids, chunks, strict=True):
        if at != chunk:
            chunk, k = at, 0
        tokens.append(PlacedToken(token, chunk - origin, k))
        k += 1
    return tokens


def _placed_words(
    unit: TokenizedUnit, indices: range, picked: Sequence[int], tokens: Sequence[PlacedToken]
) -> tuple[PlacedWord, ...]:
    counts = Counter(unit.owners[i] for i in picked)
    words: list[PlacedWord] = []
    at = 0
    for index in indices:
        place = tokens[min(at, len(tokens) - 1)]
        words.append(PlacedWord(unit.unit.words[index], place.chunk, place.k, counts[index]))
        at += counts[index]
    return tuple(words)


def _text_of(unit: Unit, first: int, end: int) -> str:
    return unit.text[unit.words[first].char_start : unit.words[end - 1].char_end]


def _has_leading_space(unit: TokenizedUnit, first: int) -> bool:
    if first == 0:
        return unit.leading_space
    # In a script without spaces a unit can be split between two characters without a space.
    words = unit.unit.words
    return words[first].char_start > words[first - 1].char_end


def _held_chunks(
    tokens: Sequence[PlacedToken], n_chunks: int, spoken: Sequence[tuple[int, int]], layout: Layout
) -> set[int]:
    """Return the chunks without tokens during which a segment is spoken: those with the hold token, if it is enabled."""
    if layout.controls.hold is None:
        return set()
    speaking = {chunk for first, last in spoken for chunk in range(first, min(last + 1, n_chunks))}
    return speaking - {token.chunk for token in tokens}


def _input_ids(
    tokens: Sequence[PlacedToken], n_chunks: int, held: Collection[int], layout: Layout
) -> NDArray[np.int32]:
    """Return the tokens of a row.

    Args:
        tokens: Text and control tokens in order.
        n_chunks: Chunks of the row.
        held: Chunks that get the hold token.
        layout: The parameters of row building.

    Returns:
        int32 `(n,)`: the prompt, then for each chunk `frames` placeholders and one silence token or `capacity` tokens.
    """
    chunks = np.array([token.chunk for token in tokens], np.int64)
    used = np.bincount(chunks, minlength=n_chunks)
    sizes = layout.frames + np.where(used > 0, layout.capacity, 1)
    starts = np.concatenate(([0], np.cumsum(sizes)))
    body = np.full(int(starts[-1]), layout.silence_id, np.int32)
    body[starts[:-1, None] + np.arange(layout.frames)] = layout.placeholder
    if layout.controls.hold is not None:
        body[starts[sorted(held)] + layout.frames] = layout.controls.hold
    places = np.array([token.k for token in tokens], np.int64)
    body[starts[chunks] + layout.frames + places] = [token.id for token in tokens]
    return np.concatenate((np.asarray(layout.prompt_ids, np.int32), body))
