"""Loading Qwen3-Omni from a folder or from the hub cache at a pinned commit, with an adapter, and the errors."""

import copy
import json
import re
import shutil
import sys
import tomllib
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file, save_file

from sca.config import QwenConfig
from sca.config.sections.qwen import DEFAULT_MODEL
from sca.distribution import install_extra, install_packages
from sca.errors import ConfigError, InputError, MissingToolError, UpstreamError
from sca.infer.engines.qwen_omni.loading import load, quantised, requirements
from sca.infer.engines.qwen_omni.loading.adapter import check_adapter, merge
from sca.infer.engines.qwen_omni.loading.flops import ChunkWork, chunk_work, parameters, skeleton
from sca.infer.engines.qwen_omni.loading.load import load_model
from sca.infer.engines.qwen_omni.loading.requirements import Speed, measure, pace
from sca.infer.engines.qwen_omni.loading.self_check import check_audio_tower
from sca.resources import hub_commits
from sca.tokenizer import load_tokenizer
from sca.train.tiny import build, tiny_config
from sca.units import Grid

TOKENS = torch.arange(100, 120)[None]


built = cache(build)
read_once = cache(load_tokenizer)


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    """A tokenizer of the same folder is read once: 1 s each."""
    torch.set_num_threads(1)  # more threads are slower on a busy machine
    monkeypatch.setattr(load, "load_tokenizer", read_once)


def fresh():
    """A copy of the tiny model, which is faster than to build one."""
    return copy.deepcopy(built())


def config_of(folder, **more):
    return QwenConfig(model_id=str(folder), **{"device_map": "cpu", "torch_dtype": "float32"} | more)


def linked(tiny_omni, folder, *, without=(), config=None):
    """A copy of the tiny folder with links, and with changes to its config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in tiny_omni.iterdir():
        if path.name not in without and not (config and path.name == "config.json"):
            (folder / path.name).symlink_to(path)
    if config:
        document = json.loads((tiny_omni / "config.json").read_text(encoding="utf-8"))
        config(document)
        (folder / "config.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


# Folders and hubs


@pytest.mark.parametrize(
    ("without", "match"),
    [
        ("config.json", "config.json is missing"),
        ("model.safetensors", "model.safetensors missing"),
        ("tokenizer.json", "does not contain a tokenizer"),
    ],
)
def test_folder_that_lacks_a_file(tiny_omni, tmp_path, without, match):
    with pytest.raises(InputError, match=match):
        load_model(config_of(linked(tiny_omni, tmp_path / "model", without=[without])))


def test_missing_shard_other_model_and_damaged_weights(tiny_omni, tmp_path):
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_omni / name, tmp_path)
    config = QwenConfig(model_id=str(tmp_path), device_map="cpu")
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_model(config)
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match=r"lacks weights: model-2\.safetensors missing"):
        load_model(config)
    (tmp_path / "config.json").write_text('{"model_type": "qwen3"}')
    with pytest.raises(InputError, match="of type qwen3"):
        load_model(config)


def test_unreachable_hub_and_missing_extra(monkeypatch):
    with pytest.raises(UpstreamError, match="no-such-omni: it is not in the local cache, and HF_HUB_OFFLINE is set"):
        load_model(QwenConfig(model_id="nobody/no-such-omni"))
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(MissingToolError, match="needs accelerate") as refused:
        load_model(QwenConfig())
    assert install_extra("live") in refused.value.hint


def test_default_model_uses_the_pinned_commit(tiny_omni, tmp_path, monkeypatch):
    """Without a network, from a cache with this commit but without a branch name."""
    assert QwenConfig(revision="main").model_revision == "main"
    assert QwenConfig(model_id="somebody/other").model_revision is None
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    linked(
        tiny_omni, tmp_path / f"models--{DEFAULT_MODEL.replace('/', '--')}" / "snapshots" / hub_commits()[DEFAULT_MODEL]
    )
    loaded = load_model(QwenConfig(device_map="cpu"))
    model, tokenizer = loaded.model, loaded.tokenizer
    assert (model.dtype, tokenizer.name) == (torch.bfloat16, DEFAULT_MODEL)
    with pytest.raises(UpstreamError, match="not in the local cache"):
        load_model(QwenConfig(device_map="cpu", revision="main"))


# Devices


@pytest.mark.parametrize(
    ("device_map", "match"),
    [
        ("banana", "which is not a device"),
        ("meta", "cannot run this engine"),
        ("cuda:99", "but th(is machine does not have an NVIDIA GPU|e last of the)"),
    ],
)
def test_missing_device(tiny_omni, device_map, match):
    with pytest.raises(ConfigError, match=match):
        load_model(config_of(tiny_omni, device_map=device_map))


def test_attention_kernels(tiny_omni):
    logits = []
    for kernel in ("sdpa", "eager"):
        model = load_model(config_of(tiny_omni, attn_implementation=kernel)).model
        assert model.thinker.model.language_model.config._attn_implementation == kernel
        with torch.inference_mode():
            logits.append(model.thinker(input_ids=TOKENS, use_cache=False).logits)
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-4)
    with pytest.raises(ConfigError, match="attn_implementation banana"):
        load_model(config_of(tiny_omni, attn_implementation="banana"))
    with pytest.raises(MissingToolError, match="flash_attention_2"):
        load_model(config_of(tiny_omni, attn_implementation="flash_attention_2"))


def test_rejects_too_large_model_before_reading_weights(tiny_omni, tmp_path):
    def grow(document):
        document["thinker_config"]["text_config"]["vocab_size"] = 10**11

    folder = linked(tiny_omni, tmp_path / "model", config=grow)
    with pytest.raises(
        ConfigError, match=r"needs 5\.12e\+04 GB in float32 \(weights 5\.12e\+04 GB, a conversation"
    ) as refused:
        load_model(config_of(folder))
    assert "free in main memory" in str(refused.value)
    assert "qwen.torch_dtype=bfloat16" in refused.value.hint


def test_rejects_a_model_without_talker(tiny_omni, tmp_path):
    folder = linked(tiny_omni, tmp_path / "model", config=lambda document: document.update(enable_audio_output=False))
    with pytest.raises(InputError, match="does not have a talker"):
        load_model(config_of(folder))


def test_estimates_the_speed_without_a_gpu(tiny_omni, caplog):
    load_model(config_of(tiny_omni))
    (message,) = [record.message for record in caplog.records if "no GPU found" in record.message]
    assert "a chunk of 0.32 s takes about" in message
    assert pace(ChunkWork(10**9, 10**10), Speed(2e9, 1e12), torch.bfloat16, Grid()) == (
        "a chunk of 0.32 s takes about 1 s or more on this processor, 3.1 times its duration: 2 GB of weights are read, "
        "at 2 GB/s, for 10 GFLOP, at 1e+03/s in bfloat16 (measured just now)"
    )
    assert measure(torch.float32).flops > 1e6


def test_counts_the_work_of_a_chunk():
    """The share of the thinker computed by hand; two more text tokens are two more forwards of one token."""
    model = skeleton(tiny_config())
    assert parameters(model) == parameters(fresh())
    two, four = (chunk_work(model, Grid(), text) for text in (2, 4))
    language = model.thinker.model.language_model
    dense = sum(w.numel() for n, w in language.named_parameters() if ".experts." not in n and "embed" not in n)
    experts = sum(w.numel() for n, w in language.named_parameters() if ".experts." in n) * 2 // 4
    once = dense + experts + model.thinker.lm_head.weight.numel()
    assert four.weights - two.weights == 2 * once
    assert four.flops - two.flops == 2 * 2 * once


def test_vision_tower_is_not_loaded(tiny_omni, caplog):
    """It is in the folder, and its weights are neither read nor reported as left over."""
    model = load_model(config_of(tiny_omni)).model
    assert model.thinker.model.visual is None
    assert "visual" not in caplog.text
    torch.testing.assert_close(logits_of(model), logits_of(fresh()))


# Quantised weights


@pytest.mark.parametrize(
    ("method", "package"),
    [
        ("awq", "gptqmodel"),
        ("gptq", "optimum and gptqmodel"),
        ("bitsandbytes", "bitsandbytes"),
        ("compressed-tensors", "compressed-tensors"),
    ],
)
def test_names_the_package_of_quantised_weights(tiny_omni, tmp_path, monkeypatch, method, package):
    monkeypatch.setattr(quantised, "find_spec", lambda _name: None)
    settings = {"quant_method": method, "bits": 4, "group_size": 128, "load_in_4bit": True}
    folder = linked(tiny_omni, tmp_path / "model", config=lambda one: one.update(quantization_config=settings))
    with pytest.raises(MissingToolError, match=f"are quantised with {method}, which requires {package}$") as refused:
        load_model(config_of(folder))
    assert refused.value.hint == install_packages(*package.split(" and "))


def test_fp8_weights_are_expanded_on_a_cpu(tiny_omni, tmp_path):
    """Blocks of 32 × 32 with a scale each. The size on disk is that of the stored weights without the vision tower."""
    block, weights = 32, load_file(tiny_omni / "model.safetensors")
    name = "thinker.model.layers.0.self_attn.q_proj.weight"
    expected = None
    for key in [one for one in weights if one.startswith("thinker.model.layers.") and one.endswith("proj.weight")]:
        pieces = weights[key].view(weights[key].shape[0] // block, block, -1, block)
        scale = pieces.abs().amax((1, 3)) / torch.finfo(torch.float8_e4m3fn).max
        weights[key] = (pieces / scale[:, None, :, None]).view_as(weights[key]).to(torch.float8_e4m3fn)
        weights[key.replace("weight", "weight_scale_inv")] = scale
        if key == name:
            wide = weights[key].float().view_as(pieces) * scale[:, None, :, None]
            expected = wide.view_as(weights[key])
    settings = {"quant_method": "fp8", "weight_block_size": [block, block], "modules_to_not_convert": ["lm_head"]}
    folder = linked(
        tiny_omni,
        tmp_path / "model",
        without=["model.safetensors"],
        config=lambda one: one.update(quantization_config=settings),
    )
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    model = load_model(config_of(folder)).model
    torch.testing.assert_close(model.thinker.model.language_model.layers[0].self_attn.q_proj.weight.data, expected)
    sizes = quantised.stored_bytes(str(folder), None)
    thinker = [one for key, one in weights.items() if key.startswith("thinker.") and ".visual." not in key]
    assert sizes["thinker"] == sum(one.numel() * one.element_size() for one in thinker)
    assert set(sizes) == {"thinker", "talker", "code2wav"}


def test_refuses_weights_that_are_not_quantised_as_configured(tiny_omni, tmp_path):
    settings = {"quant_method": "fp8", "weight_block_size": [32, 32]}
    folder = linked(tiny_omni, tmp_path / "model", config=lambda one: one.update(quantization_config=settings))
    with pytest.raises(InputError, match=r"do not fit its config.json \(quantised with fp8\): "):
        load_model(config_of(folder, torch_dtype="bfloat16"))


# Adapters


def adapted(folder, **lora):
    """A tiny model with random LoRA weights, in training form; the adapter is saved."""
    model = fresh()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        wrapped = PeftModel(model if lora.pop("whole", False) else model.thinker, LoraConfig(r=4, **lora))
        for name, weight in wrapped.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(weight, std=0.1)
    wrapped.save_pretrained(folder)
    return model


def logits_of(model):
    with torch.inference_mode():
        return model.thinker(input_ids=TOKENS, use_cache=False).logits


@pytest.mark.parametrize(
    "lora",
    [
        {"target_modules": ["q_proj", "o_proj"]},
        {"target_modules": ["q_proj", "v_proj"], "whole": True},
        {"target_modules": ["q_proj"], "target_parameters": ["mlp.experts.gate_up_proj"]},
    ],
    ids=["of the thinker", "of the whole model", "of the experts"],
)
def test_merged_adapter_gives_the_logits_of_peft(tmp_path, lora):
    expected = logits_of(adapted(tmp_path, **lora))
    model = fresh()
    before = logits_of(model)
    merge(model, tmp_path)
    assert not any("lora" in name for name, _ in model.named_parameters())
    scale = expected.abs().max()
    assert (logits_of(model) - expected).abs().max() <= 1e-5 * scale
    assert (before - expected).abs().max() > 0.01 * scale


def test_adapter_setting_and_names_of_transformers_4(tiny_omni, tmp_path):
    expected = logits_of(adapted(tmp_path, target_modules=["q_proj", "v_proj"], whole=True))
    file = tmp_path / "adapter_model.safetensors"
    renamed = {
        name.replace("thinker.model.language_model.", "thinker.model."): w for name, w in load_file(file).items()
    }
    assert any("thinker.model.layers" in name for name in renamed)
    save_file(renamed, file, metadata={"format": "pt"})
    model = load_model(config_of(tiny_omni, adapter=str(tmp_path))).model
    assert (logits_of(model) - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_rejects_adapters_that_do_not_fit(tmp_path):
    def refused(match):
        with pytest.raises(InputError, match=match):
            both()

    def both():
        check_adapter(tmp_path)
        merge(fresh(), tmp_path)

    refused("adapter_config.json is missing")
    adapted(tmp_path, target_modules=["q_proj"])
    file, config = tmp_path / "adapter_model.safetensors", tmp_path / "adapter_config.json"
    weights = load_file(file)
    first = next(iter(weights))
    save_file(
        {**weights, first.replace("layers.0", "layers.77"): weights[first].clone()}, file, metadata={"format": "pt"}
    )
    refused("is for another model: 1 of its weights do not exist in it: .*layers.77")
    save_file({name: w for name, w in weights.items() if name != first}, file, metadata={"format": "pt"})
    refused("is for another model: 1 of its weights do not exist in it")
    save_file({**weights, first: weights[first][:, :-1].contiguous()}, file, metadata={"format": "pt"})
    refused("cannot be used: ")
    file.write_bytes(b"not weights")
    refused("cannot be used: ")
    file.unlink()
    refused("adapter_model.safetensors missing")
    config.write_text(json.dumps({**json.loads(config.read_text()), "peft_type": "IA3"}))
    refused("of type IA3")
    config.write_text("{")
    refused("cannot be read")


def test_adapter_without_peft(tiny_omni, tmp_path, monkeypatch):
    adapted(tmp_path, target_modules=["q_proj"])
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingToolError, match="needs peft"):
        load_model(config_of(tiny_omni, adapter=str(tmp_path)))


# Self-check


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_self_check_of_the_audio_tower(dtype):
    """A tower that adds a part of the mean over all tokens, so that chunks hear each other."""
    model = fresh().to(getattr(torch, dtype))
    check_audio_tower(model, "sdpa")
    norm = model.thinker.model.audio_tower.layers[1].self_attn_layer_norm
    hook = norm.register_forward_hook(lambda module, inputs, out: out + 0.05 * out.mean(0, keepdim=True))
    match = rf"transformers {re.escape(version('transformers'))} with the attention kernel sdpa in {dtype} does not"
    with pytest.raises(ConfigError, match=match):
        check_audio_tower(model, "sdpa")
    hook.remove()
    model.thinker.model.audio_tower.ln_post.weight.data.fill_(float("nan"))
    with pytest.raises(ConfigError, match="differs by inf"):
        check_audio_tower(model, "sdpa")


def test_versions_below_the_floors_are_named(tiny_omni, monkeypatch):
    extra = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"][
        "live"
    ]
    for name, least in requirements.FLOORS.items():
        assert f"{name}>={least}" in extra
    monkeypatch.setattr(requirements, "version", lambda name: "5.20.2" if name == "transformers" else "9")
    with pytest.raises(MissingToolError, match=r"needs transformers 5\.21 or newer; 5\.20\.2 is installed"):
        load_model(config_of(tiny_omni))
