"""From scores to events: hysteresis, merging and minimum length for arbitrary scores."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sca.data.reactions.base import HOP_SAMPLES, Tagger
from sca.data.reactions.energy import EnergyDetector
from sca.data.reactions.tagger import EventClass, TaggerDetector, event_classes, event_spans

HZ = 16000
SCORES = st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.29, 0.31, 0.5, 1.0]), max_size=60)


def event_class(min_hops: int = 1, merge_hops: int = 0) -> EventClass:
    return EventClass("audience", "laughter", frozenset(), 0.3, 0.15, min_hops * HOP_SAMPLES, merge_hops * HOP_SAMPLES)


def hops_in_events(scores: list[float], entry: EventClass) -> np.ndarray:
    """Return a mask of the hops that are inside an event."""
    inside = np.zeros(len(scores), bool)
    for start, end in event_spans(np.array(scores, np.float32), entry, len(scores) * HOP_SAMPLES):
        assert start % HOP_SAMPLES == end % HOP_SAMPLES == 0
        inside[start // HOP_SAMPLES : end // HOP_SAMPLES] = True
    return inside


@given(SCORES)
def test_hysteresis_decides_each_hop(scores):
    on = False
    for score, inside in zip(scores, hops_in_events(scores, event_class()), strict=True):
        on = score >= 0.3 or (on and score >= 0.15)
        assert inside == on


@given(SCORES, st.integers(1, 6), st.integers(0, 6))
def test_events_are_sorted_disjoint_and_long_enough(scores, shortest, merged):
    found = event_spans(np.array(scores, np.float32), event_class(shortest, merged), len(scores) * HOP_SAMPLES)
    for start, end in found:
        assert start >= 0
        assert end <= len(scores) * HOP_SAMPLES
        assert end - start >= shortest * HOP_SAMPLES
        assert max(scores[start // HOP_SAMPLES : end // HOP_SAMPLES]) >= 0.3
    for (_, end), (start, _) in pairwise(found):
        assert start - end >= max(merged, 1) * HOP_SAMPLES


@given(SCORES, st.integers(0, 6))
def test_merging_only_adds_hops(scores, merged):
    assert not (hops_in_events(scores, event_class()) & ~hops_in_events(scores, event_class(merge_hops=merged))).any()


@given(SCORES, st.integers(1, 6))
def test_minimum_length_only_removes_hops(scores, shortest):
    assert not (hops_in_events(scores, event_class(shortest)) & ~hops_in_events(scores, event_class())).any()


class ScriptedTagger(Tagger):
    """A tagger that returns given scores, one per window, for any samples."""

    labels = ("Laughter", "Giggle", "Applause")
    window_samples = 8 * HOP_SAMPLES

    def __init__(self, scores: np.ndarray) -> None:
        self._scores = scores

    def scores(self, samples, starts):
        assert list(starts) == sorted(starts)
        assert all(start % 160 == 0 and start + self.window_samples <= len(samples) for start in starts)
        return self._scores[: len(starts)]


@given(st.integers(1, 40 * HOP_SAMPLES), st.integers(0, 2**32 - 1))
def test_detector_requests_one_whole_window_per_hop(length, seed):
    scores = np.random.default_rng(seed).random((40, 3)).astype(np.float32)
    found = TaggerDetector("scripted", ScriptedTagger(scores)).find(np.zeros(length, np.float32), [])
    times = [(event.start, event.end) for event in found]
    assert times == sorted(times)
    assert all(0 <= start < end <= length / HZ for start, end in times)


def test_classes_of_one_entry_are_one_event():
    scores = np.zeros((20, 3), np.float32)
    scores[2:6, 0] = scores[5:9, 1] = scores[4:12, 2] = 0.9
    found = TaggerDetector("scripted", ScriptedTagger(scores)).find(np.zeros(20 * HOP_SAMPLES, np.float32), [])
    assert [(event.content, event.start, event.end) for event in found] == [
        ("laughter", pytest.approx(2 * 0.24), pytest.approx(9 * 0.24)),
        ("applause", pytest.approx(4 * 0.24), pytest.approx(12 * 0.24)),
    ]


def test_class_table_is_consistent():
    classes = [name for entry in event_classes() for name in entry.classes]
    assert len(classes) == len(set(classes)), "a class belongs to one entry"
    for entry in event_classes():
        assert 0 < entry.off < entry.on < 1
        assert entry.event(0, HZ).content == entry.kind


@given(st.lists(st.tuples(st.integers(0, 6 * HZ), st.integers(1, HZ)), max_size=5))
def test_energy_events_do_not_overlap_speech(pieces):
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
