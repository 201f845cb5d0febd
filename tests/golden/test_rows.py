"""One row, token by token, worked out by hand: the grid's definition in numbers.

Three units at 16 kHz, lead 1, two tokens a chunk. " there" and " my" begin in chunk 1 and want chunk 0, where "hello" (wanted -1,
so 0) already stands; one is pulled no further than chunk 0, the other lags a chunk.
"""

from sca.data.duplex.align import GIVEN
from sca.data.duplex.labels import Label
from sca.data.duplex.rows import Layout, make_row, tokenize_units
from sca.data.duplex.text import Unit, Word
from sca.data.duplex.windows import Window
from sca.tokenizer import load_tokenizer

PAD, SIL = -100, 151646
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
        words.append(Word(word, at, at + len(word), start, start + 1000, GIVEN))
        at += len(word)
    return Unit(text, tuple(words))


def test_the_row_by_hand():
    units = [unit("hello there my friend", 0, 5120, 5200, 15_400), unit("no", 40_000)]
    spoken = tokenize_units(units, [TURN, TURN], load_tokenizer("builtin:qwen"))
    row = make_row(Window(0, 9), True, spoken, LAYOUT)
    hello, there, my, friend, no = 14990, 1052, 847, 4238, 902
    assert row.input_ids.tolist() == [
        *LAYOUT.prompt_ids,
        *[PAD] * 4, hello, there,  # chunk 0: " there" begins at 0.32 s and is said a chunk before
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
    assert (first.slots, first.ks, first.lag) == ((0, 0, 1, 2), (0, 1, 0, 0), 1)
    assert (second.slots, second.leading_space, second.lag) == ((6,), True, 0)


def test_a_window_that_starts_later_counts_from_its_own_first_chunk():
    units = [unit("hello", 0), unit("no", 40_000)]
    spoken = tokenize_units(units, [TURN, TURN], load_tokenizer("builtin:qwen"))
    row = make_row(Window(5, 9), True, spoken, LAYOUT)
    assert row.input_ids.tolist()[2:] == [*[PAD] * 4, SIL, *[PAD] * 4, 902, SIL, *[PAD] * 4, SIL, *[PAD] * 4, SIL]
    assert [s.text for s in row.segments] == ["no"]


def test_tokens_left_over_extend_the_row():
    spoken = tokenize_units([unit("one two three four five", *[9000] * 5)], [TURN], load_tokenizer("builtin:qwen"))
    row = make_row(Window(0, 2), True, spoken, LAYOUT)
    assert (row.n_chunks, row.extended, row.flags) == (3, 1, ("extended",))
    assert row.segments[0].slots == (0, 0, 1, 1, 2)
