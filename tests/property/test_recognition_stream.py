"""Streaming recognition holds for any speech and any division of the audio into chunks."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sca.infer.recognition.stream import SpeechStream, StreamOptions
from sca.units import HEARD_HZ
from tests.helpers.scripted_windows import MarkDetector, ScriptedDecoder, sound_of

MS = HEARD_HZ // 1000
OPTIONS = StreamOptions(step_samples=960 * MS)


@st.composite
def scripts(draw):
    """Return `(start, end)` of words with pauses between them, short and long."""
    at, words = draw(st.integers(0, 1500)) * MS, []
    for _ in range(draw(st.integers(0, 16))):
        end = at + draw(st.integers(130, 600)) * MS
        words.append((at, end))
        at = end + draw(st.sampled_from([0, 0, 0, 50, 200, 900])) * MS
    return words


@st.composite
def divisions(draw, total):
    """Return chunks of a sound as `(start, end)`."""
    cuts = sorted(draw(st.lists(st.integers(0, total), max_size=12)))
    return list(zip([0, *cuts], [*cuts, total], strict=True))


PAUSES = st.sampled_from([0, 128 * MS, 192 * MS])


def stream_of(words, pause_samples=0, **options):
    decoder = ScriptedDecoder(words, **options)
    return SpeechStream(decoder, MarkDetector(), replace(OPTIONS, pause_samples=pause_samples)), decoder


@given(data=st.data(), words=scripts(), every_step=st.booleans(), is_aligned=st.booleans(), pause=PAUSES)
def test_every_word_is_committed_once_and_stays(data, words, every_step, is_aligned, pause):
    sound = np.concatenate([sound_of(words), np.zeros(700 * MS, np.float32)])
    stream, _ = stream_of(words, pause, is_aligned=is_aligned)
    before = ()
    for start, end in data.draw(divisions(len(sound))):
        stream.push(sound[start:end], every_step=every_step)
        result = stream.result
        assert result.words[: len(before)] == before
        assert result.audio_samples == end
        assert not result.is_final
        if result.is_settled and is_aligned:  # all words before the pause, and the pause is at the end
            ended = [f"w{number}" for number, word in enumerate(words) if word[0] < end]
            assert f"{result.text} {result.tail}".split() == ended
        before = result.words
    stream.finish()
    assert stream.result.words[: len(before)] == before
    assert stream.result.is_final
    assert stream.result.tail == ""
    if is_aligned:
        assert [word.text for word in stream.result.words] == [f"w{number}" for number in range(len(words))]
        for word, (start, end) in zip(stream.result.words, words, strict=True):
            assert (word.start_sample, word.end_sample) == (start, end)


@given(data=st.data(), words=scripts(), pause=PAUSES)
def test_the_division_into_chunks_does_not_matter(data, words, pause):
    sound = np.concatenate([sound_of(words), np.zeros(data.draw(st.integers(0, 20_000)), np.float32)])
    whole, chunked = (stream_of(words, pause)[0] for _ in range(2))
    whole.push(sound)
    for start, end in data.draw(divisions(len(sound))):
        chunked.push(sound[start:end])
    assert chunked.result == whole.result
    whole.finish()
    chunked.finish()
    assert chunked.result == whole.result
    assert chunked.decoded == whole.decoded


@given(data=st.data(), words=scripts(), pause=PAUSES)
def test_no_audio_is_left_out_and_windows_are_bounded(data, words, pause):
    sound = sound_of(words)
    stream, decoder = stream_of(words, pause)
    for start, end in data.draw(divisions(len(sound))):
        stream.push(sound[start:end], every_step=data.draw(st.booleans()))
    stream.finish()
    assert decoder.heard == set(range(len(words)))
    assert all(samples <= OPTIONS.max_samples + HEARD_HZ for samples in decoder.window_samples)
