"""When a stream decodes, what it commits, and what it holds."""

import numpy as np
import pytest

from sca.infer.recognition.hypotheses import HeardWord, agreed, aligned, repeat_start
from sca.infer.recognition.stream import SpeechStream, StreamOptions
from sca.units import HEARD_HZ
from tests.helpers.scripted_windows import MarkDetector, ScriptedDecoder, sound_of

MS = HEARD_HZ // 1000
OPTIONS = StreamOptions(step_samples=1024 * MS)


def words_of(count, *, length=250 * MS, gap=50 * MS, start=0):
    return [(start + n * (length + gap), start + n * (length + gap) + length) for n in range(count)]


def heard(text, end=0):
    return HeardWord(text, (0,), 0, end, 1.0)


def fed(words, sound, **options):
    decoder = ScriptedDecoder(words, **options)
    stream = SpeechStream(decoder, MarkDetector(), OPTIONS)
    stream.push(sound)
    return stream, decoder


def test_commits_words_that_end_a_margin_before_the_end():
    words = words_of(10)
    stream, decoder = fed(words, sound_of(words)[: 1056 * MS])  # the first frame opens the segment
    assert len(decoder.window_samples) == 1
    assert [word.text for word in stream.result.words] == ["w0", "w1"]
    assert stream.result.tail == "w2 …"


def test_without_alignment_commits_what_two_hypotheses_agree_on():
    words = words_of(10)
    stream, _ = fed(words, sound_of(words)[: 1056 * MS], is_aligned=False)
    assert stream.result.words == ()
    stream, _ = fed(words, sound_of(words)[: 2080 * MS], is_aligned=False)
    assert [word.text for word in stream.result.words] == ["w0", "w1", "w2"]


def test_silence_commits_all_words_and_is_not_decoded():
    words = words_of(3)
    sound = np.concatenate([sound_of(words), np.zeros(60 * HEARD_HZ, np.float32)])
    stream, decoder = fed(words, sound)
    assert [word.text for word in stream.result.words] == ["w0", "w1", "w2"]
    assert len(decoder.window_samples) == 1
    assert stream.held_samples < HEARD_HZ


@pytest.mark.parametrize("samples", [0, 1, 511, 512, 10 * HEARD_HZ])
def test_silence_alone_is_an_empty_result(samples):
    stream, decoder = fed([], np.zeros(samples, np.float32))
    stream.finish()
    assert stream.result.words == ()
    assert stream.result.audio_samples == samples
    assert stream.result.is_final
    assert decoder.window_samples == []


def test_a_click_is_not_decoded():
    words = [(0, 40 * MS)]
    stream, decoder = fed(words, np.concatenate([sound_of(words), np.zeros(HEARD_HZ, np.float32)]))
    stream.finish()
    assert decoder.window_samples == []


def test_long_speech_is_held_in_a_short_window():
    words = words_of(400)
    stream, decoder = fed(words, sound_of(words))
    assert len(stream.result.words) > 390
    assert max(decoder.window_samples) < 6 * HEARD_HZ
    assert stream.held_samples < 6 * HEARD_HZ


def test_speech_without_a_certain_word_is_bounded():
    words = [(0, 100 * HEARD_HZ)]
    stream, decoder = fed(words, sound_of(words))
    assert max(decoder.window_samples) <= OPTIONS.max_samples
    assert stream.held_samples <= OPTIONS.max_samples


def test_a_cancelled_stream_decodes_nothing():
    words = words_of(5)
    decoder = ScriptedDecoder(words)
    stream = SpeechStream(decoder, MarkDetector(), OPTIONS)
    stream.cancel()
    stream.push(sound_of(words))
    stream.finish()
    assert decoder.window_samples == []


@pytest.mark.parametrize(
    ("text", "first", "count"),
    [
        ("I will do that. I will do that", 0, 4),
        ("it arrived this morning", 0, 4),
        ("it arrived this morning it arrived", 2, 4),
        ("honestly. Honestly,", 0, 1),
        ("the book the table", 0, 4),
        ("no no no no", 3, 3),
        ("", 0, 0),
    ],
)
def test_finds_where_a_text_repeats_itself(text, first, count):
    assert repeat_start(text.split(), first) == count


def test_policies_count_words_from_the_first_one_on():
    words = [heard(" a", 10), heard(" b", 20), heard(" c", 15)]
    assert aligned(words, 15) == 1
    assert agreed([heard(" A."), heard(" b")], [heard(" a"), heard(" c")]) == 1
    assert agreed(words, []) == 0


def test_a_pause_is_decoded_once_and_its_words_are_used():
    words = words_of(3)
    decoder = ScriptedDecoder(words)
    stream = SpeechStream(decoder, MarkDetector(), StreamOptions(pause_samples=192 * MS))
    spoken = sound_of(words)
    stream.push(np.concatenate([spoken, np.zeros(160 * MS, np.float32)]))
    assert (stream.result.is_settled, stream.decoded) == (False, 0)
    stream.push(np.zeros(64 * MS, np.float32))
    assert stream.result.is_settled
    assert f"{stream.result.text} {stream.result.tail}".split() == ["w0", "w1", "w2"]
    stream.finish()
    assert stream.result.text == "w0 w1 w2"
    assert stream.decoded == 1


def test_speech_after_a_pause_is_not_settled():
    words = [(0, 500 * MS), (700 * MS, 1200 * MS)]
    stream = SpeechStream(ScriptedDecoder(words), MarkDetector(), StreamOptions(pause_samples=128 * MS))
    sound = sound_of(words)
    stream.push(sound[: 690 * MS])
    assert stream.result.is_settled
    stream.push(sound[690 * MS :])
    assert not stream.result.is_settled
    stream.finish()
    assert stream.result.text == "w0 w1"
    assert stream.decoded == 2
