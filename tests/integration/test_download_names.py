"""Recordings of one base name on several addresses, and files of others in the folder of `sca download`."""

import functools
import http.server
import json
import threading

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from sca.cli.main import app

PITCHES = {"a": 440, "b": 1760}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Serve /a/show.wav and /b/show.wav, which differ in pitch; return the URL."""
    folder = tmp_path_factory.mktemp("site")
    time = np.arange(16_000) / 16_000
    for name, pitch in PITCHES.items():
        (folder / name).mkdir()
        soundfile.write(folder / name / "show.wav", 0.4 * np.sin(2 * np.pi * pitch * time), 16_000)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def download(site, tmp_path, monkeypatch):
    monkeypatch.setenv("SCA_CACHE_DIR", str(tmp_path / "cache"))

    def run(*names, code=0):
        addresses = [f"{site}/{name}/show.wav" for name in names]
        command = ["download", *addresses, "-o", str(tmp_path / "out"), "--sleep-interval", "0", "--json"]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == code, done.output
        return {item["item"].split("/")[-2]: item for item in json.loads(done.stdout)["items"]}

    return run


def pitch_of(path):
    sound, rate = soundfile.read(path)
    return int(np.argmax(np.abs(np.fft.rfft(sound[:rate]))))


def test_two_addresses_with_one_name_are_two_files(download, tmp_path):
    (tmp_path / "out" / ".incomplete").mkdir(parents=True)
    part = tmp_path / "out" / ".incomplete" / "show.x-wav.wav.part"  # as an earlier version named that of any address
    part.write_bytes(b"another recording" * 100)
    found = download("a", "b")
    names = {name: found[name]["extra"]["file"] for name in PITCHES}
    assert len(set(names.values())) == 2
    for name, pitch in PITCHES.items():
        path = tmp_path / "out" / names[name]
        assert pitch_of(path) == pitch
        info = json.loads(path.with_name(f"{path.stem}.info.json").read_text())
        assert (info["original_url"].split("/")[-2], info["sca"]["file"]) == (name, path.name)
    assert part.read_bytes() == b"another recording" * 100


@pytest.mark.parametrize("suffix", [".wav", ".info.json"])
def test_file_of_others_with_the_name_stays(download, tmp_path, suffix):
    name = download("a")["a"]["extra"]["file"].removesuffix(".wav")
    for path in (tmp_path / "out").glob("show*"):
        path.unlink()
    (tmp_path / "out" / "archive.txt").unlink()
    strange = tmp_path / "out" / f"{name}{suffix}"
    strange.write_text("mine")
    found = download("a", "b", code=7)
    assert strange.read_text() == "mine"
    assert found["a"]["reason"] == f"{strange.name} is in the folder and is not a download of this video: move it away"
    assert found["b"]["status"] == "verified"
    strange.unlink()
    assert download("a", "b")["a"]["status"] == "verified"


def test_name_of_earlier_versions_is_continued(download, tmp_path):
    out = tmp_path / "out"
    name = download("a")["a"]["extra"]["file"].removesuffix(".wav")
    info = json.loads((out / f"{name}.info.json").read_text())
    info["sca"]["file"] = "show [show].wav"
    (out / "show [show].info.json").write_text(json.dumps(info))
    (out / f"{name}.info.json").unlink()
    (out / f"{name}.wav").rename(out / "show [show].wav")
    (out / "archive.txt").unlink()
    found = download("a", "b")
    assert found["a"]["extra"]["file"] == "show [show].wav"
    assert found["b"]["extra"]["file"] != "show [show].wav"
    assert pitch_of(out / found["b"]["extra"]["file"]) == PITCHES["b"]


def test_rename_that_a_power_cut_undid_leaves_nothing(download, tmp_path):
    out, partial = tmp_path / "out", tmp_path / "out" / ".incomplete"
    name = download("a")["a"]["extra"]["file"]
    (out / "archive.txt").unlink()
    partial.mkdir()
    stem = name.removesuffix("].wav").split("[")[1]
    (partial / f"{stem}.x-wav.wav").write_bytes((out / name).read_bytes())
    (partial / f"{stem}.x-wav.wav.part").write_bytes((out / name).read_bytes()[:-2])
    assert download("a")["a"]["status"] == "verified"
    assert [path.name for path in partial.iterdir()] == [f"{stem}.x-wav.wav.part"], "other bytes"
