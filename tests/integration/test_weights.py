"""Real weights: the models that `scripts/test --prepare` fetches, checked and used."""

import json
import re

import pytest
from typer.testing import CliRunner

from sca.cli.main import app
from sca.resources import demo_corpus

pytestmark = pytest.mark.weights


def sca(*words):
    done = CliRunner().invoke(app, [*map(str, words)])
    assert done.exit_code == 0, done.output
    return done


def words_of(text):
    return re.findall(r"[a-z']+", text.lower())


def errors(truth, heard):
    """The smallest number of words that are replaced, left out or added."""
    costs = list(range(len(heard) + 1))
    for n, word in enumerate(truth, 1):
        before, costs[0] = costs[0], n
        for i, other in enumerate(heard, 1):
            before, costs[i] = costs[i], min(before + (word != other), costs[i] + 1, costs[i - 1] + 1)
    return costs[-1]


@pytest.fixture(scope="module")
def spoken(real_recordings, tmp_path_factory):
    """A recording, its words, and the share of words that a tiny model may get wrong: real speech, or the demo."""
    if real_recordings is not None:
        text = "And so, my fellow Americans, ask not what your country can do for you, ask what you can do for your country."
        return real_recordings / "clips" / "jfk.flac", words_of(text), 0.1
    import soundfile

    path = tmp_path_factory.mktemp("spoken") / "demo.wav"
    with demo_corpus() as corpus:
        recording, transcript = (sorted((corpus / folder).iterdir())[0] for folder in ("WAV", "TXT"))
        samples, rate = soundfile.read(recording, dtype="float32")
        lines = [line.split("\t") for line in transcript.read_text(encoding="utf-8").splitlines()]
    soundfile.write(path, samples, rate)
    return path, words_of(" ".join(line[-1] for line in lines)), 0.4


@pytest.mark.parametrize("name", ["whisper-tiny-en", "whisper-base", "yamnet"])
def test_fetched_files_have_their_hashes(weights, name):
    weights(name)
    assert sca("models", "check", name).stdout.split() == [name, "ok"]
    (row,) = json.loads(sca("models", "get", name, "--json").stdout)
    assert (row["name"], row["state"]) == (name, "present")


@pytest.mark.parametrize("name", ["whisper-tiny-en", "pkg:whisper-base"])
def test_transcribes_with_a_fetched_model(weights, spoken, name, tmp_path):
    weights(name)
    recording, truth, most = spoken
    save = tmp_path / "shows.jsonl"
    sca("transcribe", recording, "--model", name, "--language", "en", "--save-file", save)
    (show,) = map(json.loads, save.read_text().splitlines())
    heard = words_of(" ".join(word["word"] for word in show["words"]))
    assert errors(truth, heard) <= most * len(truth)
    again = sca("transcribe", recording, "--model", name, "--language", "en", "--save-file", save, "--json")
    assert (json.loads(again.stdout)["made"], json.loads(again.stdout)["already"]) == (0, 1)
    other = name.removeprefix("pkg:") if name.startswith("pkg:") else f"pkg:{name}"
    again = sca("transcribe", recording, "--model", other, "--language", "en", "--save-file", save, "--json")
    assert json.loads(again.stdout)["made"] == 0
