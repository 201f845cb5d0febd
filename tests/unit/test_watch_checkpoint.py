"""Checkpoints of MiniCPM before their weights are read: missing files, quantization, number format, voice."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from sca.config import VisionConfig
from sca.errors import ConfigError, InputError, MissingToolError
from sca.watch.engines.minicpm.checkpoint import (
    Checkpoint,
    complete_quantization,
    open_checkpoint,
    unquantized_modules,
    weights_dtype,
)
from sca.watch.engines.minicpm.omni import check_code, voice_files

AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "modules_to_not_convert": None}
SHAPES = {
    "llm.model.embed_tokens.weight": (1000, 64),
    "llm.model.layers.0.self_attn.q_proj.qweight": (64, 8),
    "llm.model.layers.0.self_attn.q_proj.qzeros": (1, 8),
    "llm.model.layers.0.input_layernorm.weight": (64,),
    "llm.model.layers.0.mlp.gate.weight": (4, 64),
    "llm.lm_head.weight": (1000, 64),
    "vpm.encoder.layers.0.mlp.fc2.weight": (1152, 4304),
    "vpm.embeddings.patch_embedding.weight": (1152, 3, 14, 14),
    "resampler.kv_proj.weight": (64, 1152),
    "tts.emb_text.weight": (100, 64),
}


def checkpoint(quantization=None, kind="minicpmv4_6"):
    config = {"model_type": kind} | ({"quantization_config": quantization} if quantization else {})
    return Checkpoint(Path("model"), config, SHAPES)


def save(folder, *, kind="minicpmv4_6", shards=0, **more):
    folder.mkdir()
    for name in ("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_text("{}")
    (folder / "config.json").write_text(json.dumps({"model_type": kind, **more}))
    names = [f"model-{n + 1:05}-of-{shards:05}.safetensors" for n in range(shards)] or ["model.safetensors"]
    for number, name in enumerate(names):
        save_file({f"layer.{number}.weight": np.zeros((2, 3), np.float32)}, folder / name)
    if shards:
        index = {"weight_map": {f"layer.{n}.weight": name for n, name in enumerate(names)}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def opened(folder, **fields):
    return open_checkpoint(VisionConfig(checkpoint=str(folder), **fields))


def test_unquantized_modules_are_the_shortest_paths():
    assert unquantized_modules(SHAPES) == [
        "llm.lm_head",
        "llm.model.embed_tokens",
        "llm.model.layers.0.mlp",
        "resampler",
        "tts",
        "vpm",
    ]


def test_null_is_completed_and_a_list_is_left_alone():
    config = checkpoint(AWQ).config
    assert "vpm" in complete_quantization(config, SHAPES)["modules_to_not_convert"]
    assert config["quantization_config"]["modules_to_not_convert"] is None
    given = AWQ | {"modules_to_not_convert": ["vision"]}
    assert complete_quantization(checkpoint(given).config, SHAPES) == given
    assert complete_quantization(checkpoint().config, SHAPES) == {}


@pytest.mark.parametrize(
    ("quantization", "wanted", "device", "expected"),
    [
        (None, "auto", "cpu", "float32"),
        (None, "auto", "cuda:1", "bfloat16"),
        (None, "float16", "cuda:0", "float16"),
        (AWQ, "auto", "cuda:0", "float16"),
    ],
)
def test_number_format(quantization, wanted, device, expected):
    assert weights_dtype(checkpoint(quantization), wanted, device) == expected


def test_awq_needs_float16_and_a_gpu():
    with pytest.raises(ConfigError, match="not bfloat16"):
        weights_dtype(checkpoint(AWQ), "bfloat16", "cuda:0")
    with pytest.raises(ConfigError, match="needs an NVIDIA GPU"):
        weights_dtype(checkpoint(AWQ), "auto", "cpu")


def test_complete_folders_open(tmp_path):
    one = opened(save(tmp_path / "one", quantization_config=AWQ))
    assert (one.is_native, one.is_awq, dict(one.shapes)) == (True, True, {"layer.0.weight": (2, 3)})
    assert set(opened(save(tmp_path / "two", shards=2)).shapes) == {"layer.0.weight", "layer.1.weight"}


@pytest.mark.parametrize(
    "name", ["config.json", "model-00002-of-00003.safetensors", "tokenizer.json", "preprocessor_config.json"]
)
def test_missing_file_is_named(tmp_path, name):
    folder = save(tmp_path / "m", shards=3)
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"is not complete: {name} is missing"):
        opened(folder)


def test_damaged_files_and_other_kinds(tmp_path):
    folder = save(tmp_path / "m")
    (folder / "model.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(InputError, match=r"model\.safetensors is damaged"):
        opened(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json cannot be read"):
        opened(folder)
    with pytest.raises(InputError, match="a model of type llama"):
        opened(save(tmp_path / "llama", kind="llama"))
    with pytest.raises(MissingToolError) as caught:
        opened("nobody/nothing")
    assert "hf download nobody/nothing" in caught.value.hint


def test_own_code_needs_permission_and_its_files(tmp_path):
    folder = save(tmp_path / "o", kind="minicpmo", auto_map={"AutoModel": "modeling_minicpmo.MiniCPMO"})
    with pytest.raises(ConfigError) as caught:
        opened(folder)
    assert "--trust-remote-code" in caught.value.hint
    with pytest.raises(InputError, match=r"modeling_minicpmo\.py is missing"):
        opened(folder, trust_remote_code=True)


def test_voice_that_is_missing_names_the_command(tmp_path):
    found = Checkpoint(tmp_path, {}, {})
    with pytest.raises(
        MissingToolError, match=r"the vocoder in .*token2wav is not complete: campplus\.onnx, "
    ) as caught:
        voice_files(found, VisionConfig())
    assert caught.value.hint == f'hf download openbmb/MiniCPM-o-4_5 --include "assets/*" --local-dir {tmp_path}'
    vocoder = tmp_path / "assets" / "token2wav"
    vocoder.mkdir(parents=True)
    for name in ("campplus.onnx", "flow.pt", "flow.yaml", "hift.pt", "speech_tokenizer_v2_25hz.onnx"):
        (vocoder / name).touch()
    with pytest.raises(MissingToolError, match="the reference voice"):
        voice_files(found, VisionConfig())
    (tmp_path / "assets" / "a_ref_audio.wav").touch()
    assert voice_files(found, VisionConfig()) == (vocoder, tmp_path / "assets" / "a_ref_audio.wav")


def test_old_copy_of_the_code_is_noticed(tmp_path):
    source = Path(__file__)
    (tmp_path / source.name).write_bytes(source.read_bytes())

    class Model:
        pass

    check_code(Model, tmp_path)
    (tmp_path / source.name).write_text("changed")
    with pytest.raises(ConfigError, match="is an old copy of") as caught:
        check_code(Model, tmp_path)
    assert f"delete {source.parent}" in caught.value.hint
