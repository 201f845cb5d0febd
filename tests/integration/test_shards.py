"""Shards of every data command, and arrays of Slurm: the same bytes as a run without shards."""

import json
import os

import numpy as np
import pytest
import soundfile

from sca.data.digests import file_facts
from sca.data.runs.ledger import lock_dir
from sca.data.runs.shards import Shard, shard_files
from sca.errors import InputError
from tests.helpers import corpus, sbatch
from tests.helpers.command import sca
from tests.helpers.show_lines import event, line
from tests.helpers.tiny_whisper import scripted_whisper


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    for number in range(5):
        sound = corpus.tone(1.0 + 0.1 * number, 16_000)
        soundfile.write(folder / f"r{number}.wav", sound, 16_000)
    return aged(folder)


@pytest.fixture(scope="module")
def talks(tmp_path_factory):
    root = tmp_path_factory.mktemp("talks")
    for number in range(4):
        corpus.pair(root, f"A000{number}_S0001_0", audio=12.0)
    return aged(root)


def aged(folder):
    """Give files the time of a minute ago: the digest of a file that was changed just now is not kept."""
    for path in folder.rglob("*"):
        os.utime(path, (path.stat().st_atime - 60, path.stat().st_mtime - 60))
    return folder


@pytest.fixture
def hashed(monkeypatch):
    """The names of the files that were hashed for a plan."""
    names, real = [], file_facts.input_sha256
    monkeypatch.setattr(file_facts, "input_sha256", lambda path: (names.append(path.name), real(path))[1])
    return names


def everything(folder):
    """The content of all files but locks, which are empty, and what is known of files, which depends on their age."""
    found = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {str(name): content for name, content in found.items() if not name.name.endswith((".lock", ".files.jsonl"))}


def equal_in_shards(words, whole, joined, hashed, *, count=2):
    """Run a command whole and in shards, each with its output as the last word; return the shards' JSON.

    Shards hash each file once, all of them together, and the run that joins them hashes none.
    """
    hashed.clear()
    assert sca(*words, whole).returncode == 0
    sources = sorted(hashed)
    hashed.clear()
    documents = []
    for index in range(count, 0, -1):  # the order of shards is free
        done = sca(*words, joined, "--shard", f"{index}/{count}", "--json")
        assert done.returncode == 0, done.stderr
        documents.append(json.loads(done.stdout))
    assert sum(document["made"] for document in documents) > 1
    assert max(document["made"] for document in documents) < sum(document["made"] for document in documents)
    assert sorted(hashed) == sources
    done = sca(*words, joined)
    assert done.returncode == 0, done.stderr
    assert sorted(hashed) == sources
    return documents


def test_transcode_in_shards(recordings, tmp_path):
    words = ("transcode", recordings, "--sample-rate", 16_000)
    whole, joined = tmp_path / "whole", tmp_path / "joined"
    assert sca(*words, whole, "wav").returncode == 0
    for index in (1, 2, 3):
        assert sca(*words, joined, "wav", "--shard", f"{index}/3").returncode == 0
    assert len(shard_files(joined / "ledger.jsonl")) == 3
    assert json.loads(sca(*words, joined, "wav", "--json").stdout)["already"] == 5
    assert everything(joined) == everything(whole)
    assert not (joined / ".sca" / "shards").exists()


def test_build_duplex_and_export_in_shards(talks, tmp_path, hashed):
    whole, joined = tmp_path / "whole", tmp_path / "joined"
    documents = equal_in_shards(("build-duplex", talks, "-o"), whole, joined, hashed, count=3)
    assert len(hashed) == 16
    assert sum(document["made"] for document in documents) == 4
    assert everything(joined) == everything(whole)
    words = ("export", whole, "--to", "webdataset", "--shard-size", "100KB", "-o")
    equal_in_shards(words, tmp_path / "tar", tmp_path / "tars", hashed)
    assert everything(tmp_path / "tars") == everything(tmp_path / "tar")


def test_transcribe_in_shards(recordings, tmp_path, tmp_path_factory, hashed):
    model = scripted_whisper(tmp_path_factory.getbasetemp())
    words = ("transcribe", recordings, "--model", model, "--reactions", "none", "--no-vad", "-o")
    whole, joined = tmp_path / "whole", tmp_path / "joined"
    equal_in_shards(words, whole / "shows.jsonl", joined / "shows.jsonl", hashed)
    assert everything(joined) == everything(whole)
    assert sorted(hashed) == [f"r{number}.wav" for number in range(5)]
    assert len((whole / "shows.jsonl").read_text().splitlines()) == 5


def test_convert_in_shards(tmp_path, hashed):
    sound = np.random.default_rng(0).normal(0, 0.1, 16_000 * 20)
    lines = []
    for number in range(3):
        path = tmp_path / "audio" / f"show {number}.flac"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, sound[number:], 16_000)
        lines.append(line(path.stem, event(5.0, 15.0, "Ten seconds of talk.")))
    aged(tmp_path / "audio")
    (tmp_path / "shows.jsonl").write_text("\n".join(lines) + "\n")
    inputs = ("--input-file", tmp_path / "shows.jsonl", "--audio-dir", tmp_path / "audio")
    words = ("convert", *inputs, "--set", "convert.speaker_model=none", "--jobs", 1, "-o")
    whole, joined = tmp_path / "whole", tmp_path / "joined"
    equal_in_shards(words, whole, joined, hashed)
    assert everything(joined) == everything(whole)
    assert len(hashed) == 3


def test_synth_in_shards(tmp_path, hashed):
    script = tmp_path / "talk.jsonl"
    script.write_text('{"speaker": "a", "text": "Hello there."}\n{"speaker": "b", "text": "Good morning."}\n')
    words = ("synth", script, "--jobs", 1)
    whole, joined = tmp_path / "whole", tmp_path / "joined"
    equal_in_shards((*words, "--conversations", 4, "-o"), whole, joined, hashed)
    assert everything(joined) == everything(whole)
    done = sca(*words, "-o", tmp_path / "refused", "--hours", 1, "--shard", "1/2")
    assert (done.returncode, "--hours" in done.stderr) == (2, True)


def test_the_joining_run_does_what_a_shard_left(recordings, tmp_path):
    out = tmp_path / "out"
    assert sca("transcode", recordings, out, "wav", "--shard", "1/2").returncode == 0
    ledger = Shard(1, 2).file_of(out / "ledger.jsonl")
    ledger.write_bytes(ledger.read_bytes() + b'{"item": "r')  # as a crash leaves it
    left = json.loads(sca("transcode", recordings, out, "wav", "--json").stdout)
    assert 0 < left["made"] < 5
    assert left["made"] + left["already"] == 5


def test_locks_of_shards_and_of_whole_runs(tmp_path):
    with lock_dir(tmp_path, Shard(1, 2)), lock_dir(tmp_path, Shard(2, 2)):
        with pytest.raises(InputError, match="another run"), lock_dir(tmp_path, Shard(1, 2)):
            pass
        with pytest.raises(InputError, match="another run"), lock_dir(tmp_path):
            pass
    with lock_dir(tmp_path), pytest.raises(InputError, match="another run"), lock_dir(tmp_path, Shard(1, 2)):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize("shard", ["0/2", "3/2", "2", "a/b", "1/20000"])
def test_refuses_what_is_no_shard(recordings, tmp_path, shard):
    done = sca("transcode", recordings, tmp_path / "out", "wav", "--shard", shard)
    assert done.returncode == 2
    assert "2/8" in done.stderr


def test_options_of_ray_need_ray(recordings, tmp_path):
    done = sca("transcode", recordings, tmp_path / "out", "wav", "--address", "127.0.0.1:1")
    assert (done.returncode, "--address was given without --executor ray" in done.stderr) == (2, True)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "auto", "nowhere"])
def test_ray_that_does_not_answer(recordings, tmp_path, monkeypatch, address):
    left = tmp_path / "ray" / "ray_current_cluster"  # as a cluster leaves it that was killed
    left.parent.mkdir()
    left.write_text("127.0.0.1:1")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    done = sca("transcode", recordings, tmp_path / "out", "wav", "--executor", "ray", "--address", address, "--quiet")
    assert done.returncode == 6
    assert len(done.stderr.splitlines()) == 2
    assert "ray start --head" in done.stderr


def test_force_has_no_shards(recordings, tmp_path):
    done = sca("transcode", recordings, tmp_path / "out", "wav", "--shard", "1/2", "--force")
    assert (done.returncode, "--force" in done.stderr) == (2, True)


def test_slurm_runs_an_array_and_a_join(recordings, tmp_path, monkeypatch):
    path, log = sbatch.install(tmp_path / "bin")
    monkeypatch.setenv("PATH", path)
    monkeypatch.setenv("FAILING_TASKS", "[2]")  # a task that Slurm ends is done by the join
    words = ("transcode", recordings, tmp_path / "out", "wav", "--executor", "slurm", "--shards", 2)
    done = sca(*words, "--sbatch", "--partition cpu", "--json")
    assert json.loads(done.stdout) == {
        "schema": "sca.transcode.slurm/1",
        "array": "701",
        "shards": 2,
        "join": "702",
    }
    array, join = (json.loads(line) for line in log.read_text().splitlines())
    assert {"--array=1-2", "--job-name=sca-transcode", "--partition", "cpu"} <= set(array)
    assert {"--dependency=afterany:701", "--job-name=sca-transcode-join"} <= set(join)
    assert sca("transcode", recordings, tmp_path / "whole", "wav").returncode == 0
    assert everything(tmp_path / "out") == everything(tmp_path / "whole")


def test_a_task_of_an_array_is_a_shard(recordings, tmp_path, monkeypatch):
    for name, value in (("ID", "30"), ("MIN", "10"), ("STEP", "20"), ("COUNT", "2")):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    done = sca("transcode", recordings, tmp_path / "out", "wav", "--executor", "slurm", "--json")
    assert json.loads(done.stdout)["shard"] == "2-of-2"


def test_slurm_refuses_or_is_missing(recordings, tmp_path, monkeypatch):
    words = ("transcode", recordings, tmp_path / "out", "wav", "--executor", "slurm")
    monkeypatch.setenv("PATH", str(tmp_path))
    done = sca(*words)
    assert (done.returncode, "no sbatch found" in done.stderr) == (4, True)
    path, _ = sbatch.install(tmp_path / "bin")
    monkeypatch.setenv("PATH", path)
    done = sca(*words, "--sbatch", "--refuse")
    assert (done.returncode, "invalid partition" in done.stderr) == (6, True)
    done = sca(*words, "--sbatch", "'open")
    assert done.returncode == 2
    assert not (tmp_path / "out").exists()
