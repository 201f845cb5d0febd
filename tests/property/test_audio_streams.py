"""Properties of streaming audio functions, for any samples and any block sizes."""

from fractions import Fraction
from functools import cache
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sca.audio.chunker import Chunker, split
from sca.audio.mel import log_mel
from sca.audio.resample import StreamResampler, resample
from sca.audio.vad import FRAME_SAMPLES, SileroVad, speech_segments
from sca.units import half_up

RATES_HZ = st.sampled_from([8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
BLOCK_LENGTHS = st.lists(st.integers(0, 700) | st.integers(0, 6_000), max_size=12)


def sound(samples, seed=0):
    return (np.random.default_rng(seed).standard_normal(samples) * 0.1).astype(np.float32)


def cut(x, lengths):
    """Return `x` in blocks of these lengths, and the rest in one more."""
    ends = np.cumsum(lengths)
    return np.split(x, np.minimum(ends, len(x)))


@given(st.integers(0, 3_000), st.integers(1, 700), BLOCK_LENGTHS)
def test_any_blocks_make_the_same_chunks(samples, chunk_samples, lengths):
    x, chunker = sound(samples), Chunker(chunk_samples)
    chunks = []
    for block in cut(x, lengths):
        chunks += chunker.push(block)
        assert 0 <= chunker.pending < chunk_samples
    last = chunker.flush()
    chunks += [] if last is None else [last]
    expected = split(x, chunk_samples)
    assert len(chunks) == len(expected) == -(-samples // chunk_samples)
    assert all(np.array_equal(one, other) for one, other in zip(chunks, expected, strict=True))
    assert np.array_equal(expected.reshape(-1)[:samples], x)
    assert not expected.reshape(-1)[samples:].any()


@given(RATES_HZ, RATES_HZ, st.integers(0, 20_000), BLOCK_LENGTHS)
def test_any_blocks_resample_to_the_same_samples(from_hz, to_hz, samples, lengths):
    x, stream = sound(samples), StreamResampler(from_hz, to_hz)
    pieces = [stream.push(block) for block in cut(x, lengths)]
    joined = np.concatenate([*pieces, stream.flush()])
    assert np.array_equal(joined, resample(x, from_hz, to_hz))
    assert len(joined) == half_up(Fraction(samples * to_hz, from_hz))


@settings(max_examples=30)
@given(st.integers(2, 40), st.integers(1, 70), st.floats(1e-6, 1.0), st.randoms(use_true_random=False))
def test_batch_item_is_bit_identical_to_a_single_item(frames, items, loudness, random):
    x = sound(frames * 160 * items, seed=random.randrange(1 << 30)).reshape(items, -1) * np.float32(loudness)
    chosen = random.randrange(items)
    assert np.array_equal(log_mel(x)[chosen], log_mel(x[chosen]))


@settings(max_examples=10)
@given(st.integers(2040, 2060))
def test_long_items_are_computed_in_parts_without_a_seam(frames):
    x = sound(frames * 160)
    mel = log_mel(x)
    assert mel.shape == (128, frames)
    middle = log_mel(x[2000 * 160 : 2040 * 160])
    # Away from the reflected edges only the loudness clamp could differ, which noise does not reach.
    assert np.abs(mel[:, 2002:2038] - middle[:, 2:38]).max() < 1e-5


@cache
def vad():
    return SileroVad()


@cache
def vad_whole():
    """Return audio with onsets, so that the state matters, and its probabilities frame by frame."""
    x = sound(20_000) * np.repeat(np.float32([0.01, 3, 0.1, 5, 0]), 4_000)
    stream = vad().stream()
    return x, np.concatenate([stream.push(x[i : i + FRAME_SAMPLES]) for i in range(0, len(x), FRAME_SAMPLES)])


@settings(max_examples=40)
@given(BLOCK_LENGTHS)
def test_any_blocks_get_the_same_probabilities(lengths):
    x, expected = vad_whole()
    stream = vad().stream()
    found = [stream.push(block) for block in cut(x, lengths)]
    assert np.array_equal(np.concatenate(found), expected)
    assert len(expected) == len(x) // FRAME_SAMPLES


@given(
    st.lists(st.floats(0, 1), max_size=60),
    st.integers(0, 3_000),
    st.integers(0, 3_000),
    st.integers(0, 2_000),
    st.integers(0, 1_000),
)
def test_segments_are_sorted_disjoint_and_inside(probabilities, min_speech, min_silence, pad, tail):
    total = len(probabilities) * FRAME_SAMPLES + tail
    found = speech_segments(
        probabilities,
        min_speech_samples=min_speech,
        min_silence_samples=min_silence,
        pad_samples=pad,
        total_samples=total,
    )
    edges = [0, *(edge for segment in found for edge in segment), total]
    assert edges == sorted(edges)
    assert all(end - start >= min_speech and end > start for start, end in found)
    bare = speech_segments(probabilities, min_speech_samples=min_speech, min_silence_samples=min_silence, pad_samples=0)
    assert len(bare) == len(found)
    assert all(b - a >= min_silence for (_, a), (b, _) in pairwise(bare))
    # Padding never shortens a segment, and every frame above the onset is inside one if none is too short.
    assert all(a <= c and d <= b for (a, b), (c, d) in zip(found, bare, strict=True))
    if min_speech == 0:
        for i, probability in enumerate(probabilities):
            if probability >= 0.5:
                assert any(start <= i * FRAME_SAMPLES < end for start, end in found)


@given(st.lists(st.floats(0, 1), max_size=40), st.integers(1, 30))
def test_later_probabilities_do_not_change_earlier_segments(probabilities, cut_at):
    settled = speech_segments(probabilities[:cut_at], pad_samples=0, min_silence_samples=0, min_speech_samples=0)
    longer = speech_segments(probabilities, pad_samples=0, min_silence_samples=0, min_speech_samples=0)
    done = [segment for segment in settled if segment[1] < len(probabilities[:cut_at]) * FRAME_SAMPLES]
    assert longer[: len(done)] == done
