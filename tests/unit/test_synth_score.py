"""The comparison of recognized words with the truth."""

import pytest

from sca.synth.score import score


def words(text, shift=0.0):
    return [(word, n + shift, n + 0.5 + shift) for n, word in enumerate(text.split())]


def test_equal_words_have_their_time_errors():
    found = score([(words("Hello, there friend."), words("hello there friend", 0.1))])
    assert (found.words, found.error_rate) == (3, 0)
    assert found.document()["start"] == {
        "bias_s": 0.1, "mean_abs_s": 0.1, "p95_abs_s": 0.1, "max_abs_s": 0.1
    }  # fmt: skip


@pytest.mark.parametrize(
    ("truth", "heard", "replaced", "missing", "added"),
    [
        ("a b c d", "a x c d", 1, 0, 0),
        ("a b c d", "a c d", 0, 1, 0),
        ("a b c d", "a b c c d e", 0, 0, 2),
        ("a b", "", 0, 2, 0),
        ("", "a", 0, 0, 1),
        ("it's a – dog", "it's a dog", 0, 0, 0),
        ("a b c d e", "b c d e f", 0, 1, 1),
    ],
)
def test_counts_the_fewest_errors(truth, heard, replaced, missing, added):
    found = score([(words(truth), words(heard))])
    assert (found.replaced, found.missing, found.added) == (replaced, missing, added)


def test_recordings_are_added_up():
    found = score([(words("a b"), words("a")), (words("c d"), words("c d", 0.2))])
    assert (found.words, found.missing, len(found.starts_s)) == (4, 1, 3)
    assert found.document()["start"]["max_abs_s"] == 0.2
    assert "start" in score([]).document()
