"""The commands of an earlier turn server, as its documentation has them: the folder `test`, `.env`, `scripts/`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sca.cli.main import app
from sca.infer.turn.client.load_test import padded_end, sample_of, shipped_speech
from sca.units import HEARD_HZ
from tests.helpers.turn_servers import scripted

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = next((ROOT / "sca/resources/demo/WAV").glob("*1.flac"))


def earlier(*words, cwd=ROOT, path=None):
    """Run a command with the Python of this process, and `path` as its module path."""
    words = [sys.executable if word in ("python", "python3") else str(word) for word in words]
    env = {name: value for name, value in os.environ.items() if name not in ("AUTH_KEY", "PYTHONPATH")}
    env |= {} if path is None else {"PYTHONPATH": str(path)}
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False, cwd=cwd, env=env)


@pytest.fixture(scope="module")
def server():
    with scripted(0.9) as running:
        yield running


@pytest.fixture
def env_file(server, tmp_path):
    host, port = server.url.removeprefix("http://").split(":")
    path = tmp_path / ".env"
    path.write_text(f"# the pod\nRUNPOD_TCP_HOST={host}\nexport RUNPOD_TCP_PORT='{port}'\nAUTH_KEY=dev  # a comment\n")
    server.requests.clear()
    return path


@pytest.mark.parametrize(
    ("words", "requests", "output"),
    [
        ("python -m test.warmup --seconds 8", 1, "warm: 1 of 1 request answered"),
        ("python -m test.bench --seconds 8 --requests 6 --concurrency 6", 6, "6 of 6 requests answered"),
        ("python3 ./test/throughput.py --duration 0.1 --concurrency 2 --seconds 1", None, "requests answered in 0"),
        ("python3 test/client --seconds 70", 1, "finished: probability 0.900"),
    ],
)
def test_commands_ask_the_server_of_env(server, env_file, words, requests, output):
    done = earlier(*words.split(), "--sample", SAMPLE, "--env-file", env_file)
    assert done.returncode == 0, done.stderr
    assert output in done.stdout + done.stderr
    assert len(server.requests) == requests if requests else len(server.requests) >= 2
    seconds = float(words.split("--seconds ")[1].split()[0])
    for samples, headers in server.requests:
        assert headers["Authorization"] == "Key dev"
        assert len(samples) == seconds * HEARD_HZ


def test_env_of_the_working_folder(server, env_file):
    done = earlier("python", "-m", "test.client", "--sample", SAMPLE, "--key", "other", cwd=env_file.parent, path=ROOT)
    assert done.returncode == 0, done.stderr
    assert [headers["Authorization"] for _, headers in server.requests] == ["Key other"], "options win"


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (
            "RUNPOD_TCP_HOST=h\nRUNPOD_TCP_PORT=many\n",
            3,
            "RUNPOD_TCP_PORT should be a port from 1 to 65535, got 'many'",
        ),
        ("RUNPOD_TCP_HOST=a?b\n", 2, "is not the address of a turn server"),
        (None, 2, "cannot be read"),
    ],
)
def test_rejects_env_files(tmp_path, content, code, message):
    path = tmp_path / "env"
    if content is not None:
        path.write_text(content)
    done = CliRunner().invoke(app, ["turn", "warmup", "--env-file", str(path)])
    assert done.exit_code == code
    assert message in done.stderr
    assert isinstance(done.exception, SystemExit)


def test_sample_that_does_not_exist():
    done = earlier("python", "-m", "test.client", "--sample", "nowhere.wav")
    assert done.returncode == 2
    assert "samples/nowhere.wav" in done.stderr


def test_samples_are_padded_at_the_start():
    speech = shipped_speech()
    assert len(sample_of(None)) == len(speech) == 8 * HEARD_HZ
    assert (sample_of(None, 2.0) == speech[-2 * HEARD_HZ :]).all()
    longer = sample_of(None, 9.0)
    assert not longer[:HEARD_HZ].any()
    assert (longer[HEARD_HZ:] == speech).all()
    assert len(padded_end(SAMPLE, None, 16.0)) == 16 * HEARD_HZ


# --- scripts, in a copy of the project whose `sca` prints its arguments ---


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "project"
    shutil.copytree(ROOT / "scripts", root / "scripts", ignore=shutil.ignore_patterns("bench", "*.py", "__pycache__"))
    bin_ = root / ".venv/bin"
    bin_.mkdir(parents=True)
    for name, does in (("python", f'exec {sys.executable} "$@"'), ("sca", 'echo "sca $*"')):
        (bin_ / name).write_text(f"#!/usr/bin/env bash\n{does}\n")
        (bin_ / name).chmod(0o755)
    (root / "samples").mkdir()
    (root / "samples/mid.wav").write_bytes(b"")
    return root


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (
            "main.sh --sample mid.wav --seconds 8 --tail",
            ["start --sample {samples}/mid.wav --sample-seconds 8", "logs --tail"],
        ),
        ("main.sh --seconds=2 --tail --port 80", ["start --sample-seconds 2 --port 80", "logs --tail"]),
        (
            "main.sh --requests 4 --concurrency=2 --auth-key k --sample x.wav --state-dir d --tail",
            [
                "start --auth-key k --sample x.wav --state-dir d",
                "bench --auth-key k --sample x.wav --state-dir d --requests 4 --concurrency 2",
                "logs --tail --state-dir d",
            ],
        ),
        ("start.sh", ["serve"]),
        ("start_bg.sh", ["start"]),
        ("tail_bg_logs.sh", ["logs --tail"]),
        ("stop.sh", ["stop"]),
    ],
)
def test_scripts_run_these_commands(project, tmp_path, command, expected):
    name, *options = command.split()
    done = earlier("bash", project / "scripts" / name, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"sca turn {line.format(samples=project / 'samples')}" for line in expected]


def test_setup_writes_the_sample(project, tmp_path):
    import soundfile

    (project / "samples/mid.wav").unlink()
    done = subprocess.run(
        ["bash", project / "scripts/setup.sh"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    samples, rate_hz = soundfile.read(project / "samples/mid.wav")
    assert (len(samples), rate_hz) == (8 * HEARD_HZ, HEARD_HZ)


def test_deep_purge(project, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("models--pipecat-ai--smart-turn-v3", "models--other"):
        (tmp_path / "hub" / name).mkdir(parents=True)
    done = earlier("bash", project / "scripts/stop.sh", "--purge", "--deep")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("sca turn stop --purge\nremoved ")
    assert not (project / ".venv").exists()
    assert not (project / "samples").exists()
    assert [path.name for path in (tmp_path / "hub").iterdir()] == ["models--other"]
