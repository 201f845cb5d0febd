"""Every command of an earlier README (`tests/helpers/earlier_readme.md`), word for word, in a copy of the repository."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import certifi
import datasets
import imageio_ffmpeg
import pytest
from typer.testing import CliRunner

import sca
from sca.cli.main import app
from sca.data.transcription.whisper import DEFAULT_MODEL
from tests.helpers import corpus, fake_youtube
from tests.helpers.tiny_whisper import default_model_in_cache, scripted_whisper

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "tests" / "helpers" / "earlier_readme.md").read_text(encoding="utf-8")
SENTENCE = (
    " Good evening everybody, it is very nice to be here, and I have to tell you about the train that I took this "
    "morning, because it never came, and nobody at the station could explain to me where it went."
)
VIDEO = "earlierShow"


def commands(kind):
    return re.findall(rf"```bash {kind}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def clone(tmp_path):
    """A copy of the repository, compiled modules included, with the environment of the tests, as `uv sync` would make it."""
    root = tmp_path / "clone"
    root.mkdir()
    for name in ("scripts", "sca"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("bench"))
    shutil.copy2(ROOT / "main.py", root)
    (root / ".venv").symlink_to(sys.prefix)
    return root


def run(line, folder, **environment):
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "SCA_CACHE_DIR": str(folder / "cache"), **environment}
    done = subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, f"{line}\n{done.stderr}"
    return done


def show(folder, speech):
    """Make a show of 15 minutes, of which the first 15 s are speech; the silence is encoded once and repeated."""
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y"]
    opus = ["-af", "apad", "-t", "15", "-ac", "1", "-ar", "48000", "-c:a", "libopus", "-b:a", "32k"]
    silence = ["-f", "lavfi", "-i", "anullsrc=sample_rate=48000:channel_layout=mono"]
    for name, source in (("speech", ["-i", str(speech)]), ("silence", silence)):
        subprocess.run([*ffmpeg, *source, *opus, str(folder / f"{name}.webm")], check=True, capture_output=True)
    parts = folder / "parts.txt"
    parts.write_text("file speech.webm\n" + "file silence.webm\n" * 60)
    made = folder / "show.webm"
    subprocess.run([*ffmpeg, "-f", "concat", "-i", parts, "-c", "copy", made], check=True, capture_output=True)
    return made


def trusted(folder):
    """A module certifi that trusts the certificate of the test site; the commands have no option that would."""
    made, _ = fake_youtube.certificate(folder)
    shim = folder / "trust" / "certifi"
    shim.mkdir(parents=True)
    shutil.copy(made, shim / "cacert.pem")
    shim.joinpath("__init__.py").write_text(
        "from pathlib import Path\n\n\ndef where():\n    return str(Path(__file__).with_name('cacert.pem'))\n\n\n"
        "def contents():\n    return Path(where()).read_text()\n"
    )
    assert certifi.where() != str(shim / "cacert.pem")
    return str(shim.parent)


def hub_cache(folder, model):
    default_model_in_cache(folder / "hub", model)
    return {"HF_HUB_CACHE": str(folder / "hub"), "HF_HUB_OFFLINE": "1"}


def test_extras_of_the_install_commands_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for line in commands("install"):
        (names,) = re.fullmatch(r"uv sync --extra (\S+)\n", line).groups()
        assert set(names.split(",")) <= set(project["optional-dependencies"])


def test_commands_for_shows(clone, tmp_path, trial_data):
    media = show(tmp_path, trial_data / "clips" / "jfk.flac")
    site = fake_youtube.Site()
    site.add(
        [
            fake_youtube.Video(VIDEO, "An evening", 915, files=(media,)),
            fake_youtube.Video("tooShort001", "Short", 899),
            fake_youtube.Video("tooLong0001", "Long", 2401),
        ]
    )
    model = scripted_whisper(tmp_path / "whisper", SENTENCE, 10.0)
    with fake_youtube.FakeYouTube(site, tmp_path) as fake:
        environment = {"https_proxy": fake.url, "http_proxy": fake.url, "PYTHONPATH": trusted(tmp_path)}
        environment |= hub_cache(tmp_path, model)
        done = [run(line, clone, **environment) for line in commands("shows")]
    assert [one["id"] for one in json.loads((clone / "dataset/videos.json").read_text())["results"]] == [VIDEO]
    assert "1 verified" in done[1].stdout
    assert "1 skipped" in done[2].stdout  # the same command in one line finds it done
    assert "1 file made" in done[3].stdout
    (line,) = (clone / "dataset/inference_outputs.jsonl").read_text().splitlines()
    assert json.loads(line)["model"] == DEFAULT_MODEL
    rows = sca.easy_load(clone / "dataset/converted", format="chat")
    assert len(rows) >= 1
    assert rows[0]["messages"][-1]["content"][0]["text"] in SENTENCE


def test_commands_for_full_duplex_data(clone):
    name = "Multi-stream Spontaneous Conversation Training Dataset"
    corpus.demo(clone / name)
    script, dataset = (run(line, clone) for line in commands("duplex"))
    assert f"reading {name}" in script.stderr
    files = sorted((clone / "parsed_json").glob("*.json"))
    assert len(files) == 2
    assert json.loads(files[0].read_text())["events"][0]["input_ids"]
    assert "in dataset/duplex" in dataset.stdout
    assert set(datasets.load_from_disk(str(clone / "dataset/duplex"))) == {"storage", "train"}


def test_model_path_is_accepted_with_an_underscore(tmp_path, monkeypatch):
    corpus.demo(tmp_path / "unpacked" / "corpus")  # in a folder of its own, as archives are often unpacked
    monkeypatch.chdir(tmp_path)
    words = [*shlex.split(commands("duplex")[0])[1:], "--model_path", "builtin:qwen"]
    done = CliRunner().invoke(app, ["build-duplex", *words])
    assert done.exit_code == 0, done.output
    assert "reading unpacked/corpus" in done.stderr
    assert len(list(tmp_path.glob("parsed_json/*.json"))) == 2


@pytest.mark.parametrize(
    ("names", "message"), [((), "no folder with WAV/ and TXT/"), (("a", "b"), "2 corpora here: a, b")]
)
def test_corpus_has_to_be_clear(tmp_path, monkeypatch, names, message):
    for name in names:
        corpus.demo(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["build-duplex"])
    assert done.exit_code == 2
    assert message in done.stderr
