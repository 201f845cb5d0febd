"""Each guard on its error, and on speech that only resembles it."""

import itertools
from collections import Counter

import pytest

from sca.data.transcription.hallucinations import RecognizedWord, Speech, guard_words, phrases, text_of

EVERYWHERE = Speech([(0.0, 1000.0)])


def said(text, start=1.0, step=0.3):
    return [
        RecognizedWord(f" {word}", start + i * step, start + (i + 1) * step, 0.9) for i, word in enumerate(text.split())
    ]


def guarded(words, speech=EVERYWHERE):
    counts = Counter()
    return guard_words(words, speech, counts), +counts


@pytest.mark.parametrize(
    ("text", "left", "taken"),
    [
        ("thank you thank you thank you thank you thank you", "thank you", 8),
        ("so and then he said it " + "and then he said it " * 3 + "bye", "so and then he said it bye", 15),
        ("ha " * 12, "ha", 11),
    ],
)
def test_loop_is_kept_once(text, left, taken):
    words, counts = guarded(said(text))
    assert (text_of(words), counts) == (left, {"repeated": taken})


@pytest.mark.parametrize(
    "text", ["no no no no no", "thank you thank you thank you", "what is this what is this", "one two one three"]
)
def test_natural_repetitions_stay(text):
    words, counts = guarded(said(text))
    assert (text_of(words), counts) == (text, {})


def test_phrases_on_silence_are_removed():
    speech = Speech([(0.9, 2.0)])
    words, counts = guarded([*said("hello there"), *said("thanks for watching", start=30.0)], speech)
    assert (text_of(words), counts) == ("hello there", {"on_silence": 3})


def test_words_near_the_edge_of_speech_stay():
    words, counts = guarded(said("hello there"), Speech([(1.7, 2.0)]))
    assert (text_of(words), counts) == ("hello there", {})


def test_all_words_are_removed_without_speech():
    words, counts = guarded(said("you"), Speech([]))
    assert (words, counts) == ([], {"on_silence": 1})


def test_first_word_in_silence_moves_to_the_speech_onset():
    words = [RecognizedWord(" So", 2.0, 9.2, 0.5), RecognizedWord(" what?", 9.2, 9.6, 0.9)]
    mended, counts = guarded(words, Speech([(0.0, 1.0), (8.9, 10.0)]))
    assert ([(w.start, w.end) for w in mended], counts) == ([(8.9, 9.2), (9.2, 9.6)], {"pulled_into_silence": 1})


def test_word_that_starts_in_speech_keeps_its_start():
    words = [RecognizedWord(" So", 0.9, 2.0, 0.5)]
    assert guarded(words, Speech([(0.0, 1.0), (1.8, 3.0)])) == (words, {})


def test_words_without_duration_get_one_without_overlap():
    words = [
        RecognizedWord(" a", 1.0, 1.0, 0.9),
        RecognizedWord(" b", 1.0, 1.0, 0.9),
        RecognizedWord(" c", 1.0, 2.0, 0.9),
        RecognizedWord(" d", 2.0, 2.0, 0.9),
    ]
    mended, counts = guarded(words)
    assert counts == {"no_duration": 3}
    assert [w.text for w in mended] == [" a", " b", " c", " d"]
    assert all(w.end - w.start >= 0.0199 for w in mended)
    assert all(one.end <= two.start for one, two in itertools.pairwise(mended))


def test_phrases_faster_than_speech_are_removed():
    words, counts = guarded([*said("this was really said slowly"), *said("and this was certainly not said", 5.0, 0.05)])
    assert (text_of(words), counts) == ("this was really said slowly", {"too_fast": 6})


def test_phrases_end_at_pauses_and_sentences():
    words = [*said("hello there. how are you"), *said("fine", 4.0)]
    assert [text_of(phrase) for phrase in phrases(words)] == ["hello there.", "how are you", "fine"]
