"""The history of a conversation holds the words that were played: against the output track, in simulated time."""

import random

import numpy as np

from sca.infer.conversation.spoken import at_output_rate
from sca.infer.speech.registry import load_speech_engine
from tests.helpers.interruptions import converse, remembered
from tests.helpers.scripted_parts import ScriptedRecognizers, ScriptedVoice, level_of, scripted_parts
from tests.helpers.spoken import whole


def counted_turns():
    """Return a recognizer whose texts are `turn 0.`, `turn 1.`, …"""
    recognizer = ScriptedRecognizers()
    recognizer.text = lambda samples: f"turn {len(recognizer.opened) - 1}."
    return recognizer


def parts_with(sentences, voice):
    """Return parts whose answers are the sentences, one after the other."""
    left = iter(sentences)
    return scripted_parts(lambda messages: [next(left)], recognizer=counted_turns(), voice=voice)


def words_in(track, start, text):
    """Return how many words of a text the track has to their ends, by the levels of the words."""
    _, words = whole(ScriptedVoice(), text)
    for number, word in enumerate(words):
        played = track[start + word.start_sample : start + word.end_sample]
        full = len(played) == word.end_sample - word.start_sample
        if not full or not np.allclose(played, level_of(word.text), atol=1e-3):
            return number
    return len(words)


def test_a_thousand_interruptions_in_virtual_time():
    rng, count = random.Random(1), 1250
    sentences = [" ".join(f"w{rng.randrange(10_000)}" for _ in range(6)) + "." for _ in range(count + 9)]
    parts = parts_with(sentences, ScriptedVoice)
    track, played = converse(parts, answers=count, seed=2, longest_s=1.2)
    asked = parts.language.asked
    errors, cut = [], 0
    for number in range(count - 1):
        start, end = played[number]
        truth = words_in(track, start, sentences[number])
        held = remembered(asked, number)
        assert sentences[number].startswith(held)
        errors.append(len(held.split()) - truth)
        cut += end is not None and truth < 6
    assert cut >= 1000
    assert set(errors) == {0}


def test_fifty_interruptions_of_espeak():
    rng, count = random.Random(3), 70
    vocabulary = ["train", "Oslo", "leaves", "at", "seven", "and", "there", "many", "seats", "today", "because", "rain"]
    sentences = [" ".join(rng.choices(vocabulary, k=8)) + "." for _ in range(count + 9)]
    voice = load_speech_engine("espeak").open()
    parts = parts_with(sentences, lambda: voice)
    track, played = converse(parts, answers=count, seed=4, longest_s=3.5)
    asked, cut = parts.language.asked, 0
    for number in range(count - 1):
        start, end = played[number]
        _, words = whole(voice, sentences[number])
        ends = [at_output_rate(word, voice.sample_rate).end_sample for word in words]
        heard = len(words) if end is None else sum(at <= end - start for at in ends)
        held = remembered(asked, number)
        assert sentences[number].startswith(held)
        assert len(held.split()) == heard
        if end is not None and heard < len(words):
            cut += 1
            assert not track[end : played[number + 1][0]].any()
    assert cut >= 50
