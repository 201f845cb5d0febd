"""What `sca train` makes trainable, and that the live engine merges each kind of adapter."""

import json

import pytest
import torch
from transformers import (
    Qwen3OmniMoeForConditionalGeneration,
    Qwen3OmniMoeThinkerConfig,
    Qwen3OmniMoeThinkerForConditionalGeneration,
)

from sca.config import load_settings
from sca.errors import ConfigError, InputError
from sca.infer.engines.qwen_omni.loading.adapter import merge
from sca.tokenizer import BUILTIN_QWEN, load_tokenizer
from sca.train.model.parts import PARTS
from sca.train.model.prepare import check_trainable, make_trainable
from sca.train.tiny import GAIN, tiny_config, tiny_thinker

VOCABULARY = 512
IDS = {"duplex.silence_token_id": "301", "duplex.hold_id": "302", "train.rank": "4"}
LAYERS = "model.language_model.layers."


def whole_model():
    """A model like that of `make_thinker` with talker and vocoder, as the live engine has it."""
    config = tiny_config(books=3, vocoder_width=16)
    config.thinker_config = Qwen3OmniMoeThinkerConfig(**small(layers=1))
    whole = Qwen3OmniMoeForConditionalGeneration(config).eval()
    whole.thinker = make_thinker()
    return whole


def small(**more):
    config = tiny_thinker(**more)
    config["text_config"]["vocab_size"] = VOCABULARY
    return config


def make_thinker(**more):
    config = small(layers=1, **more)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        thinker = Qwen3OmniMoeThinkerForConditionalGeneration(Qwen3OmniMoeThinkerConfig(**config)).eval()
    with torch.no_grad():
        for weight in thinker.parameters():
            if weight.dim() >= 2:
                weight.mul_(GAIN)
    thinker.model.visual = None
    return thinker


def trained(tmp_path, thinker=None, **changes):
    settings = load_settings(overrides=IDS | changes, env={})
    thinker = make_thinker() if thinker is None else thinker
    return make_trainable(thinker, load_tokenizer(BUILTIN_QWEN), thinker.config, settings, tmp_path)


def logits_of(thinker):
    generator = torch.Generator().manual_seed(1)
    ids = torch.cat([torch.arange(0, 500, 20), torch.tensor([301, 302])])[None]
    with torch.no_grad():
        mel = torch.randn(1, 128, 32, generator=generator)
        heard = thinker.get_audio_features(mel, torch.ones(1, 32, dtype=torch.int64)).pooler_output
        return thinker(inputs_embeds=torch.cat([heard[None], thinker.get_input_embeddings()(ids)], 1)).logits


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"train.targets": "attention,experts,router,lm_head"},
        {"train.targets": "attention,lm_head", "train.token_rows": "true"},
        {"train.token_rows": "true"},
        {"train.targets": "embeddings,audio_tower"},
    ],
)
def test_adapter_trains_only_what_is_requested_and_merges(tmp_path, changes):
    model = trained(tmp_path, **changes)
    before = logits_of(make_thinker())
    for name in model.trainable:
        torch.nn.init.normal_(model.learner.get_parameter(name), std=0.1)
    parts = changes.get("train.targets", "attention").split(",")
    for part, end in {"attention": "o_proj", "experts": "experts", "router": "mlp.gate", "audio_tower": "fc1"}.items():
        assert (part in parts) == any(f"{end}." in name for name in model.trainable), part
    model.save(tmp_path / "adapter")
    live = whole_model()
    merge(live, tmp_path / "adapter")
    adapted = logits_of(model.thinker)
    assert float((adapted - before).abs().max()) > 0.1
    torch.testing.assert_close(logits_of(live.thinker), adapted, rtol=1e-3, atol=1e-3)


def test_adapter_starts_where_another_ended(tmp_path):
    first = trained(tmp_path, **{"train.targets": "attention,experts", "train.token_rows": "true"})
    for name in first.trainable:
        torch.nn.init.normal_(first.learner.get_parameter(name), std=0.1)
    first.save(tmp_path / "first")
    settings = load_settings(overrides={"train.adapter": str(tmp_path / "first")}, env={})
    thinker = make_thinker()
    second = make_trainable(thinker, first.tokenizer, thinker.config, settings, tmp_path)
    assert second.trainable == first.trainable
    assert torch.equal(logits_of(second.thinker), logits_of(first.thinker))


def test_adapter_of_another_model_is_refused(tmp_path):
    trained(tmp_path).save(tmp_path / "first")
    settings = load_settings(overrides={"train.adapter": str(tmp_path / "first")}, env={})
    wider = make_thinker(hidden=32)
    with pytest.raises(
        InputError,
        match=r"train\.adapter: the adapter in .* does not fit this model: 4 of its weights have another shape",
    ):
        make_trainable(wider, load_tokenizer(BUILTIN_QWEN), wider.config, settings, tmp_path)
    config = tmp_path / "first" / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"target_modules": ["q_proj", "v_proj"]}))
    with pytest.raises(InputError, match="does not have by these names: q_proj, v_proj"):
        make_trainable(make_thinker(), load_tokenizer(BUILTIN_QWEN), wider.config, settings, tmp_path)


@pytest.mark.parametrize("part", PARTS)
def test_full_training_thaws_one_part(tmp_path, part):
    names = trained(tmp_path, THINKER, **{"train.method": "full", "train.targets": part}).trainable
    towers = {"audio_tower": "model.audio_tower.", "embeddings": "model.language_model.embed", "lm_head": "lm_head."}
    assert names
    assert all(name.startswith(towers.get(part, "model.language_model.")) for name in names)
    assert sum(THINKER.get_parameter(name).requires_grad for name, _ in THINKER.named_parameters()) == len(names)


def test_weights_that_were_not_requested_are_an_error():
    wanted = [f"{LAYERS}0.self_attn.q_proj", f"{LAYERS}0.mlp.experts.down_proj", "lm_head"]
    names = [
        f"base_model.model.{LAYERS}0.self_attn.q_proj.lora_A.default.weight",
        f"base_model.model.{LAYERS}0.mlp.experts.lora_A.default.weight",
        "base_model.model.lm_head.token_adapter.trainable_tokens_delta.default",
    ]
    check_trainable(names, wanted)
    spread = "base_model.model.model.audio_tower.layers.0.self_attn.q_proj.lora_A.default.weight"
    with pytest.raises(ConfigError, match=r"1 weights of the model would be trained too: .*audio_tower"):
        check_trainable([*names, spread], wanted)
    with pytest.raises(ConfigError, match="1 parts of the model would not be trained: lm_head"):
        check_trainable(names[:2], wanted)


def test_dropout_is_refused_for_stacked_experts(tmp_path):
    with pytest.raises(ConfigError, match="dropout cannot be used for experts"):
        trained(tmp_path, **{"train.targets": "experts", "train.dropout": "0.1"})


THINKER = make_thinker()
