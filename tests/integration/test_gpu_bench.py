"""`scripts/bench/gpu.sh` with tiny models on a CPU, and its set-up with a stand-in for Python."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts/bench/gpu.sh"


def start(environment, *arguments):
    return subprocess.run(
        ["bash", str(SCRIPT), *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture
def python(tmp_path):
    """An environment with the Python of the tests."""
    (tmp_path / "venv/bin").mkdir(parents=True)
    path = tmp_path / "venv/bin/python"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return path


def test_dry_run_measures_every_part(python, tmp_path):
    """One session is left out: it is the part of eight with another number."""
    names = ["machine", "tests", "qwen-8", "launches", "turn", "voices"]
    out = tmp_path / "report.json"
    environment = {"UV_PROJECT_ENVIRONMENT": str(tmp_path / "venv")}
    done = start(environment, "--prepared", "--dry", "--out", str(out), "--only", *names)
    assert done.returncode == 0, done.stderr
    assert done.stdout == out.read_text()
    report = json.loads(done.stdout)
    parts = report["parts"]
    assert (list(parts), report["failed"], report["dry"]) == (names, [], True)
    assert parts["tests"]["files"] >= 3
    qwen = parts["qwen-8"]
    assert qwen["captured"] == "4 of 4"
    assert len(qwen["capture_s"]) == 4
    assert qwen["steps"]["sessions"] == 2
    assert len(qwen["parts_ms"]) == 5
    for part in ("weights", "caches"):
        assert abs(qwen["memory"]["estimated_gb"][part] - qwen["memory"]["measured_gb"][part]) < 0.001
    # On a CPU an operation has several others inside, and each counts.
    assert parts["launches"]["profiled"]["chunk of silence"] > parts["launches"]["counted"]["chunk of silence"]
    assert parts["turn"]["checks"]["v2_rows"]["batch"] <= 1e-4
    assert set(parts["voices"]) == {"eager", "graphs", "seconds", "processor_s"}


def test_wheels_are_installed_beside_the_packages_of_python(tmp_path):
    """With a Python that prints its arguments."""
    tools, venv, wheels = tmp_path / "tools", tmp_path / "venv", tmp_path / "wheels"
    for folder in (tools, venv / "bin", wheels):
        folder.mkdir(parents=True)
    (wheels / "one.whl").touch()
    for path in (tools / "python3", venv / "bin/python"):
        path.write_text('#!/bin/sh\necho "$@"\n')
        path.chmod(0o755)
    environment = {"UV_PROJECT_ENVIRONMENT": str(venv), "PATH": f"{tools}:{os.environ['PATH']}"}
    done = start(environment, "--wheels", str(wheels), "--dry")
    assert done.stdout == "-m scripts.bench.gpu --dry\n"
    venv_line, pip_line = done.stderr.splitlines()
    assert venv_line == f"-m venv --system-site-packages {venv}"
    assert pip_line == f"-m pip install -q --no-index --no-deps {wheels}/one.whl"
    assert "--wheels needs a folder" in start(environment, "--wheels").stderr
