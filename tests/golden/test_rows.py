"""One row, token by token, worked out by hand: the grid's definition in numbers.

Lead 1, two tokens per chunk. " there" and " my" begin in chunk 1 and want chunk 0, which already contains "hello" (its
wanted chunk is -1, so 0). One of them fits chunk 0, the other lags a chunk.
"""

import json
from dataclasses import replace
from hashlib import sha256

from sca.control_tokens import ControlTokens
from sca.data.duplex.build.dataset import build_duplex
from sca.data.duplex.load.dataset import load
from sca.data.duplex.model.labels import Label
from sca.data.duplex.model.units import Unit, UnitWord
from sca.data.duplex.rows.assemble import Layout, make_row, tokenize_units
from sca.data.duplex.rows.windows import Window
from sca.tokenizer import load_tokenizer
from tests.helpers import corpus

PAD, SIL = -100, 151646
HOLD, START, STOP, BACKCHANNEL = range(151647, 151651)
LAYOUT = Layout(
    chunk_samples=5120,
    frames=4,
    capacity=2,
    lead=1,
    pull=1,
    max_lag=3,
    drop_late_units=False,
    silence_id=SIL,
    placeholder=PAD,
    prompt_ids=(151644, 151645),
)
TURN = Label("turn", 0.0, None)


def unit(text, *starts):
    words, at = [], 0
    for word, start in zip(text.split(), starts, strict=True):
        at = text.index(word, at)
        words.append(UnitWord(word, at, at + len(word), start, start + 1000, "given"))
        at += len(word)
    return Unit(text, tuple(words))


def test_row_equals_the_one_made_by_hand():
    units = [unit("hello there my friend", 0, 5120, 5200, 15_400), unit("no", 40_000)]
    spoken = tokenize_units(units, [TURN, TURN], load_tokenizer("builtin:qwen"))
    row = make_row(Window(0, 9), True, spoken, LAYOUT)
    hello, there, my, friend, no = 14990, 1052, 847, 4238, 902
    assert row.input_ids.tolist() == [
        *LAYOUT.prompt_ids,
        *[PAD] * 4, hello, there,  # chunk 0: " there" begins at 0.32 s and is placed a chunk before
        *[PAD] * 4, my, SIL,  # chunk 1: " my" wanted chunk 0 too, which is full
        *[PAD] * 4, friend, SIL,  # chunk 2: begins at 0.9625 s, in chunk 3
        *[PAD] * 4, SIL,
        *[PAD] * 4, SIL,
        *[PAD] * 4, SIL,
        *[PAD] * 4, no, SIL,  # chunk 6: begins at 2.5 s, in chunk 7
        *[PAD] * 4, SIL,
        *[PAD] * 4, SIL,
    ]  # fmt: skip
    first, second = row.segments
    assert ([token[1:] for token in first.tokens], first.lag) == ([(0, 0), (0, 1), (1, 0), (2, 0)], 1)
    assert ([token[1:] for token in second.tokens], second.leading_space, second.lag) == ([(6, 0)], True, 0)


def test_chunks_count_from_the_start_of_the_window():
    units = [unit("hello", 0), unit("no", 40_000)]
    spoken = tokenize_units(units, [TURN, TURN], load_tokenizer("builtin:qwen"))
    row = make_row(Window(5, 9), True, spoken, LAYOUT)
    assert row.input_ids.tolist()[2:] == [*[PAD] * 4, SIL, *[PAD] * 4, 902, SIL, *[PAD] * 4, SIL, *[PAD] * 4, SIL]
    assert [s.text for s in row.segments] == ["no"]


def test_control_tokens_equal_those_placed_by_hand():
    """Start and stop take places like text, hold fills the spoken chunks between, a backchannel has its own start token."""
    units = [unit("hello there my friend", 5120, 10_240, 10_300, 30_000), unit("yes", 56_320)]
    labels = [TURN, Label("backchannel", 1.0, -100)]
    spoken = tokenize_units(units, labels, load_tokenizer("builtin:qwen"))
    row = make_row(Window(0, 12), True, spoken, replace(LAYOUT, controls=ControlTokens(HOLD, START, STOP, BACKCHANNEL)))
    hello, there, my, friend, yes = 14990, 1052, 847, 4238, 9834
    assert row.input_ids.tolist() == [
        *LAYOUT.prompt_ids,
        *[PAD] * 4, START, hello,  # chunk 0
        *[PAD] * 4, there, my,  # chunk 1
        *[PAD] * 4, HOLD,
        *[PAD] * 4, HOLD,
        *[PAD] * 4, friend, SIL,  # chunk 4: begins at 1.875 s, in chunk 5
        *[PAD] * 4, STOP, SIL,  # chunk 5: ends in chunk 6
        *[PAD] * 4, SIL,
        *[PAD] * 4, SIL,
        *[PAD] * 4, SIL,
        *[PAD] * 4, BACKCHANNEL, SIL,  # chunk 9: chunk 10 has no room for three
        *[PAD] * 4, yes, STOP,  # chunk 10: begins at 3.52 s, in chunk 11, and ends in it
        *[PAD] * 4, SIL,
    ]  # fmt: skip


def test_chunks_about_unknown_words():
    """Speech without words at 1.0-1.7 s (chunks 3 to 5) and from 2.55 s on: silence a chunk before is no label.

    Chunk 2 has " friend" and chunk 6 has " no", so they keep their labels.
    """
    units = [unit("hello there my friend", 0, 5120, 5200, 15_400), unit("no", 40_000)]
    spoken = tokenize_units(units, [TURN, TURN], load_tokenizer("builtin:qwen"))
    unknown = [(16_000, 27_200), (40_800, 9 * 5120)]
    row = make_row(Window(0, 9), True, spoken, LAYOUT, unknown)
    assert row.unlabelled == ((3, 5), (7, 8))
    assert row.input_ids.tolist() == make_row(Window(0, 9), True, spoken, LAYOUT).input_ids.tolist()
    later = make_row(Window(5, 9), True, spoken, LAYOUT, unknown)
    # Its first chunk would have the words of its own chunk and of the next.
    assert later.unlabelled == ((0, 1), (2, 3))
    assert make_row(Window(0, 9), True, spoken, replace(LAYOUT, masks_unlabelled=False), unknown).unlabelled == ()


def test_leftover_tokens_extend_the_row():
    spoken = tokenize_units([unit("one two three four five", *[9000] * 5)], [TURN], load_tokenizer("builtin:qwen"))
    row = make_row(Window(0, 2), True, spoken, LAYOUT)
    assert (row.n_chunks, row.extended, row.flags) == (3, 1, ("extended",))
    assert [token.chunk for token in row.segments[0].tokens] == [0, 0, 1, 1, 2]


def test_tokens_of_the_shipped_conversation_are_unchanged(tmp_path):
    """Control tokens, gating and augmentation are off by default, so no token differs from before they existed."""
    build_duplex(corpus.demo(tmp_path / "c"), tmp_path / "data", corpus.settings())
    rows = load(tmp_path / "data")
    tokens = "".join(json.dumps(rows.record(i)["input_ids"]) for i in range(len(rows)))
    assert sha256(tokens.encode()).hexdigest() == "eb92b7d6ff4ddade44efa7aa85ee358a22eb7bd46e753fb5beab1771347517ed"
