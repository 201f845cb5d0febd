"""The features of YAMNet."""

import numpy as np
import pytest

from sca.data.reactions.yamnet import YamnetTagger, is_yamnet, yamnet_mel


def test_silence_is_the_logarithm_of_the_offset():
    mel = yamnet_mel(np.zeros(16_000, np.float32))
    assert mel.shape == (1 + (16_000 - 400) // 160, 64)
    np.testing.assert_allclose(mel, np.log(0.001), rtol=1e-6)


@pytest.mark.parametrize("hz", [600, 1000, 3000, 7000])
def test_tone_is_in_the_band_of_its_frequency(hz):
    """The centres of 64 bands divide 125 to 7500 Hz evenly on the HTK mel scale."""
    low, here, high = (1127 * np.log(1 + f / 700) for f in (125.0, hz, 7500.0))
    band = (here - low) / (high - low) * 65 - 1
    tone = np.sin(2 * np.pi * hz * np.arange(16_000) / 16_000).astype(np.float32)
    np.testing.assert_allclose(yamnet_mel(tone).argmax(axis=1), band, atol=0.75)


def test_window_of_a_recording_has_the_features_of_its_samples():
    samples = np.random.default_rng(0).normal(0, 0.1, 5 * 16_000).astype(np.float32)
    start = 160 * 123
    window = samples[start : start + YamnetTagger.window_samples]
    np.testing.assert_array_equal(yamnet_mel(window)[:96], yamnet_mel(samples)[123 : 123 + 96])


def test_other_files_are_not_yamnet(tmp_path):
    (tmp_path / "model.onnx").write_bytes(bytes(64_623))  # of the right size
    assert not is_yamnet(tmp_path / "model.onnx")
