"""From scores to events: hysteresis, merging and minimum length hold for any scores."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sca.data.reactions.energy import EnergyDetector
from sca.data.reactions.tagger import HOP_SAMPLES, Rule, TaggerDetector, rules, spans

HZ = 16000
SCORES = st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.29, 0.31, 0.5, 1.0]), max_size=60)


def rule(min_hops: int = 1, merge_hops: int = 0) -> Rule:
    return Rule("audience", "laughter", frozenset(), 0.3, 0.15, min_hops * HOP_SAMPLES, merge_hops * HOP_SAMPLES)


def marked(scores: list[float], by: Rule) -> np.ndarray:
    """Which hops lie in an event."""
    inside = np.zeros(len(scores), bool)
    for start, end in spans(np.array(scores, np.float32), by, len(scores) * HOP_SAMPLES):
        assert start % HOP_SAMPLES == end % HOP_SAMPLES == 0
        inside[start // HOP_SAMPLES : end // HOP_SAMPLES] = True
    return inside


@given(SCORES)
def test_hysteresis_says_for_each_hop_whether_it_is_inside(scores):
    on = False
    for score, inside in zip(scores, marked(scores, rule()), strict=True):
        on = score >= 0.3 or (on and score >= 0.15)
        assert inside == on


@given(SCORES, st.integers(1, 6), st.integers(0, 6))
def test_events_are_sorted_apart_and_long_enough(scores, shortest, merged):
    found = spans(np.array(scores, np.float32), rule(shortest, merged), len(scores) * HOP_SAMPLES)
    for start, end in found:
        assert start >= 0
        assert end <= len(scores) * HOP_SAMPLES
        assert end - start >= shortest * HOP_SAMPLES
        assert max(scores[start // HOP_SAMPLES : end // HOP_SAMPLES]) >= 0.3
    for (_, end), (start, _) in pairwise(found):
        assert start - end >= max(merged, 1) * HOP_SAMPLES


@given(SCORES, st.integers(0, 6))
def test_merging_only_ever_adds(scores, merged):
    assert not (marked(scores, rule()) & ~marked(scores, rule(merge_hops=merged))).any()


@given(SCORES, st.integers(1, 6))
def test_a_minimum_length_only_ever_takes_away(scores, shortest):
    assert not (marked(scores, rule(shortest)) & ~marked(scores, rule())).any()


class Scripted:
    """A tagger that gives the scores it was given, one a window, whatever it hears."""

    labels = ("Laughter", "Giggle", "Applause")
    window_samples = 8 * HOP_SAMPLES

    def __init__(self, scores: np.ndarray) -> None:
        self._scores = scores

    def scores(self, samples, starts):
        assert list(starts) == sorted(starts)
        assert all(start % 160 == 0 and start + self.window_samples <= len(samples) for start in starts)
        return self._scores[: len(starts)]


@given(st.integers(1, 40 * HOP_SAMPLES), st.integers(0, 2**32 - 1))
def test_a_detector_asks_for_one_whole_window_a_hop(length, seed):
    scores = np.random.default_rng(seed).random((40, 3)).astype(np.float32)
    found = TaggerDetector("scripted", Scripted(scores)).find(np.zeros(length, np.float32), [])
    times = [(event.start, event.end) for event in found]
    assert times == sorted(times)
    assert all(0 <= start < end <= length / HZ for start, end in times)


def test_classes_of_one_entry_are_one_event_and_entries_overlap():
    scores = np.zeros((20, 3), np.float32)
    scores[2:6, 0] = scores[5:9, 1] = scores[4:12, 2] = 0.9
    found = TaggerDetector("scripted", Scripted(scores)).find(np.zeros(20 * HOP_SAMPLES, np.float32), [])
    assert [(event.content, event.start, event.end) for event in found] == [
        ("laughter", pytest.approx(2 * 0.24), pytest.approx(9 * 0.24)),
        ("applause", pytest.approx(4 * 0.24), pytest.approx(12 * 0.24)),
    ]


def test_the_table_is_sound():
    classes = [name for entry in rules() for name in entry.classes]
    assert len(classes) == len(set(classes)), "no class is two things"
    for entry in rules():
        assert 0 < entry.off < entry.on < 1
        assert entry.event(0, HZ).content == entry.kind


@given(st.lists(st.tuples(st.integers(0, 6 * HZ), st.integers(1, HZ)), max_size=5))
def test_events_by_loudness_are_sorted_and_never_touch_speech(pieces):
    speech, after = [], 0
    for start, length in sorted(pieces):
        if start > after:
            speech.append((start, start + length))
            after = start + length
    noise = np.random.default_rng(1).normal(0, 0.002, 6 * HZ).astype(np.float32)
    noise[HZ // 2 : 5 * HZ // 2] *= 100
    noise[3 * HZ : 5 * HZ] *= 100
    found = [(event.start, event.end) for event in EnergyDetector().find(noise, speech)]
    assert found == sorted(found)
    for start, end in found:
        assert 0 <= start < end <= 6
        assert all(end * HZ <= a or start * HZ >= b for a, b in speech)
