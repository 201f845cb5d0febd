"""The files in `deploy`: linted, consistent, and their commands are commands of `sca`."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer.main
import yaml

from sca.cli.main import app
from sca.config import load_settings

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
DOCKERFILES = ("Dockerfile", "Dockerfile.cuda")
UNITS = ("sca-turn.service", "sca-serve.service")
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]


def check_command(words):
    """Parse a command of `sca`; raises if it or an option does not exist."""
    command = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    command.make_parser(command.context_class(command, info_name="sca")).parse_args(list(words))


def instructions(name):
    """Return the instructions of a Dockerfile as (word, rest), without comments."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / name).read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_hadolint_accepts(name):
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DEPLOY / name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", DOCKERFILES)
def test_images(name):
    found = instructions(name)
    assert all(re.search(r":\d+\.\d+\.\d+-", rest) for word, rest in found if word == "FROM"), "exact versions"
    assert all("--mount=type=cache" in rest for word, rest in found if word == "RUN" and "pip install" in rest)
    last = dict(found)
    assert last["USER"] == "10001:10001"
    assert "/health" in last["HEALTHCHECK"]
    assert json.loads(last["ENTRYPOINT"]) == ["sca"]
    check_command(json.loads(last["CMD"]))
    probe = json.loads(last["HEALTHCHECK"].partition("CMD ")[2])
    compile(probe[-1], "probe", "exec")
    for source in [rest for word, rest in found if word == "COPY" and not rest.startswith("--from")]:
        assert all((ROOT / path).exists() for path in source.split()[:-1])


@pytest.mark.parametrize("name", DOCKERFILES)
def test_extras_exist(name):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = re.findall(r"--extra (\w+)", dict(instructions(name))["ARG"] + (DEPLOY / name).read_text())
    assert {"serve", "turn"} <= set(named) <= set(extras)


def test_build_context_has_what_is_copied():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        path
        for name in DOCKERFILES
        for word, rest in instructions(name)
        if word == "COPY" and not rest.startswith("--from")
        for path in rest.split()[:-1]
    }
    assert kept == copied


@pytest.mark.parametrize("name", SERVICES)
def test_containers_have_no_privileges(name):
    service = SERVICES[name]
    assert service["user"] == "10001:10001"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert set(service["secrets"]) <= set(COMPOSE["secrets"])
    assert {volume.partition(":")[0] for volume in service["volumes"]} <= set(COMPOSE["volumes"])
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    check_command(service["command"])
    assert service["command"][-1] == "8000", "where the health check of the image asks"


def test_gpu_adds_to_the_same_services():
    cuda = yaml.safe_load((DEPLOY / "compose.cuda.yaml").read_text())["services"]
    assert set(cuda) == set(SERVICES)
    for service in cuda.values():
        assert service["image"] == "sca:cuda"
        assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        (device,) = service["deploy"]["resources"]["reservations"]["devices"]
        assert device["capabilities"] == ["gpu"]
        check_command(service.get("command", ["serve"]))


def test_example_of_keys_is_a_file_of_settings():
    settings = load_settings(DEPLOY / "secret.example.toml")
    assert settings.turn.auth_key.get_secret_value() != settings.serve.auth_key.get_secret_value()


@pytest.mark.parametrize("name", UNITS)
def test_commands_of_units(name):
    text = (DEPLOY / name).read_text()
    command = re.search(r"^ExecStart=/opt/sca/bin/sca (.*)$", text, re.MULTILINE)[1]
    check_command(command.split())
    for line in ("DynamicUser=yes", "ProtectSystem=strict", "CacheDirectory=sca", "NoNewPrivileges=yes"):
        assert line in text.splitlines()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_units(tmp_path):
    for name in UNITS:
        (tmp_path / name).write_text((DEPLOY / name).read_text().replace("/opt/sca/bin/sca", sys.executable))
    paths = [tmp_path / name for name in UNITS]
    done = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Unknown" not in done.stderr
