"""The engine of a session that names none: by the settings, else by the machine."""

import json

import pytest

from sca.config import load_settings
from sca.distribution import install_extra
from sca.infer.engines.choice import (
    EngineOption,
    _qwen_option,
    asked_engine,
    choose_engine,
    simple_engine,
)
from sca.models.gpus import Gpu, nvidia_gpus

QWEN, NO_QWEN = EngineOption("qwen-omni"), EngineOption("qwen-omni", "no NVIDIA GPU")
CASCADE, NO_CASCADE = (
    EngineOption("cascade"),
    EngineOption("cascade", "no voice, no recognizer", "sca models get piper-joe"),
)
PARROT = EngineOption("parrot")


def settings(env=None, file=None, **given):
    return load_settings(file, {name.replace("__", "."): value for name, value in given.items()}, env=env or {})


@pytest.mark.parametrize(
    ("options", "name", "line"),
    [
        ((QWEN, CASCADE, PARROT), "qwen-omni", "engine qwen-omni, the best that can run here"),
        ((QWEN, NO_CASCADE, PARROT), "qwen-omni", "engine qwen-omni, the best that can run here"),
        (
            (NO_QWEN, CASCADE, PARROT),
            "cascade",
            "engine cascade, the best that can run here; not qwen-omni: no NVIDIA GPU",
        ),
        (
            (NO_QWEN, NO_CASCADE, PARROT),
            "parrot",
            "engine parrot, the best that can run here; not qwen-omni: no NVIDIA GPU; not cascade: no voice, no recognizer "
            "(for cascade: sca models get piper-joe)",
        ),
    ],
)
def test_best_engine_of_the_machine(options, name, line):
    choice = choose_engine(settings(), lambda _: options)
    assert (choice.name, choice.line) == (name, line)


@pytest.mark.parametrize(
    ("given", "env", "name", "reason"),
    [
        ({"live__engine": "parrot"}, {}, "parrot", "named by the command line"),
        ({"live__engine": "mine", "llm__model": "big"}, {}, "mine", "named by the command line"),
        ({}, {"SCA_LIVE_ENGINE": "parrot"}, "parrot", "named by the environment SCA_LIVE_ENGINE"),
        (
            {},
            {"SCA_QWEN_MODEL_ID": "/models/omni"},
            "qwen-omni",
            "because qwen.model_id is set by the environment SCA_QWEN_MODEL_ID",
        ),
        (
            {},
            {"SCA_QWEN_MODEL_ID": "Qwen/Qwen3-Omni-30B-A3B-Instruct"},  # the default, but asked for
            "qwen-omni",
            "because qwen.model_id is set by the environment SCA_QWEN_MODEL_ID",
        ),
        ({"vllm__base_url": "http://127.0.0.1:8091", "llm__model": "big"}, {}, "vllm-omni", None),
        ({"llm__base_url": "http://127.0.0.1:8080/v1"}, {}, "cascade", None),
        ({"llm__model": "big"}, {}, "cascade", None),
    ],
)
def test_asked_engine_is_never_replaced(given, env, name, reason):
    def never(_):
        raise AssertionError("the machine does not matter")

    choice = choose_engine(settings(env, **given), never)
    assert choice.name == name
    assert choice.advice is None
    assert reason in (None, choice.reason)
    assert simple_engine(settings(env, **given)) == name


def test_file_with_all_defaults_asks_for_no_engine(tmp_path):
    file = tmp_path / "sca.toml"
    file.write_text('[qwen]\nmodel_id = "Qwen/Qwen3-Omni-30B-A3B-Instruct"\n')
    assert asked_engine(settings(file=file)) is None
    assert simple_engine(settings(file=file)) == "parrot"
    file.write_text('[qwen]\nmodel_id = "other/model"\n')
    assert asked_engine(settings(file=file)).name == "qwen-omni"


def test_qwen_omni_needs_a_gpu_and_complete_weights_that_fit(tmp_path, monkeypatch):
    monkeypatch.setattr("sca.infer.engines.choice.find_spec", lambda name: object())
    used, gpu = settings(qwen__model_id=str(tmp_path)), Gpu("H200", 2, "1.0")
    assert _qwen_option(used, []).problem == "no NVIDIA GPU"
    assert _qwen_option(used, [gpu]).problem == f"no weights of {tmp_path}"
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "1.bin", "b": "2.bin"}}))
    (tmp_path / "1.bin").write_bytes(bytes(1 << 20))
    assert _qwen_option(used, [gpu]).problem == f"no weights of {tmp_path}"
    (tmp_path / "2.bin").write_bytes(bytes(2 << 20))
    assert _qwen_option(used, [gpu]).problem == "its weights have 3 MiB, and the GPU 2 MiB"
    assert _qwen_option(used, [gpu, gpu]).place == "the thinker on one GPU, talker and vocoder on another"
    assert _qwen_option(used, [gpu, Gpu("H200", 3, "1.0")]).place == "on one GPU (H200)"
    small = Gpu("T4", 1, "1.0")
    assert _qwen_option(used, [small] * 4).problem == "its weights have 3 MiB, and the two largest GPUs 2 MiB"
    choice = choose_engine(settings(), lambda _: [EngineOption("qwen-omni", place="on one GPU (H200)")])
    assert choice.found == "qwen-omni, the best that can run here, on one GPU (H200)"
    monkeypatch.setattr("sca.infer.engines.choice.find_spec", lambda name: None)
    assert _qwen_option(used, [gpu]).fix == install_extra("live")


def test_gpus_are_read_from_the_driver(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA H200, 143771, 570.1'\necho 'a warning'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list(map(str, nvidia_gpus())) == ["NVIDIA H200, 143771 MiB, 570.1"]
    program.write_text("#!/bin/sh\nexit 9\n")
    assert nvidia_gpus() == []
