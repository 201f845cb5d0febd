"""The commands that install extras and packages, for each way in which sca can be installed."""

import json
import shlex
import sys
from pathlib import Path

import pytest
import yaml

from sca import distribution
from sca.distribution import DISTRIBUTION, Installation, __version__, install_extra
from sca.textutil import command_line
from tests.helpers.markdown import ROOT

WHEEL = json.dumps({"url": "file:///tmp/sca_duplex-0.1.0-py3-none-any.whl", "archive_info": {}})
REPOSITORY = json.dumps(
    {"url": "https://example.org/sca.git", "vcs_info": {"vcs": "git", "commit_id": "abc", "requested_revision": "main"}}
)


def checkout(folder: Path) -> str:
    return json.dumps({"url": folder.as_uri(), "dir_info": {"editable": True}})


def test_uv_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Installation.read(tmp_path / ".venv", installer="uv\n", direct_url=checkout(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert here.extra("serve", "turn") == "uv sync --inexact --extra=serve --extra=turn"
    assert here.packages("lhotse") == f"uv pip install --python {tmp_path}/.venv lhotse"
    assert here.again() == "uv sync --inexact"
    assert here.upgrade("yt-dlp") == "uv sync --inexact --upgrade-package yt-dlp"
    monkeypatch.chdir("/")
    assert here.extra("serve") == f"uv sync --project {tmp_path} --inexact --extra=serve"


def test_printed_commands_begin_with_uv_run_where_it_started_sca(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Installation.read(tmp_path / ".venv", installer="uv\n", direct_url=checkout(tmp_path))
    monkeypatch.setattr(distribution, "_here", lambda: project)
    assert command_line("verify", "my data") == "sca verify 'my data'"
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    monkeypatch.chdir(tmp_path)
    assert command_line("verify", "my data") == "uv run sca verify 'my data'"
    monkeypatch.chdir("/")
    assert command_line("verify") == f"uv run --project {tmp_path} sca verify"
    tool = Installation.read(tmp_path, installer="pip", direct_url=None)
    monkeypatch.setattr(distribution, "_here", lambda: tool)
    assert command_line("verify") == "sca verify"


def test_checkout_in_another_environment_of_uv(tmp_path: Path) -> None:
    here = Installation.read(tmp_path / "env", installer="uv", direct_url=checkout(tmp_path / "a b"))
    assert here.extra("serve") == f"uv pip install --python {tmp_path}/env -e '{tmp_path}/a b[serve]'"
    assert here.again() == f"uv pip install --python {tmp_path}/env --reinstall -e '{tmp_path}/a b'"


def test_uv_tool_keeps_its_extras(tmp_path: Path) -> None:
    receipt = '[tool]\nrequirements = [{ name = "sca-duplex", extras = ["turn"] }, { name = "lhotse" }]\n'
    (tmp_path / "uv-receipt.toml").write_text(receipt)
    here = Installation.read(tmp_path, installer="uv", direct_url=None)
    assert here.extra("serve") == "uv tool install --force 'sca-duplex[serve,turn]'"
    assert here.packages("lhotse") == "uv tool install --force --with lhotse 'sca-duplex[turn]'"
    assert here.upgrade("yt-dlp") == "uv tool upgrade --upgrade-package yt-dlp sca-duplex"


def test_pipx(tmp_path: Path) -> None:
    (tmp_path / "pipx_metadata.json").write_text("{}")
    here = Installation.read(tmp_path, installer="pip", direct_url=None)
    assert here.extra("serve") == "pipx runpip sca-duplex install 'sca-duplex[serve]'"
    assert here.packages("lhotse>=1") == "pipx inject sca-duplex 'lhotse>=1'"


@pytest.mark.parametrize(
    ("origin", "requirement"),
    [
        (None, "sca-duplex[serve]"),
        (WHEEL, "sca-duplex[serve] @ file:///tmp/sca_duplex-0.1.0-py3-none-any.whl"),
        (REPOSITORY, "sca-duplex[serve] @ git+https://example.org/sca.git@main"),
    ],
    ids=["index", "wheel", "repository"],
)
def test_pip_installs_from_the_same_place(tmp_path: Path, origin: str | None, requirement: str) -> None:
    words = shlex.split(Installation.read(tmp_path, installer="pip\n", direct_url=origin).extra("serve"))
    assert words[-1] == requirement
    assert words[:-1] in (["pip", "install"], [sys.executable, "-m", "pip", "install"])


def test_extras_of_pyproject_refer_to_the_distribution() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    own = [line for lines in project["optional-dependencies"].values() for line in lines if "sca" in line]
    assert own
    assert {line.partition("[")[0] for line in own} == {project["name"]} == {DISTRIBUTION}


def test_this_environment() -> None:
    assert "serve" in install_extra("serve")


def test_citation_has_the_version_of_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()  # what the format requires
    assert (citation["version"], citation["license"]) == (__version__, "Apache-2.0")
    assert citation["authors"] == [{"name": "The sca authors"}]
