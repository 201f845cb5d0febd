"""The recipes that ship with sca, from their first stage to the last one, with synthetic sound and a site on this machine."""

import json
import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg
import pytest
import soundfile

from sca.data.runs.status import read_status
from sca.recipes.child import ChildEnd
from tests.helpers import corpus, fake_youtube
from tests.helpers.command import sca
from tests.helpers.tiny_dvector import write_dvector
from tests.helpers.tiny_whisper import scripted_whisper

SENTENCE = " Good evening everybody, it is very nice to be here, and I have to tell you about the train that I took."


def in_this_process(words, *, to_stderr):
    """Run a stage here, because the imports of a process cost more than the stage; other tests start processes."""
    done = sca(*words)
    print(done.stderr, file=sys.stderr)
    return ChildEnd(done.returncode, 1.0, None)


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    return scripted_whisper(tmp_path_factory.mktemp("whisper"), SENTENCE, 10.0)


@pytest.fixture
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("sca.recipes.run.run_child", in_this_process)
    return tmp_path


def run(recipe, *words, **variables):
    """Run a recipe to its end, and return the outputs by stage."""
    given = [word for name, value in variables.items() for word in ("--var", f"{name}={value}")]
    folder = f"made_{Path(recipe).stem}"  # a name for each test: a process remembers tables by their paths
    done = sca("run", recipe, "-o", folder, "--json", *given, *words)
    assert done.returncode == 0, done.stderr
    stages = json.loads(done.stdout)["stages"]
    assert {stage["state"] for stage in stages} == {"done"}
    status = read_status(Path(folder))[0]
    assert (status.stage, status.counts) == ("run", {"kept": len(stages)})
    return {stage["stage"]: Path(stage["output"] or "") for stage in stages}


def test_magichub(there):
    corpus.short_demo(there / "corpus", 12.0)
    outputs = run("magichub", "--set", "duplex.window=2-10", validation=0)
    assert json.loads((outputs["build-duplex"] / "report.json").read_text())
    assert list(outputs["parquet"].rglob("*.parquet"))
    assert (outputs["moshi"] / "export.json").is_file()


def test_podcast(there, whisper):
    talk = corpus.short_demo(there / "talk", 20.0)
    tracks = [soundfile.read(path) for path in sorted((talk / "WAV").iterdir())]
    samples = min(len(track) for track, _ in tracks)
    (there / "podcasts").mkdir()
    soundfile.write(there / "podcasts" / "talk.flac", sum(track[:samples] for track, _ in tracks) / 2, tracks[0][1])
    dvector = write_dvector(there / "dvector.onnx")
    outputs = run("podcast", "--set", "duplex.window=2-10", model=whisper, diarize_model=dvector)
    (line,) = outputs["transcribe"].read_text().splitlines()
    assert json.loads(line)["turns"]
    assert list(outputs["export"].rglob("*.parquet"))


@pytest.fixture
def site(tmp_path):
    """A site with one show of a speaker who talks without pauses."""
    talk = corpus.demo(tmp_path / "talk")
    recording = sorted((talk / "WAV").iterdir())[0]
    media = tmp_path / "show.webm"
    pauses = "silenceremove=stop_periods=-1:stop_duration=0.1:stop_threshold=-40dB"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", recording, "-af", pauses, "-t", "18", media]
    subprocess.run(command, check=True, capture_output=True)
    seconds = 18.0
    video = fake_youtube.Video(
        "comedyVid01", "Open mic", seconds, licence=fake_youtube.CREATIVE_COMMONS, files=(media,)
    )
    served = fake_youtube.Site()
    served.add([video])
    with fake_youtube.FakeYouTube(served, tmp_path) as fake:
        yield fake


def test_comedy(there, whisper, site):
    assert sca("run", "comedy", "--copy", "mine.toml").returncode == 0
    mine = there / "mine.toml"
    options = f'proxy = "{site.url}"\nytdlp-opt = ["nocheckcertificate=true"]\n'
    text = mine.read_text()
    for command in ("search", "download"):
        text = text.replace(f'command = "{command}"\n', f'command = "{command}"\n{options}')
    mine.write_text(text)
    outputs = run(
        "mine.toml",
        "--set",
        "convert.cut_start_s=0",
        "--set",
        "convert.min_speech_s=1",
        model=whisper,
        min_length_s=10,
        sleep_s=0.0,
        reactions="none",
    )
    assert json.loads(outputs["search"].read_text())["count"] == 1
    (line,) = outputs["transcribe"].read_text().splitlines()
    assert "comedyVid01" in json.loads(line)["video_id"]
    assert json.loads((outputs["convert"] / "dataset_dict.json").read_text())
