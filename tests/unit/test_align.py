"""Matching with recognised words, the best CTC path, and the plausibility of word times."""

from itertools import pairwise, product

import numpy as np
import pytest

from sca.data.corpora.base import TimedWord
from sca.data.duplex.align.ctc import best_path
from sca.data.duplex.align.match import fill_in, match_recognized
from sca.data.duplex.align.plausibility import implausibility
from sca.units import seconds_to_samples

S = 16_000


def recognized(*words):
    return [TimedWord(text, seconds_to_samples(a, S), seconds_to_samples(b, S)) for text, a, b in words]


class TestMatching:
    def test_words_keep_their_text_and_take_matching_times(self):
        text = "Well, I never said that!"
        found = match_recognized(
            text, recognized(("well", 0.1, 0.4), ("I", 0.5, 0.6), ("said", 1.0, 1.3), ("that", 1.3, 1.8))
        )
        words = fill_in(text, 0, 2 * S, found, "whisper")
        assert [w.text for w in words] == ["Well,", "I", "never", "said", "that!"]
        assert [w.source for w in words] == ["whisper", "whisper", "interpolated", "whisper", "whisper"]
        never = words[2]
        assert (never.start, never.end) == (seconds_to_samples(0.6, S), S), "between its matched neighbours"

    def test_unmatched_ends_reach_the_edges(self):
        words = fill_in("a b c", 100, 1000, [None, (400, 500), None], "whisper")
        assert [(w.start, w.end) for w in words] == [(100, 400), (400, 500), (500, 1000)]

    def test_interpolates_if_no_word_is_recognised(self):
        assert {w.source for w in fill_in("a b", 0, 100, match_recognized("a b", []), "whisper")} == {"interpolated"}

    def test_pairs_repeated_words_in_order(self):
        spans = match_recognized("no no no", recognized(("no", 0, 0.2), ("no", 0.3, 0.5), ("no", 0.6, 0.8)))
        assert [a for a, _ in spans] == [0, 4_800, 9_600]

    def test_pairs_scripts_without_spaces_by_character(self):
        spans = match_recognized("天气很好", recognized(("天气", 0, 0.4), ("很好", 0.5, 0.9)))
        assert [a for a, _ in spans] == [0, 3_200, 8_000, 11_200]

    def test_clips_times_to_the_utterance(self):
        (word,) = fill_in("hi", 1000, 2000, [(500, 9000)], "whisper")
        assert (word.start, word.end) == (1000, 2000)


def brute_force(log_probs, labels, blank):
    """Return the score of the best of all paths that are read as `labels`."""
    best = -np.inf
    for path in product(range(log_probs.shape[1]), repeat=len(log_probs)):
        read = [p for i, p in enumerate(path) if p != blank and (i == 0 or path[i - 1] != p)]
        if read == labels:
            best = max(best, sum(log_probs[i, p] for i, p in enumerate(path)))
    return best


@pytest.mark.parametrize("labels", [[1], [1, 2], [1, 1], [2, 1, 2], [1, 2, 2]], ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_best_path_equals_brute_force(labels, seed):
    log_probs = np.log(np.random.default_rng(seed).dirichlet(np.ones(3), 6)).astype(np.float32)
    spans = best_path(log_probs, labels, 0)
    assert all(a < b for a, b in spans)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
    path = [0] * 6
    for (a, b), label in zip(spans, labels, strict=True):
        path[a:b] = [label] * (b - a)
    assert [p for i, p in enumerate(path) if p and (i == 0 or path[i - 1] != p)] == labels
    assert sum(log_probs[i, p] for i, p in enumerate(path)) == pytest.approx(
        brute_force(log_probs, labels, 0), abs=1e-5
    )


@pytest.mark.parametrize(("frames", "labels"), [(2, [1, 2, 1]), (2, [1, 1]), (4, [])], ids=str)
def test_no_path_through_too_few_frames(frames, labels):
    assert best_path(np.zeros((frames, 3), np.float32), labels, 0) is None


def words_at(*spans):
    return [
        TimedWord(f"w{n}", seconds_to_samples(a, S), seconds_to_samples(b, S), "whisper")
        for n, (a, b) in enumerate(spans)
    ]


EVERYWHERE = [(0, 60 * S)]


@pytest.mark.parametrize(
    ("words", "speech", "reason"),
    [
        (words_at((0, 0.5), (0.5, 1.0)), EVERYWHERE, None),
        (words_at((0.5, 0.8), (0.2, 1.0)), EVERYWHERE, "order"),
        (words_at((0, 0.5), (0.5, 0.5), (0.5, 1.0)), EVERYWHERE, "empty_words"),
        (words_at((0, 0.5), (0.5, 2.1)), EVERYWHERE, "long_word"),
        (words_at(*((n / 9, (n + 1) / 9) for n in range(9))), EVERYWHERE, "too_fast"),
        (words_at((0, 0.5), (0.5, 1.0)), [(0, S // 3)], "not_in_speech"),
        (words_at((0, 0.5), (0.5, 1.0)), [], "not_in_speech"),
        (words_at(*((n, n + 0.5) for n in range(5))), [(0, 4 * S)], None),
    ],
)
def test_plausibility_checks(words, speech, reason):
    assert implausibility(words, speech) == reason
