"""The tiny Qwen3-Omni of other tests: it loads, has the real ids, and its output depends on its input."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoFeatureExtractor, Qwen3OmniMoeForConditionalGeneration

from sca.audio.mel import log_mel
from sca.tokenizer import load_tokenizer
from sca.train.tiny import build
from tests.helpers.omni import qwen_tokenizer


@pytest.fixture(scope="module")
def model(tiny_omni):
    return Qwen3OmniMoeForConditionalGeneration.from_pretrained(tiny_omni, local_files_only=True).eval()


def test_loads_the_saved_weights(model):
    made, loaded = build().state_dict(), model.state_dict()
    assert made.keys() == loaded.keys()
    assert [name for name in made if not torch.equal(made[name], loaded[name])] == []
    assert [name for name in made if not made[name].isfinite().all()] == []
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_seed_selects_weights_without_global_state():
    state = torch.get_rng_state()
    one, other = (build(seed).talker.codec_head.weight for seed in (0, 1))
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_folder_has_the_real_vocabulary_and_ids(tiny_omni):
    assert load_tokenizer(str(tiny_omni)).fingerprint == qwen_tokenizer().fingerprint
    assert AutoFeatureExtractor.from_pretrained(tiny_omni, local_files_only=True).feature_size == 128
    config = AutoConfig.from_pretrained(tiny_omni, local_files_only=True)
    thinker = config.thinker_config
    assert (thinker.audio_token_id, thinker.text_config.vocab_size) == (151675, 152064)
    assert config.talker_config.speaker_id["ethan"] == 2302


@torch.no_grad()
def test_earlier_input_and_output_matter(model):
    tone = np.sin(np.arange(5120) * 2 * np.pi * 300 / 16_000) * 0.3
    noise = np.random.default_rng(0).standard_normal(5120) * 0.1
    heard = torch.from_numpy(log_mel(np.stack([tone, noise]).astype(np.float32)))
    mask = torch.ones(2, heard.shape[-1], dtype=torch.long)
    audio = model.thinker.get_audio_features(heard, feature_attention_mask=mask).last_hidden_state.view(2, 4, -1)
    prompt = model.thinker.get_input_embeddings()(torch.arange(40, 50))[None].expand(2, -1, -1)
    embeds = torch.cat([audio, prompt], 1)
    places = torch.arange(embeds.shape[1]).view(1, 1, -1).expand(3, 2, -1)
    logits = model.thinker(inputs_embeds=embeds, position_ids=places).logits[:, -1]
    assert (logits[0] - logits[1]).abs().max() > 0.1 * logits.std()


@torch.no_grad()
def test_vocoder_has_a_long_context_and_does_not_clip(model):
    codes = torch.randint(2048, (1, 16, 40), generator=torch.Generator().manual_seed(0))
    wave = model.code2wav(codes)
    assert wave.shape[-1] == 40 * 1920 - 555
    assert (wave.abs() == 1).float().mean() < 0.1
    codes[..., 0] = (codes[..., 0] + 1) % 2048
    changed = model.code2wav(codes)[..., -1920:] - wave[..., -1920:]
    assert changed.abs().max() > 1e-4
