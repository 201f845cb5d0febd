"""Retimed conversations keep their order and distances; their sound is the recorded one, moved."""

from itertools import pairwise
from random import Random

import numpy as np
import soundfile as sf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sca.data.duplex.augment.retime import EARLY, GAP, OVERLAP, Shares, offset_pool, retime
from sca.data.duplex.augment.retime_audio import TICK, pieces_of, write_pieces
from sca.data.duplex.model.units import Unit, UnitWord
from sca.data.duplex.rows.turn_labels import label

GAP_SAMPLES = 8_000


def unit_of(start, end, n_words):
    length = (end - start) // n_words
    spans = [(start + n * length, start + (n + 1) * length) for n in range(n_words)]
    words = tuple(UnitWord("ab", 3 * n, 3 * n + 2, a, b, "given") for n, (a, b) in enumerate(spans))
    return Unit(" ".join(["ab"] * n_words), words)


@st.composite
def conversations(draw):
    """Two speakers' units, in turn and over each other, with words of known times."""
    sides, ends, at = [[], []], [-GAP_SAMPLES, -GAP_SAMPLES], 0
    for side, offset, n_words, length in draw(
        st.lists(
            st.tuples(st.integers(0, 1), st.integers(-30_000, 60_000), st.integers(1, 8), st.integers(800, 9_000)),
            max_size=12,
        )
    ):
        start = max(0, at + offset, ends[side] + GAP_SAMPLES)
        if start < min(end + GAP_SAMPLES for end in ends):
            start = max(start, min(ends))
        sides[side].append(unit_of(start, start + n_words * length, n_words))
        ends[side] = at = start + n_words * length
    return sides, max([16_000, *ends]) + draw(st.integers(0, 20_000))


shares = st.builds(Shares, *(st.sampled_from((0.0, 0.5, 1.0)) for _ in range(3)))
POOL = [
    ("turn", 3_000),
    ("turn", 12_345),
    ("turn", 40_000),
    ("turn", -1_000),
    ("interruption", -9_000),
    ("interruption", -20_001),
]


@given(conversations(), shares, st.integers(0, 99))
def test_order_and_distances_hold_and_edits_say_what_they_did(drawn, chosen, seed):
    sides, samples = drawn
    made = retime(sides, samples, POOL, chosen, GAP_SAMPLES, Random(seed))
    assert made == retime(sides, samples, POOL, chosen, GAP_SAMPLES, Random(seed))
    assert made.samples % 2 == 0
    for before, after in zip(sides, made.units, strict=True):
        assert len(before) == len(after)
        for old, new in zip(before, after, strict=True):
            assert old.text.startswith(new.text)
            assert [w.end - w.start for w in new.words] == [w.end - w.start for w in old.words[: len(new.words)]]
        assert all(b.start - a.end >= GAP_SAMPLES for a, b in pairwise(after))
        assert all(0 <= unit.start < unit.end <= made.samples for unit in after)
    spans = [[(unit.start, unit.end) for unit in side] for side in made.units]
    allowed = {EARLY: chosen.early, GAP: chosen.gap, OVERLAP: chosen.overlap}
    for edit in made.edits:
        assert allowed[edit.kind] > 0
        unit = made.units[edit.side][edit.unit]
        found = label(spans[edit.side][edit.unit], len(unit.words), spans[1 - edit.side])
        assert found.offset == edit.now
        assert any(0 <= drawn - edit.now < 160 for _, drawn in POOL), "drawn from the corpus, to 10 ms"
        assert found.kind == "interruption" or edit.kind != EARLY
    cut = sum(
        len(a.words) - len(b.words) for x, y in zip(sides, made.units, strict=True) for a, b in zip(x, y, strict=True)
    )
    assert bool(cut) == any(edit.kind == EARLY for edit in made.edits)


@given(conversations(), st.integers(0, 99))
def test_with_no_share_nothing_moves(drawn, seed):
    sides, samples = drawn
    made = retime(sides, samples, POOL, Shares(0, 0, 0), GAP_SAMPLES, Random(seed))
    assert [list(side) for side in made.units] == sides
    assert (made.edits, made.undone, made.samples) == ((), {}, samples + samples % 2)


def test_words_of_unknown_times_are_not_cut():
    words = tuple(UnitWord("a", 2 * n, 2 * n + 1, n * 9000, n * 9000 + 9000, "interpolated") for n in range(6))
    other = Unit("b", (UnitWord("b", 0, 1, 60_000, 90_000, "given"),))
    made = retime([[Unit("a a a a a a", words)], [other]], 100_000, POOL, Shares(1, 0, 0), GAP_SAMPLES, Random(0))
    assert made.undone == {"times_not_known": 1}


def test_offsets_are_those_of_turns_and_interruptions():
    def unit(start, end, n_words=5):
        step = (end - start) // n_words
        words = tuple(
            UnitWord("a", 2 * n, 2 * n + 1, start + n * step, start + (n + 1) * step, "given") for n in range(n_words)
        )
        return Unit(" ".join("a" * n_words), words)

    one = [unit(0, 50_000), unit(120_000, 170_000)]
    two = [unit(20_000, 25_000, 1), unit(60_000, 100_000), unit(160_000, 200_000)]
    assert sorted(offset_pool([one, two])) == [("interruption", -10_000), ("turn", 10_000), ("turn", 20_000)]


BEGINS_THERE = [[unit_of(0, 9_163, 7)], [unit_of(1, 3_201, 4)]], 16_000
ENDS_THERE = [[unit_of(15_199, 15_999, 1)], [unit_of(0, 15_200, 5)]], 16_000


@settings(max_examples=30, deadline=None)
@given(drawn=conversations(), seed=st.integers(0, 99))
@example(drawn=BEGINS_THERE, seed=0)
@example(drawn=ENDS_THERE, seed=0)
def test_the_sound_of_every_word_is_the_recorded_one(tmp_path_factory, drawn, seed):
    """At both rates, bit for bit, but for 5 ms where a unit was cut short, or where the recording began or ended with it;
    the track is as long as it should be."""
    sides, samples = drawn
    samples += samples % 2
    made = retime(sides, samples, POOL, Shares(0.5, 1, 1), GAP_SAMPLES, Random(seed))
    folder = tmp_path_factory.mktemp("sound")
    for rate in (16_000, 24_000):
        recorded = np.random.default_rng(seed).integers(-3000, 3000, samples * rate // 16_000).astype(np.int16)
        sf.write(folder / "recorded.wav", recorded, rate, subtype="PCM_16")
        cell = memoryview((folder / "recorded.wav").read_bytes())
        for side in (0, 1):
            pieces = pieces_of(sides[side], made.units[side], made.moves[side], samples, made.samples)
            with sf.SoundFile(folder / "made.wav", "w", rate, 1, "PCM_16") as out:
                write_pieces(_Cell(cell), rate, pieces, out)
            sound, _ = sf.read(folder / "made.wav", dtype="int16")
            assert len(sound) == made.samples * rate // 16_000
            for old, new in zip(sides[side], made.units[side], strict=True):
                faded_in = old.start < 2 * TICK
                faded_out = len(old.words) > len(new.words) or samples - old.end < 2 * TICK
                uncut = slice(
                    -(-new.start // 2) * 2 + (100 if faded_in else 0), new.end // 2 * 2 - (100 if faded_out else 0)
                )
                a, b = (at * rate // 16_000 for at in (uncut.start, uncut.stop))
                was = (uncut.start - new.start + old.start + 1) // 2 * 2 * rate // 16_000
                np.testing.assert_array_equal(sound[a:b], recorded[was : was + b - a])


class _Cell:
    """Stored bytes as an Arrow buffer gives them."""

    def __new__(cls, data):
        import pyarrow as pa

        return pa.py_buffer(bytes(data))
