"""Each guard on its error, and on speech that only resembles it."""

import itertools
from collections import Counter

import numpy as np
import pytest
import soundfile

from sca.data.shows.verify import verify_timelines
from sca.data.transcription.hallucinations import (
    Evidence,
    RecognizedWord,
    Speech,
    guard_words,
    phrases,
    text_of,
    within_recording,
)
from sca.data.transcription.recordings import FoundFile, Recording
from sca.data.transcription.transcriber import Transcriber, TranscriptionJob
from sca.data.transcription.whisper import RecognizerOptions, Transcription

EVERYWHERE = Speech([(0.0, 1000.0)])


def said(text, start=1.0, step=0.3, probability=0.9, evidence=None):
    return [
        RecognizedWord(f" {word}", start + i * step, start + (i + 1) * step, probability, evidence)
        for i, word in enumerate(text.split())
    ]


def spoken_at(text, start, letters_per_s):
    """Words with the times of a steady rate, as real recognisers give them for fast speech."""
    words, at = [], start
    for word in text.split():
        seconds = (len(word) + 1) / letters_per_s
        words.append(RecognizedWord(f" {word}", round(at, 3), round(at + seconds, 3), 0.9))
        at += seconds
    return words


def certain(words):
    return text_of([word for word in words if word.doubt is None])


def guarded(words, speech=EVERYWHERE):
    counts = Counter()
    return guard_words(words, speech, counts), +counts


@pytest.mark.parametrize(
    ("text", "left", "doubtful"),
    [
        ("thank you thank you thank you thank you thank you", "thank you", 8),
        ("so and then he said it " + "and then he said it " * 3 + "bye", "so and then he said it bye", 15),
        ("ha " * 12, "ha", 11),
    ],
)
def test_only_the_first_of_a_loop_is_certain(text, left, doubtful):
    words, counts = guarded(said(text))
    assert (certain(words), text_of(words), counts) == (left, text.strip(), {"repeated": doubtful})


@pytest.mark.parametrize(
    "text", ["no no no no no", "thank you thank you thank you", "what is this what is this", "one two one three"]
)
def test_natural_repetitions_stay(text):
    words, counts = guarded(said(text))
    assert (text_of(words), counts) == (text, {})


def test_improbable_phrases_on_silence_are_removed():
    speech = Speech([(0.9, 2.0)])
    improbable = said("thanks for watching", start=30.0, probability=0.5)
    silent = said("bye", start=40.0, evidence=Evidence(-0.2, 0.9, 0.8))
    words, counts = guarded([*said("hello there"), *improbable, *silent], speech)
    assert (text_of(words), counts) == ("hello there", {"on_silence": 4})


def test_probable_phrases_on_silence_are_in_doubt():
    words, counts = guarded([*said("hello there"), *said("and me too", start=30.0)], Speech([(0.9, 2.0)]))
    assert (certain(words), text_of(words), counts) == ("hello there", "hello there and me too", {"no_speech_found": 3})


def test_words_near_the_edge_of_speech_stay():
    words, counts = guarded(said("hello there"), Speech([(1.5, 2.0)]))
    assert (text_of(words), counts) == ("hello there", {})


def test_phrase_that_only_touches_speech_is_in_doubt():
    click = Speech([(0.5, 1.5)], voiced=[(0.9, 1.0)])  # decoded with margins, almost without speech
    words, counts = guarded(said("please subscribe to my channel"), click)
    assert (certain(words), text_of(words), counts["no_speech_found"]) == ("", "please subscribe to my channel", 5)


def test_third_of_a_phrase_in_speech_is_enough():
    words, counts = guarded(said("one two three four"), Speech([(0.5, 2.0)], voiced=[(1.0, 1.2)]))
    assert (certain(words), counts) == ("one two three four", {})


def test_short_word_beside_speech_is_not_judged_by_its_place():
    words, counts = guarded(said("okay", start=1.3, step=0.1), Speech([(0.5, 1.5)], voiced=[(0.6, 1.0)]))
    assert (certain(words), counts) == ("okay", {})


def test_improbable_words_are_removed_without_speech():
    words, counts = guarded(said("you", probability=0.4), Speech([]))
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


def test_phrases_faster_than_speech_are_in_doubt():
    fast = said("and this was certainly not said", 5.0, 0.05)
    words, counts = guarded([*said("this was really said slowly"), *fast])
    assert (certain(words), len(words), counts) == ("this was really said slowly", 11, {"too_fast": 6})


@pytest.mark.parametrize("letters_per_s", [20, 24, 26, 29, 33])
def test_fast_speech_is_certain(letters_per_s):
    words = spoken_at("I told her she could stay with us until she feels better.", 1.0, letters_per_s)
    assert guarded(words) == (words, {})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Absolutely.", 0.42),
        ("Exactly!", 0.30),
        ("Right?", 0.20),
        ("Okay.", 0.18),
        ("Seriously?", 0.38),
        ("please?", 0.24),
        ("Congratulations!", 0.6),
        ("Strengths?", 0.38),
    ],
)
def test_short_words_are_certain(text, seconds):
    words = [RecognizedWord(f" {text}", 1.0, 1.0 + seconds, 0.95)]
    assert guarded(words) == (words, {})


def test_words_between_neighbours_have_only_their_time():
    words = [
        RecognizedWord(" Yes.", 1.0, 1.4, 0.9),
        *said("and this was certainly not said!", 1.4, 0.05),
        RecognizedWord(" No.", 1.7, 2.0, 0.9),
    ]
    assert certain(guarded(words)[0]) == "Yes. No."


@pytest.mark.parametrize(
    ("probability", "evidence", "doubt"),
    [
        (0.2, None, "improbable"),
        (0.5, Evidence(-0.3, 0.1, 1.5), None),
        (0.5, Evidence(-1.2, 0.1, 1.5), "improbable"),
        (0.5, Evidence(-0.3, 0.1, 2.6), "improbable"),
        (0.9, Evidence(-1.2, 0.9, 2.6), None),
    ],
)
def test_doubt_needs_low_probability(probability, evidence, doubt):
    words, _ = guarded(said("what did you say", probability=probability, evidence=evidence))
    assert {word.doubt for word in words} == {doubt}
    assert text_of(words) == "what did you say"


def test_phrases_end_at_pauses_and_sentences():
    words = [*said("hello there. how are you"), *said("fine", 4.0)]
    assert [text_of(phrase) for phrase in phrases(words)] == ["hello there.", "how are you", "fine"]


class _PastTheEnd:
    """A recognizer with words past the end of a recording of 2 s."""

    workers = 1

    def __init__(self, words):
        self._words = words

    def transcribe(self, samples, voiced, partial, progress):
        return Transcription([self._words], [(0, len(samples))], "en", voiced=[(0, len(samples))])


PAST_THE_END = {
    "the end of a word": [*said("so it ends", 1.2), RecognizedWord(" here", 1.9, 2.4, 0.9)],
    "a word": [*said("so it ends", 1.2), RecognizedWord(" -", 2.02, 2.1, 0.9)],
    "words without time": [*said("it ends.", 1.4), *said("Bye you all", 2.0, 0.0)],
    "an unsure event": [*said("it ends", 1.4), *said("la la la", 2.1, 0.3, 0.1)],
    "everything": said("one two three", 7.0),
    "more words than fit": said("ba bi bo bu " * 40, 1.0, 0.05),
}


@pytest.mark.parametrize("with_words", [True, False])
@pytest.mark.parametrize("words", PAST_THE_END.values(), ids=PAST_THE_END)
def test_words_past_the_end_are_moved_into_the_recording(words, with_words, tmp_path):
    path = tmp_path / "two.wav"
    soundfile.write(path, np.zeros(32_000, np.float32), 16_000)
    options = RecognizerOptions("scripted", word_timestamps=with_words)
    job = TranscriptionJob(Recording("two", FoundFile(path, "two.wav", "", "")), "")
    show = Transcriber(options, "none", _PastTheEnd(words)).transcribe(job).show
    spoken = [event for event in show.timeline if event.content]
    assert " ".join(event.content for event in spoken).split() == text_of(words).split()
    for timed in (*spoken, *show.words):
        assert 0 <= timed.start < timed.end <= 2.0
    for one, other in [*itertools.pairwise(spoken), *itertools.pairwise(show.words)]:
        assert one.end <= other.start
    assert len(show.words) == (len(words) if with_words else 0)
    (tmp_path / "lines.jsonl").write_text(show.model_dump_json() + "\n")
    assert verify_timelines(tmp_path / "lines.jsonl").problems == ()


def test_words_within_the_recording_stay():
    words = said("so it ends here", 0.8)
    assert within_recording(words, words[-1].end) == words
