"""Finding the weights of a turn model, settings of the turn server, loopback addresses and keys."""

import os
import shutil
import subprocess
import sys

import pytest

from sca.config import TURN_ENV, load_settings
from sca.distribution import install_extra
from sca.errors import ConfigError, InputError, MissingToolError, UpstreamError
from sca.infer.server.core.security import check_bind, is_loopback, key_matches
from sca.infer.turn.models import weights
from sca.infer.turn.models.smart_turn_v3 import SmartTurnV3
from sca.infer.turn.models.weights import bundled_file, find_weights
from tests.helpers.fake_hub import fake_hub


def test_default_is_the_file_inside_pipecat():
    loaded = "pipecat" in sys.modules
    found = find_weights(None)
    assert (found.version, found.known) == ("v3", True)
    assert found.path == bundled_file()
    assert ("pipecat" in sys.modules) == loaded


def test_error_without_pipecat_names_the_extra(monkeypatch):
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    with pytest.raises(MissingToolError, match="pipecat-ai") as missing:
        find_weights(None)
    assert install_extra("pipecat") in missing.value.hint


def test_finds_a_file_and_a_folder(tmp_path, caplog):
    copy = tmp_path / "smart-turn-v3.2-cpu.onnx"
    shutil.copy(bundled_file(), copy)
    assert find_weights(str(copy)).known
    assert find_weights(str(tmp_path)).path == copy
    assert not caplog.records
    copy.write_bytes(copy.read_bytes() + b"\0")
    assert not find_weights(str(copy)).known
    assert "sha256 differs" in caplog.text


@pytest.mark.parametrize(
    ("names", "newest"),
    [
        (["v3.0", "v3.1-cpu", "v3.1-gpu", "v3.2-cpu", "v3.2-gpu"], "v3.2-cpu"),
        (["v3.9-cpu", "v3.10-gpu", "v3.10"], "v3.10"),
        (["v3.1-cpu", "v3.2-gpu"], "v3.2-gpu"),
        (["v3", "v3.0-cpu", "model"], "v3.0-cpu"),
    ],
)
def test_takes_the_newest_file_of_a_folder(tmp_path, names, newest):
    for name in [*names, "notes-v9"]:
        (tmp_path / f"smart-turn-{name}.onnx").write_bytes(b"x")
    (tmp_path / "smart-turn-notes-v9.onnx").rename(tmp_path / "smart-turn-v9.txt")
    found = find_weights(str(tmp_path))
    assert found.path.name == f"smart-turn-{newest}.onnx"
    assert found.name == str(found.path)


def test_downloads_one_file(tmp_path):
    """The newest .onnx file of a hub id, or the named one; without a network, the one that was downloaded."""
    code = "import sys; from sca.infer.turn.models.weights import find_weights as f; print(f(sys.argv[1]).name)"

    def named(model, url, offline="0"):
        env = {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": offline, "HF_HUB_DISABLE_XET": "1"}
        done = subprocess.run(
            [sys.executable, "-c", code, model], capture_output=True, text=True, check=False, env=os.environ | env
        )
        return done.stdout.strip() or done.stderr

    with fake_hub() as hub:
        hub.files = {f"turn-{version}.onnx": version.encode() for version in ("v3.1-cpu", "v3.2-cpu", "v3.2-gpu")}
        assert named("a/turn", hub.url) == "a/turn/turn-v3.2-cpu.onnx"
        assert {name.rpartition("/")[2] for name, _ in hub.read} == {"turn-v3.2-cpu.onnx"}
        assert named("a/turn", hub.url, offline="1") == "a/turn/turn-v3.2-cpu.onnx"
        assert named("a/turn/turn-v3.1-cpu.onnx", hub.url) == "a/turn/turn-v3.1-cpu.onnx"
        assert "cannot download a/turn/none.onnx" in named("a/turn/none.onnx", hub.url)


def test_folder_with_a_config_is_v2(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert find_weights(str(tmp_path)).version == "v2"


@pytest.mark.parametrize("name", ["/nowhere/model.onnx", "./nowhere", "model.onnx", "nowhere"])
def test_rejects_missing_paths(name):
    with pytest.raises(InputError, match="does not exist"):
        find_weights(name)


def test_rejects_other_files(tmp_path):
    with pytest.raises(InputError, match=r"neither an \.onnx file nor"):
        find_weights(str(tmp_path))
    text = tmp_path / "model.txt"
    text.write_text("x")
    with pytest.raises(InputError, match=r"an \.onnx file or a directory"):
        find_weights(str(text))
    broken = tmp_path / "broken.onnx"
    broken.write_text("x")
    with pytest.raises(InputError, match="onnxruntime can load"):
        SmartTurnV3(broken)


def test_number_format_is_that_of_the_file(tmp_path):
    """A file without the operators of int8 is float32: here their names are changed in a copy that is not run."""
    from sca.infer.turn.models.precision import number_format

    content = bundled_file().read_bytes()
    assert number_format(content) == "int8"
    for name in (b"MatMulInteger", b"QLinearMatMul", b"DequantizeLinear"):
        content = content.replace(name, b"x" * len(name))
    assert number_format(content) == "float32"


def test_rejects_another_onnx_model():
    from sca.audio.vad import find_silero_model

    with pytest.raises(InputError, match="is not a smart-turn v3 model"):
        SmartTurnV3(find_silero_model())


def test_unreachable_hub():
    with pytest.raises(UpstreamError, match="pipecat-ai/smart-turn-v9"):
        find_weights("pipecat-ai/smart-turn-v9")


# Settings of the turn server.


def turn(env, **overrides):
    return load_settings(overrides={f"turn.{k}": v for k, v in overrides.items()}, env=env, plain_env=TURN_ENV)


def test_plain_names_apply_and_prefixed_names_override():
    env = {
        "AUTH_KEY": "a",
        "THRESHOLD": "0.7",
        "TORCH_COMPILE": "1",
        "BATCH_BUCKETS": "2,4",
        "MAX_SECS": "4",
        "DTYPE": "FLOAT32",
    }
    settings = turn(env)
    assert settings.turn.auth_key.get_secret_value() == "a"
    assert (settings.turn.threshold, settings.turn.torch_compile, settings.turn.buckets) == (0.7, True, (2, 4))
    assert (settings.turn.max_secs, settings.turn.dtype) == (4.0, "float32")
    assert settings.origin("turn.threshold") == "environment THRESHOLD"
    both = turn({**env, "SCA_TURN_THRESHOLD": "0.8"})
    assert (both.turn.threshold, both.origin("turn.threshold")) == (0.8, "environment SCA_TURN_THRESHOLD")
    assert turn(env, threshold=0.9).turn.threshold == 0.9


def test_plain_names_apply_to_turn_commands_only():
    assert load_settings(env={"THRESHOLD": "0.7", "MODEL_ID": "x"}).turn.threshold == 0.5


def test_invalid_value_names_its_variable():
    with pytest.raises(ConfigError, match=r"environment DTYPE: turn\.dtype should be one of auto, int8, float32, "):
        turn({"DTYPE": "float8"})


@pytest.mark.parametrize("buckets", ["", "0", "4,2", "2,2", "a", "2;4"])
def test_buckets_must_increase(buckets):
    with pytest.raises(ConfigError, match="ascending whole numbers"):
        turn({}, batch_buckets=buckets)


@pytest.mark.parametrize("patience", ["1", "1:2", "2:0.5,1:0.4", "1:0.5,1:0.4", "a:b"])
def test_patience_must_increase(patience):
    with pytest.raises(ConfigError, match="SECONDS:THRESHOLD"):
        turn({}, patience=patience)


def test_key_is_not_shown():
    settings = turn({"AUTH_KEY": "hush"})
    assert "hush" not in repr(settings)
    assert "hush" not in str(settings.model_dump(mode="json"))


# Addresses and keys.


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "LOCALHOST"])
def test_loopback_addresses(host):
    assert is_loopback(host)
    check_bind(host, None, insecure=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "localhost.example.org", ""])
def test_reachable_server_needs_a_key_or_insecure(host):
    with pytest.raises(ConfigError, match="without a key"):
        check_bind(host, None, insecure=False)
    check_bind(host, "key", insecure=False)
    check_bind(host, None, insecure=True)


def test_keys():
    for header in ("Key k€y", "Bearer k€y", "key  k€y ", "BEARER k€y"):
        assert key_matches(header.encode().decode("latin-1"), "k€y"), header
    for header in (None, "", "Key", "k€y", "Basic k€y", "Key k€y2", "Key k", "Key k€ý"):
        assert not key_matches(header and header.encode().decode("latin-1"), "k€y"), header
