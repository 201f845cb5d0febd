"""The input features of smart-turn equal those of Whisper's feature extractor."""

import numpy as np
import pytest

from sca.audio.mel import log_mel, mel_filters
from sca.infer.turn.models.features import V3_SAMPLES, last_samples, normalize, v3_features

RNG = np.random.default_rng(7)
SIGNALS = {
    "noise": (RNG.standard_normal(V3_SAMPLES) * 0.1).astype(np.float32),
    "short": (RNG.standard_normal(30_000) * 0.1).astype(np.float32),
    "long": (RNG.standard_normal(200_000) * 0.1).astype(np.float32),
    "tone": np.sin(np.arange(90_000) * 0.05).astype(np.float32),
    "silence": np.zeros(4000, np.float32),
    "one sample": np.array([0.5], np.float32),
    "offset": np.full(50_000, 0.25, np.float32),
    "whisper": (RNG.standard_normal(60_000) * 1e-5).astype(np.float32),
}


@pytest.fixture(scope="module")
def extractor():
    from transformers import WhisperFeatureExtractor

    return WhisperFeatureExtractor(chunk_length=8)


@pytest.mark.parametrize("name", SIGNALS)
def test_features_equal_those_of_whisper(name, extractor):
    x = last_samples(SIGNALS[name], V3_SAMPLES)
    options = {"padding": "max_length", "max_length": V3_SAMPLES, "truncation": True, "do_normalize": True}
    expected = extractor(x, sampling_rate=16_000, return_tensors="np", **options).input_features[0]
    features = v3_features(SIGNALS[name])
    assert features.shape == (80, 800)
    assert features.dtype == np.float32
    assert np.abs(features - expected).max() <= 1e-4


def test_pads_with_zeros_at_the_start():
    x = np.arange(1, 4, dtype=np.float32)
    assert last_samples(x, 5).tolist() == [0, 0, 1, 2, 3]
    assert last_samples(x, 2).tolist() == [2, 3]
    assert last_samples(x, 3) is not None


def test_uses_only_the_last_eight_seconds():
    long = SIGNALS["long"]
    assert np.array_equal(v3_features(long), v3_features(long[-V3_SAMPLES:]))


def test_features_do_not_depend_on_the_level():
    x = SIGNALS["noise"]
    assert np.abs(v3_features(x * 30) - v3_features(x)).max() < 1e-3
    assert not normalize(np.zeros(10, np.float32)).any()


def test_mel_with_any_number_of_bins():
    x = SIGNALS["noise"][:16_000]
    assert log_mel(x).shape == (128, 100)
    assert log_mel(x, 80).shape == (80, 100)
    assert np.array_equal(log_mel(x), log_mel(x, 128))
    assert mel_filters(80).shape == (201, 80)
