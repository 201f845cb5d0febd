"""Diarization: the number of speakers, decoding, speakers of words, turns."""

import numpy as np
import pytest

from sca.data.diarization.clustering import find_voices
from sca.data.diarization.decode import NOBODY, best_path, decode
from sca.data.diarization.diarizer import Diarizer, SpeakerCount
from sca.data.diarization.timeline import SpeakerFrames, SpokenSpan, Turn
from sca.data.speakers.base import normalized

THRESHOLD = 0.77


def voices(count, seed=0):
    """Return means of voices that are far apart."""
    return np.eye(count, 64, dtype=np.float32) + normalized(
        np.random.default_rng(seed).normal(size=(count, 64)).astype(np.float32)
    ) * np.float32(0.3)


def windows(labels, noise=0.35, seed=1):
    means = normalized(voices(max(labels) + 1))
    spread = normalized(np.random.default_rng(seed).normal(size=(len(labels), 64)).astype(np.float32))
    return normalized(means[labels] + noise * spread)


@pytest.mark.parametrize("speakers", [1, 2, 3, 5])
def test_number_of_speakers_is_found(speakers):
    labels = np.repeat(np.arange(speakers), 40)
    found = find_voices(windows(labels), THRESHOLD)
    assert len(found) == speakers
    nearest = (windows(labels) @ found.T).argmax(axis=1)
    assert [len(set(nearest[labels == n])) for n in range(speakers)] == [1] * speakers
    assert len(set(nearest)) == speakers


def test_speech_of_less_than_two_seconds_is_no_speaker():
    labels = np.array([0] * 60 + [1] * 4 + [0] * 60)
    assert len(find_voices(windows(labels), THRESHOLD)) == 1
    labels = np.array([0] * 60 + [1] * 25 + [0] * 60)
    assert len(find_voices(windows(labels), THRESHOLD)) == 2


def test_mixture_of_two_speakers_is_no_third_one():
    pure = windows(np.repeat([0, 1], 40))
    mixed = normalized(pure[:20] + pure[40:60])
    assert len(find_voices(np.concatenate([pure, mixed]), THRESHOLD)) == 2


@pytest.mark.parametrize(("least", "most", "found"), [(1, 2, 2), (1, 1, 1), (4, None, 4), (3, 3, 3)])
def test_bounds_of_the_number_of_speakers_hold(least, most, found):
    vectors = windows(np.repeat([0, 1, 2], 40))
    assert len(find_voices(vectors, THRESHOLD, least=least, most=most)) == found


def test_more_speakers_than_windows_are_not_invented():
    assert len(find_voices(windows(np.array([0, 0, 0])), THRESHOLD, least=9)) <= 3
    assert len(find_voices(np.zeros((0, 64), np.float32), THRESHOLD, least=2)) == 0


def test_long_recordings_are_clustered_by_some_windows():
    labels = np.repeat([0, 1, 0, 2], 2_000)
    assert len(find_voices(windows(labels), THRESHOLD)) == 3


def test_path_ignores_single_windows_and_follows_changes():
    scores = np.array([[0.9, 0.1]] * 5 + [[0.5, 0.6]] + [[0.9, 0.1]] * 5 + [[0.1, 0.9]] * 5, np.float32)
    path = best_path(scores, np.full(len(scores), 0.45))
    assert list(path) == [0] * 11 + [1] * 5


def test_two_speakers_at_once_are_found_and_changes_are_not():
    alone, other = [0.87, 0.3], [0.3, 0.87]
    both = [[0.6, 0.55]] * 7
    cosines = np.array([alone] * 20 + both + [other] * 20, np.float32)
    count = len(cosines)
    found = decode(cosines, np.ones(count, np.float32), [True] + [False] * (count - 1), [True] + [False] * (count - 1))
    assert set(np.flatnonzero(found[:, 1] != NOBODY)) <= set(range(20, 27))
    assert (found[21:26, 1] != NOBODY).all()
    change = np.array([alone] * 20 + [[0.6, 0.55]] * 2 + [other] * 20, np.float32)
    found = decode(change, np.ones(42, np.float32), [True] + [False] * 41, [True] + [False] * 41)
    assert (found[:, 1] == NOBODY).all()


def frames(*runs):
    """Return frames from runs `(speaker, other, count)`."""
    rows = [(speaker, other) for speaker, other, count in runs for _ in range(count)]
    table = np.array(rows, np.int16)
    middles = np.arange(100, len(table), 20)
    scores = np.stack([(table[middles] == n).any(axis=1) for n in range(2)], axis=1).astype(np.float32)
    return SpeakerFrames(table, scores, middles * 160)


def test_turns_bridge_short_pauses_and_overlap():
    found = frames(
        (0, NOBODY, 100), (NOBODY, NOBODY, 30), (0, 1, 100), (1, NOBODY, 100), (NOBODY, NOBODY, 80), (1, NOBODY, 50)
    )
    assert found.turns() == [Turn(0.0, 2.3, 0), Turn(1.3, 3.3, 1), Turn(4.1, 4.6, 1)]


def test_changes_move_to_the_borders_of_words():
    found = frames((0, NOBODY, 210), (1, NOBODY, 190))
    words = [SpokenSpan(" yes", 0.2, 1.9), SpokenSpan(" no", 2.3, 3.8)]
    assert found.speakers_of(words) == [0, 1]
    assert found.with_words(words, [0, 1]).turns() == [Turn(0.0, 2.1, 0), Turn(2.1, 4.0, 1)]
    late = [SpokenSpan(" yes", 0.2, 2.3), SpokenSpan(" no", 2.5, 3.8)]
    assert found.with_words(late, [0, 1]).turns() == [Turn(0.0, 2.4, 0), Turn(2.4, 4.0, 1)]


def test_words_over_two_speakers_are_overlaps():
    found = frames((0, NOBODY, 200), (0, 1, 100), (1, NOBODY, 100))
    assert found.is_overlap(2.1, 2.6)
    assert not found.is_overlap(0.5, 1.5)
    assert not found.is_overlap(9.0, 9.5)


class Spectra:
    """Two voices: the sign of the samples."""

    window_samples, hop_samples, threshold = 16_000, 3_200, THRESHOLD

    def embed_windows(self, samples, starts):
        return np.array([[float(samples[s : s + 16_000].mean()), 0.1] for s in starts], np.float32)


def test_recording_is_diarized_from_its_windows():
    samples = np.concatenate([np.full(16_000 * 6, 0.3), np.full(16_000 * 4, -0.3)]).astype(np.float32)
    diarizer = Diarizer(Spectra(), SpeakerCount())
    found = diarizer.diarize(samples, [(0, 16_000 * 6), (16_000 * 6, 16_000 * 10)])
    assert found.turns() == [Turn(0.0, 6.0, 0), Turn(6.0, 10.0, 1)]
    assert diarizer.diarize(samples, []).turns() == []
    short = diarizer.diarize(samples[:8_000], [(0, 8_000)])
    assert short.turns() == [Turn(0.0, 0.5, 0)]
    assert diarizer.diarize(samples, []).speakers_of([SpokenSpan("a", 0, 1)]) == [0]


def test_asked_numbers_of_speakers_hold_in_a_recording():
    samples = np.concatenate([np.full(16_000 * 6, 0.3), np.full(16_000 * 4, -0.3)]).astype(np.float32)
    spans = [(0, 16_000 * 6), (16_000 * 6, 16_000 * 10)]
    assert Diarizer(Spectra(), SpeakerCount(most=1)).diarize(samples, spans).speakers == 1
    assert Diarizer(Spectra(), SpeakerCount(), threshold=-1.0).diarize(samples, spans).speakers == 1
