"""Which word a phoneme belongs to, and the estimated times of words."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sca.infer.speech.espeak_library import Phone
from sca.infer.speech.estimated_words import WordClock
from sca.infer.speech.phoneme_voice import symbols_of
from sca.infer.speech.spoken_words import assign_phones

RATE_HZ = 8000


def phones(text, symbols):
    """Phonemes, one per pair of a symbol and the word of the text that it starts in; None is a pause."""
    found, at = [], 0
    for symbol, word in symbols:
        start = text.index(word, at) if word else at
        found.append(Phone(symbol, start, 100 * len(found)))
        at = start
    return found


def alone(table):
    return lambda word: table.get(word, "")


def spans(words):
    return {word.text: (word.first_phone, word.end_phone) for word in words}


def test_every_word_has_its_phonemes():
    text = "Good dog!"
    given_phones = phones(text, [("ɡ", "Good"), ("ʊ", "Good"), ("d", "Good"), ("d", "dog"), ("ɔ", "dog"), ("", "")])
    words = assign_phones(text, given_phones, alone({}))
    assert spans(words) == {"Good": (0, 3), "dog!": (3, 5)}
    assert [word.start_char for word in words] == [0, 5]


def test_joined_words_are_divided_where_the_second_starts():
    text = "of the day"
    joined = phones(text, [("ə", "of"), ("v", "of"), ("ð", "of"), ("ə", "of"), ("d", "day"), ("eɪ", "day")])
    words = assign_phones(text, joined, alone({"of": "ʌv", "the": "ðə"}))
    assert spans(words) == {"of": (0, 2), "the": (2, 4), "day": (4, 6)}


def test_a_pause_of_an_earlier_text_takes_no_word():
    text = "while it"
    found = phones(text, [("w", "while"), ("aɪ", "while"), ("l", "while"), ("ɪ", "it"), ("t", "it")])
    words = assign_phones(text, [Phone("", 32, 0), *found, Phone("", 32, 600)], alone({}))
    assert spans(words) == {"while": (1, 4), "it": (4, 6)}


def test_words_without_sound_are_skipped_or_punctuation():
    text = "well – 世界 👍"
    words = assign_phones(text, phones(text, [("w", "well"), ("ɛ", "well"), ("l", "well")]), alone({}))
    assert [word.is_skipped for word in words] == [False, False, True, True]
    assert [word.is_spoken for word in words] == [True, False, False, False]


def test_symbols_have_stress_spaces_and_marks():
    text = "Good dog!"
    found = phones(text, [("ɡ", "Good"), ("ʊ", "Good"), ("d", "Good"), ("d", "dog"), ("ɔ", "dog"), ("ɡ", "dog")])
    words = assign_phones(text, found, alone({}))
    symbols, owners = symbols_of(words, found, "ɡˈʊd dˈɔɡ", ".,!?")
    assert "".join(symbols) == "ɡˈʊd dˈɔɡ!"
    assert owners == [0, 0, 0, 0, -1, 1, 1, 1, 1, -1]


def test_a_phoneme_under_another_name_stays_in_its_word():
    text = "Good dog"
    found = phones(text, [("ɡ", "Good"), ("ʊ", "Good"), ("d", "Good"), ("d", "dog"), ("ɑ", "dog"), ("ɡ", "dog")])
    symbols, owners = symbols_of(assign_phones(text, found, alone({})), found, "ɡʊd dɔɡ", "")
    assert dict(zip(symbols, owners, strict=True))["ɔ"] == 1


def loud(seconds):
    return np.full(int(seconds * RATE_HZ), 0.5, np.float32)


def quiet(seconds):
    return np.zeros(int(seconds * RATE_HZ), np.float32)


def times(clock, text, sound, size=800):
    unit = clock.unit(text)
    words, pieces = [], [sound[at : at + size] for at in range(0, len(sound), size)]
    for piece in pieces:
        words += unit.push(piece)
    return words + list(unit.finish(80).words)


def test_words_advance_only_while_it_is_loud():
    sound = np.concatenate([quiet(0.5), loud(0.5), quiet(1), loud(0.5)])
    clock = WordClock(RATE_HZ)
    times(clock, "abcdefg abcdefg", np.concatenate([loud(1.0)]))  # 16 letters and edges in a second
    first, second = times(clock, "abcdefg abcdefg", sound)
    assert abs(first.start_sample - 0.5 * RATE_HZ) <= 80
    assert abs(second.start_sample - 2.0 * RATE_HZ) <= 160
    assert first.is_estimated


def test_a_slow_voice_is_followed():
    clock = WordClock(RATE_HZ)
    before = clock.letters_per_s
    times(clock, "one two three", loud(4))
    assert clock.letters_per_s == pytest.approx(14 / 4, rel=0.01)
    assert clock.letters_per_s < before


def test_words_that_have_not_started_get_the_end():
    words = times(WordClock(RATE_HZ), "some words of a very long text", loud(0.2))
    assert " ".join(word.text for word in words) == "some words of a very long text"
    assert words[-1].start_sample == 0.2 * RATE_HZ


def test_signs_are_skipped():
    unit = WordClock(RATE_HZ).unit("👍 – fine …")
    assert unit.skipped == ("👍",)
    assert unit.has_words
    assert not WordClock(RATE_HZ).unit("… 👍").has_words


@given(st.text("ab c,.", min_size=1, max_size=60), st.integers(1, 900), st.floats(0, 2))
def test_each_word_starts_in_its_piece(text, size, seconds):
    sound = np.concatenate([quiet(0.1), loud(seconds)])
    unit = WordClock(RATE_HZ).unit(text)
    found = []
    for at in range(0, len(sound), size):
        words = unit.push(sound[at : at + size])
        assert all(at <= word.start_sample < at + size for word in words)
        found += words
    found += unit.finish(80).words
    assert [word.text for word in found] == [word for word in text.split() if any(c.isalnum() for c in word)]
    starts = [word.start_sample for word in found]
    assert starts == sorted(starts)
    whole = times(WordClock(RATE_HZ), text, sound, len(sound))
    assert all(abs(a.start_sample - b.start_sample) <= 80 for a, b in zip(found, whole, strict=True))
