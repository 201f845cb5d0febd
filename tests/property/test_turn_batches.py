"""Batches of turn models in torch: each answer is that of its audio alone, in the precision of the reference."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sca.infer.turn.models.features import V3_SAMPLES
from sca.infer.turn.models.smart_turn_v2 import SmartTurnV2
from sca.infer.turn.models.smart_turn_v3 import SmartTurnV3
from sca.infer.turn.models.smart_turn_v3_torch import SmartTurnV3Torch
from sca.infer.turn.models.weights import bundled_file
from tests.helpers.tiny_turn_v2 import tiny_v2

TOLERANCE = 1e-4
V2_WINDOW = 16_000


def sounds(longest):
    """Return a strategy for audio: its length, its kind and its level, up to full scale."""
    lengths = st.one_of(st.integers(1, longest + 2000), st.sampled_from([1, 399, 400, 401, longest - 1, longest]))
    kinds = st.sampled_from(["noise", "square", "tone", "silence", "click", "offset"])
    return st.builds(sound, lengths, kinds, st.sampled_from([1e-5, 0.05, 1.0]), st.integers(0, 3))


def sound(samples, kind, level, seed):
    rng = np.random.default_rng(seed)
    t = np.arange(samples)
    shape = {
        "noise": lambda: rng.uniform(-1, 1, samples),
        "square": lambda: np.sign(np.sin(t * 0.02)),
        "tone": lambda: np.sin(t * 0.1) * np.minimum(1, t / 4000),
        "silence": lambda: np.zeros(samples),
        "click": lambda: (t == samples // 2).astype(float),
        "offset": lambda: np.ones(samples),
    }[kind]()
    return (shape * level).astype(np.float32)


@pytest.fixture(scope="module")
def v3():
    return SmartTurnV3Torch.load(bundled_file(), "cpu"), SmartTurnV3(bundled_file(), dtype="float32")


@pytest.fixture(scope="module")
def v2():
    """A model that uses rows of three lengths, and one that uses the whole window only."""
    whole = SmartTurnV2(tiny_v2(), window_samples=V2_WINDOW)
    whole.lengths = (V2_WINDOW,)
    return SmartTurnV2(tiny_v2(), window_samples=V2_WINDOW), whole


@settings(max_examples=5, deadline=None)
@given(items=st.lists(sounds(V3_SAMPLES), min_size=1, max_size=2))
def test_v3_in_torch_equals_v3_in_onnxruntime(v3, items):
    batched, reference = v3
    assert batched.batch(items, len(items)) == pytest.approx([reference(item) for item in items], abs=TOLERANCE)


@settings(max_examples=15, deadline=None)
@given(items=st.lists(sounds(V2_WINDOW), min_size=1, max_size=4), rest=st.integers(0, 2))
def test_v2_depends_neither_on_its_batch_nor_on_its_rows(v2, items, rest):
    cut, whole = v2
    expected = [whole(item) for item in items]
    assert cut.batch(items, len(items) + rest) == pytest.approx(expected, abs=TOLERANCE)
    assert [cut(item) for item in items] == pytest.approx(expected, abs=TOLERANCE)


@settings(max_examples=8, deadline=None)
@given(items=st.lists(sounds(V2_WINDOW), min_size=1, max_size=3), bad=st.sampled_from([np.nan, np.inf, -np.inf]))
def test_a_row_that_is_no_audio_does_not_change_the_others(v2, items, bad):
    cut, _ = v2
    expected = cut.batch(items, len(items))
    worse = [*items, np.full(5000, bad, np.float32)]
    found = cut.batch(worse, len(worse))
    assert found[:-1] == pytest.approx(expected, abs=TOLERANCE)
    assert np.isnan(found[-1])
    assert cut.batch(items, len(items)) == pytest.approx(expected, abs=TOLERANCE)  # rows are used again
