"""An engine of another installed package is found by its entry point, in every command."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sca.audio.decode import read_audio
from sca.audio.resample import resample
from sca.config import load_settings
from sca.errors import MissingToolError, UsageError
from sca.infer.engines.registry import engine_names, load_engine
from tests.helpers.engine_contract import EngineContract

DOCS = Path(__file__).resolve().parents[2] / "docs" / "live.md"
SETTINGS = load_settings(env={})


def example():
    """Return the engine in the documentation."""
    (code,) = [
        block for block in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL) if "def load" in block
    ]
    return code


def install(site, name="echo", code=None):
    """Install a package that provides an engine under a name; by default the example of the documentation."""
    module = f"engine_plugin_{name}"
    info = site / f"{module}-1.0.dist-info"
    info.mkdir(parents=True)
    (site / f"{module}.py").write_text(example() if code is None else code)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[sca.engines]\n{name} = {module}:load\n")


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_loads_the_engine_of_a_package(site):
    install(site)
    assert engine_names() == ["cascade", "echo", "parrot", "qwen-omni", "vllm-omni"]
    assert load_engine("echo", SETTINGS).info.summary == "repeats every chunk immediately"
    with pytest.raises(UsageError, match="engine ecco does not exist") as error:
        load_engine("ecco", SETTINGS)
    assert error.value.hint == "did you mean echo? available: cascade, echo, parrot, qwen-omni, vllm-omni"


def test_rejects_packages_that_do_not_provide_an_engine(site):
    install(site, "missing", "")
    with pytest.raises(UsageError, match="engine_plugin_missing:load does not exist"):
        load_engine("missing", SETTINGS)
    install(site, "constant", "load = 7")
    with pytest.raises(UsageError, match="the plugin constant does not provide an engine: 7 is not a function"):
        load_engine("constant", SETTINGS)
    install(site, "wrong", "def load(settings): return settings")
    with pytest.raises(UsageError, match="the plugin wrong does not provide an engine: it returned a Settings"):
        load_engine("wrong", SETTINGS)
    install(site, "broken", "raise RuntimeError('no licence')")
    with pytest.raises(MissingToolError, match=r"plugin broken of package engine_plugin_broken .*: no licence"):
        load_engine("broken", SETTINGS)


def test_commands_accept_and_list_the_engine(tmp_path, site):
    install(site)
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    sound = np.linspace(-0.5, 0.5, 5 * 5120, dtype=np.float32)
    soundfile.write(tmp_path / "in.wav", sound, 16_000, subtype="FLOAT")

    def live(engine):
        command = [sys.executable, "-m", "sca", "live", "--file", "in.wav", "--out", "out.wav", "--engine", engine]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)

    done = live("echo")
    assert done.returncode == 0, done.stderr
    assert "echo: repeats every chunk immediately" in done.stderr
    output = read_audio(tmp_path / "out.wav")
    expected = resample(sound[:5120], 16_000, 24_000)
    start = 7680 + int((SETTINGS.live.step_cost_ms + SETTINGS.live.playout_delay_ms) * 24)
    assert np.abs(output[start : start + 7680] - expected).max() < 1e-4
    done = live("ecco")
    assert done.returncode == 2
    assert "sca: --engine: engine ecco does not exist" in done.stderr
    assert "available: cascade, echo, parrot, qwen-omni, vllm-omni" in done.stderr.replace("\n", " ")


class TestDocumentedEngine(EngineContract):
    """The engine in the documentation keeps the contract."""

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls):
        namespace: dict[str, object] = {}
        exec(compile(example(), str(DOCS), "exec"), namespace)
        return namespace["load"](SETTINGS)
