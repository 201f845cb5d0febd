"""Retimed conversations keep order and distances, and their audio is the recorded audio, moved."""

from itertools import pairwise
from random import Random

import numpy as np
import pyarrow as pa
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
    """Draw the units of two speakers, consecutive and overlapping, with known word times; and the length."""
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
def test_keeps_order_and_distances_and_records_edits(drawn, chosen, seed):
    sides, samples = drawn
    retimed = retime(sides, samples, POOL, chosen, GAP_SAMPLES, Random(seed))
    assert retimed == retime(sides, samples, POOL, chosen, GAP_SAMPLES, Random(seed))
    assert retimed.samples % 2 == 0
    for before, after in zip(sides, retimed.units, strict=True):
        assert len(before) == len(after)
        for old, new in zip(before, after, strict=True):
            assert old.text.startswith(new.text)
            assert [w.end - w.start for w in new.words] == [w.end - w.start for w in old.words[: len(new.words)]]
        assert all(b.start - a.end >= GAP_SAMPLES for a, b in pairwise(after))
        assert all(0 <= unit.start < unit.end <= retimed.samples for unit in after)
    spans = [[(unit.start, unit.end) for unit in side] for side in retimed.units]
    allowed = {EARLY: chosen.early, GAP: chosen.gap, OVERLAP: chosen.overlap}
    for edit in retimed.edits:
        assert allowed[edit.kind] > 0
        unit = retimed.units[edit.side][edit.unit]
        found = label(spans[edit.side][edit.unit], len(unit.words), spans[1 - edit.side])
        assert found.offset == edit.now
        assert any(0 <= drawn - edit.now < 160 for _, drawn in POOL), "drawn from the corpus, to 10 ms"
        assert found.kind == "interruption" or edit.kind != EARLY
    cut = sum(
        len(a.words) - len(b.words)
        for x, y in zip(sides, retimed.units, strict=True)
        for a, b in zip(x, y, strict=True)
    )
    assert bool(cut) == any(edit.kind == EARLY for edit in retimed.edits)


@given(conversations(), st.integers(0, 99))
def test_shares_of_zero_move_nothing(drawn, seed):
    sides, samples = drawn
    retimed = retime(sides, samples, POOL, Shares(0, 0, 0), GAP_SAMPLES, Random(seed))
    assert [list(side) for side in retimed.units] == sides
    assert (retimed.edits, retimed.undone, retimed.samples) == ((), {}, samples + samples % 2)


def test_does_not_cut_interpolated_words():
    words = tuple(UnitWord("a", 2 * n, 2 * n + 1, n * 9000, n * 9000 + 9000, "interpolated") for n in range(6))
    other = Unit("b", (UnitWord("b", 0, 1, 60_000, 90_000, "given"),))
    retimed = retime([[Unit("a a a a a a", words)], [other]], 100_000, POOL, Shares(1, 0, 0), GAP_SAMPLES, Random(0))
    assert retimed.undone == {"times_not_known": 1}


def test_offset_pool_has_turns_and_interruptions():
    def unit(start, end, n_words=5):
        step = (end - start) // n_words
        words = tuple(
            UnitWord("a", 2 * n, 2 * n + 1, start + n * step, start + (n + 1) * step, "given") for n in range(n_words)
        )
        return Unit(" ".join("a" * n_words), words)

    one = [unit(0, 50_000), unit(120_000, 170_000)]
    two = [unit(20_000, 25_000, 1), unit(60_000, 100_000), unit(160_000, 200_000)]
    assert sorted(offset_pool([one, two])) == [("interruption", -10_000), ("turn", 10_000), ("turn", 20_000)]


STARTS_WITH_SPEECH = [[unit_of(0, 9_163, 7)], [unit_of(1, 3_201, 4)]], 16_000
ENDS_WITH_SPEECH = [[unit_of(15_199, 15_999, 1)], [unit_of(0, 15_200, 5)]], 16_000


@settings(max_examples=30, deadline=None)
@given(drawn=conversations(), seed=st.integers(0, 99))
@example(drawn=STARTS_WITH_SPEECH, seed=0)
@example(drawn=ENDS_WITH_SPEECH, seed=0)
def test_audio_of_every_word_is_as_recorded(tmp_path_factory, drawn, seed):
    """Bit-identical at both rates, except for 5 ms at a cut and at the start and end of the recording."""
    sides, samples = drawn
    samples += samples % 2
    retimed = retime(sides, samples, POOL, Shares(0.5, 1, 1), GAP_SAMPLES, Random(seed))
    folder = tmp_path_factory.mktemp("sound")
    for rate in (16_000, 24_000):
        recorded = np.random.default_rng(seed).integers(-3000, 3000, samples * rate // 16_000).astype(np.int16)
        sf.write(folder / "recorded.wav", recorded, rate, subtype="PCM_16")
        cell = pa.py_buffer((folder / "recorded.wav").read_bytes())
        for side in (0, 1):
            pieces = pieces_of(sides[side], retimed.units[side], retimed.moves[side], samples, retimed.samples)
            with sf.SoundFile(folder / "made.wav", "w", rate, 1, "PCM_16") as out:
                write_pieces(cell, rate, pieces, out)
            sound, _ = sf.read(folder / "made.wav", dtype="int16")
            assert len(sound) == retimed.samples * rate // 16_000
            for old, new in zip(sides[side], retimed.units[side], strict=True):
                faded_in = old.start < 2 * TICK
                faded_out = len(old.words) > len(new.words) or samples - old.end < 2 * TICK
                uncut = slice(
                    -(-new.start // 2) * 2 + (100 if faded_in else 0), new.end // 2 * 2 - (100 if faded_out else 0)
                )
                a, b = (at * rate // 16_000 for at in (uncut.start, uncut.stop))
                original = (uncut.start - new.start + old.start + 1) // 2 * 2 * rate // 16_000
                np.testing.assert_array_equal(sound[a:b], recorded[original : original + b - a])
