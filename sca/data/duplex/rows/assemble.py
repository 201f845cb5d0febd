"""Training rows: the windows of one side of a session, with their tokens on the grid.

Pure. A row knows chunks and tokens, not audio: `input_ids` is the system prompt, then for every chunk the audio placeholders
and either one silence token or `capacity` tokens, of which the ones after the text are silence. Where control tokens are asked
for, hold stands in place of the one silence while the speaker speaks on, and start and stop are placed like text.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sca.control_tokens import NO_CONTROLS, Controls
from sca.data.duplex.model.labels import BACKCHANNEL, Label
from sca.data.duplex.model.rows import Dropped, Row, Segment, SegmentWord
from sca.data.duplex.model.units import Unit
from sca.data.duplex.rows.placement import Cursor, place_unit, token_words, wanted_slots
from sca.data.duplex.rows.windows import Window
from sca.tokenizer import TextTokenizer

__all__ = [
    "Layout",
    "TokenizedUnit",
    "interleave",
    "last_slot",
    "make_row",
    "tokenize_units",
]

_PAST_END = 1 << 30  # a unit that goes on in the next row is spoken to this row's end


@dataclass(frozen=True, slots=True)
class Layout:
    """What rows are made of. frames: audio tokens a chunk.   capacity: text tokens a chunk.   lead, pull, max_lag: chunks."""

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
    controls: Controls = NO_CONTROLS


@dataclass(frozen=True, slots=True)
class TokenizedUnit:
    """A unit with its tokens: `ids`, and for each the index of the word it belongs to.

    `first_word`: how many words the speaker said before it in the session.
    `anchors`: per word the sample that decides which row it falls into: its start, or that of the word before where a token
    reaches across both (scripts without spaces), so that no row ends inside a token or a character.
    """

    unit: Unit
    ids: tuple[int, ...]
    owners: tuple[int, ...]
    anchors: tuple[int, ...]
    first_word: int
    leading_space: bool
    label: Label


def tokenize_units(units: Sequence[Unit], labels: Sequence[Label], tokenizer: TextTokenizer) -> list[TokenizedUnit]:
    """Tokenize each unit once, whole: with a leading space unless it is the speaker's first."""
    spoken: list[TokenizedUnit] = []
    said = 0
    for n, (unit, label) in enumerate(zip(units, labels, strict=True)):
        space = n > 0
        ids, offsets = tokenizer.encode_with_offsets(f" {unit.text}" if space else unit.text)
        owners = token_words(unit, offsets, int(space))
        anchors = _anchors(unit, offsets, owners, int(space))
        spoken.append(TokenizedUnit(unit, tuple(ids), tuple(owners), anchors, said, space, label))
        said += len(unit.words)
    return spoken


def _anchors(unit: Unit, offsets: Sequence[tuple[int, int]], owners: Sequence[int], shift: int) -> tuple[int, ...]:
    first_token: dict[int, int] = {}
    for i, owner in enumerate(owners):
        first_token.setdefault(owner, i)
    anchors: list[int] = []
    for n, word in enumerate(unit.words):
        at = first_token.get(n)
        own = n == 0 or (at is not None and offsets[at - 1][1] <= word.at + shift)
        start = word.start if own else anchors[-1]
        anchors.append(max(start, anchors[-1]) if anchors else start)
    return tuple(anchors)


def make_row(window: Window, last: bool, spoken: Sequence[TokenizedUnit], layout: Layout) -> Row:
    """Place the words that start in `window` (and, in the `last` window, any that start later) and write the row."""
    until = None if last else window.last * layout.chunk_samples
    since = window.first * layout.chunk_samples
    cursor = Cursor(window.first)
    segments: list[Segment] = []
    dropped: list[Dropped] = []
    flags = list(window.flags)
    for unit in spoken:
        first = 0 if window.first == 0 else bisect_left(unit.anchors, since)
        end = len(unit.anchors) if until is None else bisect_left(unit.anchors, until)
        if first >= end:
            continue
        segment, after = _place(unit, first, end, window, cursor, layout)
        if segment.lag > layout.max_lag:
            flags.append("lag")
            if layout.drop_late_units:
                words = segment.words
                span = words[0].word.start, max(w.word.end for w in words)
                dropped.append(Dropped(segment.text, *span, len(segment.ids), segment.first_word, len(words)))
                continue
        if end - first < len(unit.anchors):
            flags.append("split_unit")
        segments.append(segment)
        cursor = after
    planned = window.last - window.first
    placed = [pair for segment in segments for pair in _tokens(segment)]
    n_chunks = max(planned, placed[-1][1] + 1 if placed else 0)
    if n_chunks > planned:
        flags.append("extended")
    held = [range(s.speaks[0], min(s.speaks[1] + 1, n_chunks)) for s in segments]
    ids = interleave([t for t, _ in placed], [c for _, c in placed], n_chunks, layout, held)
    return Row(
        window.first, n_chunks, n_chunks - planned, ids, tuple(segments), tuple(dropped), tuple(dict.fromkeys(flags))
    )


def _place(
    unit: TokenizedUnit, first: int, until: int, window: Window, cursor: Cursor, layout: Layout
) -> tuple[Segment, Cursor]:
    """Place words `[first, until)` of a unit; slots in the segment count from the window's first chunk."""
    origin = window.first
    picked = [i for i, owner in enumerate(unit.owners) if first <= owner < until]
    all_wanted = wanted_slots(unit.unit, unit.owners, layout.chunk_samples, layout.lead)
    wanted = [max(all_wanted[i], origin) for i in picked]
    opening = layout.controls.opening(backchannel=unit.label.kind == BACKCHANNEL) if first == 0 else None
    closing = layout.controls.stop if until == len(unit.anchors) else None
    ends = last_slot(max(word.end for word in unit.unit.words[first:until]), layout.chunk_samples, layout.lead)
    ends = max([min(ends, window.last - 1), *wanted[-1:], origin])
    before, after = int(opening is not None), int(closing is not None)
    placed = place_unit(
        [*wanted[:1] * before, *wanted, *[ends] * after], cursor, capacity=layout.capacity, pull=layout.pull
    )
    every = tuple(slot - origin for slot in placed.slots)
    every_place = _places(every, cursor, origin)
    own = slice(before, len(every) - after)
    slots, places = every[own], every_place[own]
    lag = max((slot + origin - want for slot, want in zip(slots, wanted, strict=True)), default=0)
    speaks = (
        every[0] if first == 0 else 0,
        max(every[-1], ends - origin) if until == len(unit.anchors) else _PAST_END,
    )
    words: list[SegmentWord] = []
    at = 0
    counts = Counter(unit.owners[i] for i in picked)
    for index in range(first, until):
        count = counts[index]
        chunk, k = places[min(at, len(places) - 1)] if places else (cursor.slot - origin, 0)
        words.append(SegmentWord(unit.unit.words[index], chunk, k, count))
        at += count
    text = unit.unit.text[unit.unit.words[first].at : unit.unit.words[until - 1].until]
    space = unit.leading_space or first > 0
    # Where a split falls in a script without spaces, the second part has none before it.
    if first > 0 and unit.unit.words[first].at == unit.unit.words[first - 1].until:
        space = False
    ids = tuple(unit.ids[i] for i in picked)
    return Segment(
        text=text,
        leading_space=space,
        first_word=unit.first_word + first,
        words=tuple(words),
        ids=ids,
        slots=slots,
        ks=tuple(k for _, k in places),
        label=unit.label,
        lag=lag,
        opening=None if opening is None else (opening, every[0]),
        closing=None if closing is None else (closing, every[-1]),
        speaks=speaks,
    ), placed.after


def last_slot(end: int, chunk_samples: int, lead: int) -> int:
    """The chunk in which speech that ends at sample `end` ends, counted as words' own chunks are: `lead` before its sound."""
    return (end - 1) // chunk_samples - lead


def _tokens(segment: Segment) -> list[tuple[int, int]]:
    """All tokens of a segment as (id, chunk), its control tokens around its text."""
    found = [segment.opening, *zip(segment.ids, segment.slots, strict=True), segment.closing]
    return [token for token in found if token is not None]


def _places(slots: Sequence[int], cursor: Cursor, origin: int) -> list[tuple[int, int]]:
    """(chunk, k) of tokens whose chunks are given, where `cursor` says what its chunk already holds."""
    places: list[tuple[int, int]] = []
    chunk, k = cursor.slot - origin, cursor.used
    for slot in slots:
        if slot != chunk:
            chunk, k = slot, 0
        places.append((chunk, k))
        k += 1
    return places


def interleave(
    tokens: Sequence[int], slots: Sequence[int], n_chunks: int, layout: Layout, held: Sequence[range] = ()
) -> NDArray[np.int32]:
    """`input_ids` int32: the prompt, then per chunk `frames` placeholders and one silence or `capacity` tokens.

    held: chunks in which the speaker speaks; where they have no tokens they get the hold token, if there is one.
    """
    used = np.bincount(np.asarray(slots, np.int64), minlength=n_chunks) if len(slots) else np.zeros(n_chunks, np.int64)
    spoken = np.where(used > 0, layout.capacity, 1)
    starts = np.concatenate(([0], np.cumsum(layout.frames + spoken)))
    body = np.full(int(starts[-1]), layout.silence_id, np.int32)
    heard = starts[:-1, None] + np.arange(layout.frames)
    body[heard.ravel()] = layout.placeholder
    if layout.controls.hold is not None:
        for chunks in held:
            empty = [chunk for chunk in chunks if not used[chunk]]
            body[starts[empty] + layout.frames] = layout.controls.hold
    if len(slots):
        chunk = np.asarray(slots, np.int64)
        # The k-th token of a chunk: its index less the index of the chunk's first.
        first = np.concatenate(([0], np.cumsum(used)[:-1]))
        k = np.arange(len(chunk)) - first[chunk]
        body[starts[chunk] + layout.frames + k] = tokens
    return np.concatenate((np.asarray(layout.prompt_ids, np.int32), body))
