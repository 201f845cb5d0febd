"""The real VAD model on real speech, and segments of synthetic probabilities for each rule."""

import sys

import numpy as np
import pytest

from sca.audio.decode import read_audio
from sca.audio.vad import FRAME_SAMPLES, SileroVad, find_silero_model, speech_segments
from sca.distribution import reinstall
from sca.errors import MissingToolError

FRAME_S = FRAME_SAMPLES / 16_000


@pytest.fixture(scope="module")
def vad():
    return SileroVad()


def seconds(segments):
    return [(start / 16_000, end / 16_000) for start, end in segments]


# The model


def test_separates_speech_from_silence(vad, trial_data):
    speech = read_audio(trial_data / "clips" / "jfk.flac", 16_000)
    x = np.concatenate([np.zeros(32_000, np.float32), speech, np.zeros(32_000, np.float32)])
    probabilities = vad.probabilities(x)
    assert len(probabilities) == len(x) // FRAME_SAMPLES
    assert probabilities.dtype == np.float32
    assert probabilities[: round(1.9 / FRAME_S)].max() < 0.2
    assert probabilities[-round(1.0 / FRAME_S) :].max() < 0.2
    segments = seconds(speech_segments(probabilities, total_samples=len(x)))
    assert 2.0 < segments[0][0] < 2.6
    assert 12.0 < segments[-1][1] < 13.2
    # "And so, my fellow Americans: ask not … ask what you can do for your country" has long pauses.
    assert 3 <= len(segments) <= 12
    assert sum(end - start for start, end in segments) == pytest.approx(8, abs=1.5)


@pytest.mark.parametrize("loudness", [0.0, 0.001, 0.05])
def test_noise_is_not_speech(vad, loudness):
    x = (np.random.default_rng(0).standard_normal(48_000) * loudness).astype(np.float32)
    assert vad.probabilities(x).max() < 0.35


def test_tone_is_not_speech(vad):
    x = (0.3 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 16_000)).astype(np.float32)
    assert speech_segments(vad.probabilities(x)) == []


def test_probability_is_returned_when_a_frame_is_complete(vad):
    stream = vad.stream()
    assert stream.push(np.zeros(511, np.float32)).shape == (0,)
    assert stream.push(np.zeros(1, np.float32)).shape == (1,)
    assert stream.push(np.zeros(0, np.float32)).shape == (0,)
    assert stream.push(np.zeros(1300, np.float32)).shape == (2,)


def test_long_push_equals_single_frames(vad, trial_data):
    x = np.tile(read_audio(trial_data / "clips" / "jfk.flac", 16_000), 2)
    stream = vad.stream()
    one_by_one = np.concatenate([stream.push(x[i : i + 512]) for i in range(0, len(x), 512)])
    assert len(one_by_one) > 512
    assert np.array_equal(vad.probabilities(x), one_by_one)


def test_streams_share_no_state(vad, trial_data):
    x = read_audio(trial_data / "clips" / "jfk.flac", 16_000)[:32_000]
    one, other = vad.stream(), vad.stream()
    alone = vad.probabilities(x)
    mixed = []
    for i in range(0, len(x), 1000):
        mixed.append(one.push(x[i : i + 1000]))
        other.push(np.random.default_rng(i).standard_normal(1000).astype(np.float32))
    assert np.array_equal(np.concatenate(mixed), alone)


def test_reset_returns_to_the_initial_state(vad, trial_data):
    x = read_audio(trial_data / "clips" / "jfk.flac", 16_000)[:20_100]
    stream = vad.stream()
    first = stream.push(x)
    assert not np.array_equal(stream.push(x), first)
    stream.reset()
    assert np.array_equal(stream.push(x), first)


def test_block_may_be_reused(vad):
    block = np.ones(700, np.float32)
    stream = vad.stream()
    stream.push(block)
    block[:] = np.nan
    assert np.isfinite(stream.push(np.zeros(512, np.float32))).all()


@pytest.mark.parametrize("wrong", [np.zeros(512), np.zeros(512, np.int16), np.zeros((1, 512), np.float32)])
def test_rejects_other_dtypes_and_shapes(vad, wrong):
    with pytest.raises(ValueError, match="expected float32"):
        vad.stream().push(wrong)


# Missing files and packages


def test_missing_model_file(tmp_path):
    with pytest.raises(MissingToolError, match="the Silero VAD model is missing: ") as caught:
        SileroVad(tmp_path / "silero_vad_v6.onnx")
    assert reinstall() in caught.value.hint


def test_invalid_model_file(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"no model")
    with pytest.raises(MissingToolError, match="cannot be loaded"):
        SileroVad(tmp_path / "a.onnx")


def test_missing_faster_whisper(monkeypatch):
    assert "faster_whisper" not in sys.modules or monkeypatch.delitem(sys.modules, "faster_whisper") is None
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(MissingToolError, match="ships inside faster-whisper, which is not installed"):
        find_silero_model()


def test_missing_onnxruntime(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingToolError, match="needs onnxruntime"):
        SileroVad()


def test_faster_whisper_is_located_without_import(monkeypatch):
    monkeypatch.delitem(sys.modules, "faster_whisper", raising=False)
    assert find_silero_model().is_file()
    assert "faster_whisper" not in sys.modules


# Segments. One character per frame: `#` speech, `-` between the thresholds, `.` silence.


def segments(picture, **rules):
    probabilities = [{"#": 0.9, "-": 0.4, ".": 0.1}[letter] for letter in picture]
    defaults = {"min_speech_samples": 0, "min_silence_samples": 0, "pad_samples": 0, "frame_samples": 10}
    return speech_segments(probabilities, **(defaults | rules))


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        ("", []),
        ("....", []),
        ("----", []),  # never reaches the onset
        (".##.", [(10, 30)]),
        ("##", [(0, 20)]),  # speech until the end
        (".#--.", [(10, 40)]),  # continues between the thresholds
        (".--#.", [(30, 40)]),  # does not start there
        ("#.-#", [(0, 10), (30, 40)]),
    ],
)
def test_speech_starts_at_onset_and_ends_below_offset(picture, expected):
    assert segments(picture) == expected


def test_thresholds_are_inclusive():
    assert speech_segments([0.5, 0.35, 0.3499], min_speech_samples=0, pad_samples=0) == [(0, 2 * FRAME_SAMPLES)]


def test_short_pauses_are_closed():
    assert segments("#..#", min_silence_samples=21) == [(0, 40)]
    assert segments("#..#", min_silence_samples=20) == [(0, 10), (30, 40)]


def test_short_speech_is_dropped_after_closing_pauses():
    assert segments("##....#.", min_speech_samples=20) == [(0, 20)]
    assert segments("#.#.....", min_speech_samples=30, min_silence_samples=11) == [(0, 30)]


def test_padding_stops_at_neighbours_and_at_the_ends():
    assert segments("..#..", pad_samples=5) == [(15, 35)]
    assert segments("#....#", pad_samples=15) == [(0, 25), (35, 60)]
    assert segments("#.#", pad_samples=15) == [(0, 15), (15, 30)]
    assert segments("..#", pad_samples=15) == [(5, 30)]
    assert segments("..#", pad_samples=15, total_samples=37) == [(5, 37)]


def test_odd_pause_is_divided_completely():
    assert segments("#.#", pad_samples=9, frame_samples=3) == [(0, 4), (4, 9)]


def test_defaults_are_those_of_silero():
    speech, pause = [0.9] * 8, [0.1] * 4  # 256 and 128 ms
    assert speech_segments(pause + speech + pause) == [(2048 - 480, 6144 + 480)]
    assert speech_segments(pause + speech[:7] + pause) == []
    assert len(speech_segments(pause + speech + pause[:3] + speech + pause)) == 1


@pytest.mark.parametrize(("onset", "offset"), [(0.3, 0.5), (1.5, 0.5), (0.5, -0.1)])
def test_rejects_contradicting_thresholds(onset, offset):
    with pytest.raises(ValueError, match="0 <= offset <= onset <= 1"):
        speech_segments([0.5], onset=onset, offset=offset)
