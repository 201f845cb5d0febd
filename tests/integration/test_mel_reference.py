"""The log-mel compared with that of transformers, on real speech and in the real audio encoder."""

import numpy as np
import pytest
import transformers.audio_utils
from transformers import WhisperFeatureExtractor

from sca.audio.chunker import split
from sca.audio.decode import read_audio
from sca.audio.mel import log_mel, mel_filters
from sca.units import encoder_tokens

T = np.arange(5120) / 16_000
RNG = np.random.default_rng(0)
IMPULSES = np.zeros(5120)
IMPULSES[[3, 2000, 5119]] = 1
MADE = {
    "noise": 0.1 * RNG.standard_normal(5120),
    "faint noise": 1e-4 * RNG.standard_normal(5120),
    "silence": np.zeros(5120),
    "square wave": np.sign(np.sin(2 * np.pi * 100 * T + 0.1)),
    "impulses": IMPULSES,
    "tone": np.sin(2 * np.pi * 440 * T),
    "one second": 0.1 * RNG.standard_normal(16_000),
    "odd length": 0.1 * RNG.standard_normal(160 * 7),
}


@pytest.fixture(scope="module")
def extractor():
    return WhisperFeatureExtractor(feature_size=128)


@pytest.fixture(scope="module")
def speech(trial_data):
    return split(read_audio(trial_data / "clips" / "jfk.flac", 16_000), 5120)


def in_float64(extractor, x):
    """Return the features of transformers without torch: spectra in float64."""
    return extractor._np_extract_fbank_features(np.atleast_2d(x), "cpu")


def as_called(extractor, x):
    """Return the features of a processor: in float32 with torch, if torch is installed."""
    options = {"sampling_rate": 16_000, "padding": True, "truncation": False, "return_tensors": "np"}
    return extractor(list(np.atleast_2d(x)), **options)["input_features"]


@pytest.mark.parametrize("name", MADE)
def test_synthetic_audio(extractor, name):
    x = MADE[name].astype(np.float32)
    assert np.abs(log_mel(x) - in_float64(extractor, x)[0]).max() < 1e-5
    assert np.abs(log_mel(x) - as_called(extractor, x)[0]).max() < 5e-5


def test_speech_chunk_by_chunk(extractor, speech):
    ours, exact, called = log_mel(speech), in_float64(extractor, speech), as_called(extractor, speech)
    assert ours.shape == called.shape == (len(speech), 128, 32)
    assert np.abs(ours - exact).max() < 1e-5
    # The float32 path has an error of up to 2.5e-5, in bins 80 dB below the loudest; ours must not add to it.
    assert np.abs(ours - called).max() < np.abs(exact - called).max() + 1e-6
    assert np.abs(ours - called).max() < 5e-5


def test_speech_in_one_piece(extractor, speech):
    x = speech.reshape(-1)
    assert np.abs(log_mel(x) - in_float64(extractor, x)[0]).max() < 1e-5


def test_filterbank(extractor):
    assert np.abs(mel_filters() - extractor.mel_filters).max() < 1e-12
    theirs = transformers.audio_utils.mel_filter_bank(201, 128, 0.0, 8000.0, 16_000, norm="slaney", mel_scale="slaney")
    assert np.abs(mel_filters() - theirs).max() < 1e-12


@pytest.fixture(scope="module")
def tower():
    import torch
    from transformers.models.qwen3_omni_moe.configuration_qwen3_omni_moe import Qwen3OmniMoeAudioEncoderConfig
    from transformers.models.qwen3_omni_moe.modeling_qwen3_omni_moe import Qwen3OmniMoeAudioEncoder

    torch.manual_seed(0)
    config = Qwen3OmniMoeAudioEncoderConfig(
        num_mel_bins=128,
        d_model=32,
        encoder_layers=1,
        encoder_attention_heads=2,
        encoder_ffn_dim=32,
        downsample_hidden_size=8,
        output_dim=16,
        n_window=50,
        n_window_infer=800,
        max_source_positions=1500,
    )
    return Qwen3OmniMoeAudioEncoder(config).eval()


def tokens(tower, mels):
    """Return the token embeddings of each item of a list of `(128, T)`."""
    import torch

    with torch.inference_mode():
        lengths = torch.tensor([mel.shape[1] for mel in mels])
        joined = torch.from_numpy(np.concatenate(mels, axis=1))
        return tower(joined, feature_lens=lengths).last_hidden_state.numpy()


@pytest.mark.parametrize("frames", [2, 8, 16, 32, 33, 64, 96, 100, 104, 128, 200, 800])
def test_real_encoder_makes_the_expected_tokens(tower, frames):
    mel = log_mel((0.1 * np.random.default_rng(frames).standard_normal(frames * 160)).astype(np.float32))
    assert len(tokens(tower, [mel])) == encoder_tokens(frames)


def test_separate_chunk_makes_four_tokens(tower, speech):
    mels = list(log_mel(speech))
    together = tokens(tower, mels)
    assert len(together) == 4 * len(speech)
    alone = np.concatenate([tokens(tower, [mel]) for mel in mels])
    assert np.abs(together - alone).max() < 1e-5
    # Chunks joined to one item make more tokens, so a loader must not join them.
    assert len(tokens(tower, [np.concatenate(mels, axis=1)])) != 4 * len(speech)
