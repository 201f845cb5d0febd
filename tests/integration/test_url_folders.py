"""Commands with URLs in place of folders: equal results, second machines, killed uploads, locks, cut connections."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import s3fs
import soundfile as sf

from sca import load
from sca.data.media.find_audio import SOUND
from sca.errors import InputError, OutputError
from sca.urls import requests
from sca.urls.cache import at_hand, in_use
from sca.urls.hollow import is_hollow
from sca.urls.lock import SHARD, UrlLock
from sca.urls.mirror import UrlCache, mirror
from sca.urls.store import Store
from tests.helpers import corpus
from tests.helpers.command import sca
from tests.helpers.cutting_proxy import cutting_proxy
from tests.helpers.s3_server import s3_server
from tests.helpers.tiny_whisper import scripted_whisper

RATE = 16_000


@pytest.fixture(scope="module")
def server():
    with s3_server() as started:
        yield started


@pytest.fixture
def s3(server, monkeypatch, tmp_path):
    """Return a client of the server, which commands of this process use too, with an empty cache."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tester")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    use_server(monkeypatch, server.url)
    monkeypatch.setenv("SCA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(requests, "_PAUSES_S", (0, 0))
    return s3fs.S3FileSystem(**server.options())


def use_server(monkeypatch, url):
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    s3fs.S3FileSystem.clear_instance_cache()


def write_recordings(folder, count=3):
    (folder / "more").mkdir(parents=True)
    for number in range(count):
        noise = np.random.default_rng(number).standard_normal(RATE)
        sf.write(folder / ("more" if number % 2 else ".") / f"{number}.flac", (0.1 * noise).astype(np.float32), RATE)
    return folder


def upload(s3, folder, bucket):
    s3.mkdir(bucket)
    for file in folder.rglob("*"):
        if file.is_file():
            s3.put_file(str(file), f"{bucket}/{file.relative_to(folder)}")


def contents(s3, url):
    s3.invalidate_cache()
    root = url.removeprefix("s3://")
    return {path.removeprefix(f"{root}/"): s3.cat_file(path) for path in s3.find(root)}


def whole_recordings(cache):
    return sorted(path.name for path in cache.rglob("*.flac") if not is_hollow(path))


def test_transcode_from_and_to_a_bucket(s3, tmp_path, monkeypatch):
    recordings = write_recordings(tmp_path / "talks")
    upload(s3, recordings, "talks")
    s3.mkdir("clean")
    assert sca("transcode", recordings, tmp_path / "local", "flac").returncode == 0
    done = sca("transcode", "s3://talks", "s3://clean/all", "flac", "--json")
    assert json.loads(done.stdout)["output"] == "s3://clean/all"
    found = contents(s3, "s3://clean/all")
    for path in (tmp_path / "local").rglob("*.flac"):
        assert found[path.relative_to(tmp_path / "local").as_posix()] == path.read_bytes()
    assert set(json.loads(found[".sca-url.json"])["files"]) == {"0.flac", "2.flac", "more/1.flac", "ledger.jsonl"}

    monkeypatch.setenv("SCA_CACHE_DIR", str(tmp_path / "other_machine"))
    again = sca("transcode", "s3://talks", "s3://clean/all", "flac", "--json")
    assert json.loads(again.stdout)["already"] == 3
    assert whole_recordings(tmp_path / "other_machine") == []  # nothing was fetched
    assert contents(s3, "s3://clean/all") == found
    status = json.loads(sca("status", "s3://clean/all", "--json").stdout)
    assert [stage["path"] for stage in status["stages"]] == ["s3://clean/all"]


def test_cut_connections_are_tried_again(server, s3, tmp_path, monkeypatch):
    upload(s3, write_recordings(tmp_path / "cut"), "cut")
    s3.mkdir("cut-out")
    with cutting_proxy(server.url) as proxy:
        proxy.cuts, proxy.after_bytes = 3, 20_000
        use_server(monkeypatch, proxy.url)
        done = sca("transcode", "s3://cut", "s3://cut-out", "flac", "--json")
    assert proxy.cut == 3
    assert json.loads(done.stdout)["made"] == 3


def test_the_cache_is_bounded(s3, tmp_path):
    folder = write_recordings(tmp_path / "many", 6)
    upload(s3, folder, "bounded")
    s3.mkdir("bounded-out")
    sizes = [path.stat().st_size for path in folder.rglob("*.flac")]
    most_gb = 2.5 * max(sizes) / 1e9
    done = sca("transcode", "s3://bounded", "s3://bounded-out", "flac", "-j", "1", "--set", f"urls.cache_gb={most_gb}")
    assert done.returncode == 0, done.stderr
    (kept,) = (tmp_path / "cache" / "urls").glob("*/bounded")
    assert len(whole_recordings(kept)) <= 4  # two that fit, and two in use by the threads of one job


def test_a_file_in_use_stays_whole(s3, tmp_path):
    upload(s3, write_recordings(tmp_path / "used", 4), "used")
    root = mirror("s3://used", UrlCache(tmp_path / "cache", 1, SOUND))
    first, second = root / "0.flac", root / "more" / "1.flac"
    with in_use():
        at_hand(first)
        at_hand(second)
        assert not is_hollow(first)
    at_hand(root / "2.flac")
    assert is_hollow(first)


def test_a_hollow_file_cannot_be_read_as_zeros(s3, tmp_path):
    upload(s3, write_recordings(tmp_path / "zeros"), "zeros")
    hollow = mirror("s3://zeros", UrlCache(tmp_path / "cache", 1, SOUND)) / "0.flac"
    assert hollow.stat().st_size == (tmp_path / "zeros" / "0.flac").stat().st_size
    assert not hollow.stat().st_mode & 0o777
    assert at_hand(hollow).read_bytes() == (tmp_path / "zeros" / "0.flac").read_bytes()


_KILLED = """
import os, signal, sys
from sca.cli.main import run
from sca.urls.store import Store
left = int(sys.argv.pop(1))
def killed_after(work):
    def call(*arguments):
        global left
        work(*arguments)
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
    return call
Store.put, Store.write = killed_after(Store.put), killed_after(Store.write)
run()
"""


@pytest.mark.parametrize("steps", [3, 6])  # in the first round of files; after the ledger and before the list
def test_a_killed_upload_leaves_nothing_that_counts(s3, tmp_path, monkeypatch, steps):
    recordings, bucket = write_recordings(tmp_path / "talks"), f"killed{steps}"
    s3.mkdir(bucket)
    words = ["transcode", str(recordings), f"s3://{bucket}/out", "flac"]
    process = subprocess.run([sys.executable, "-c", _KILLED, str(steps), *words], capture_output=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr
    left = contents(s3, f"s3://{bucket}/out")
    counting = mirror(f"s3://{bucket}/out", UrlCache(tmp_path / "reader", 10**9, SOUND))
    named = set(json.loads(left[".sca-url.json"])["files"])
    assert {path.relative_to(counting).as_posix() for path in counting.rglob("*") if path.is_file()} == named
    assert "ledger.jsonl" not in named
    assert {name for name in left if not name.startswith(".sca-url")} - named  # they are there, and do not count

    if steps == 3:
        monkeypatch.setenv("SCA_CACHE_DIR", str(tmp_path / "other_machine"))
    done = sca(*words)
    assert done.returncode == 0, done.stderr
    assert ("0 made before" if steps == 3 else "3 made before") in done.stdout
    assert "took over the lock" in done.stderr
    assert sca("transcode", recordings, tmp_path / "local", "flac").returncode == 0
    found = contents(s3, f"s3://{bucket}/out")
    files = [path for path in (tmp_path / "local").rglob("*") if path.is_file() and not path.name.startswith(".")]
    local = {path.relative_to(tmp_path / "local").as_posix(): path for path in files}
    assert found.keys() - {".sca-url.json"} == local.keys()
    assert all(found[name] == path.read_bytes() for name, path in local.items() if name.endswith((".flac", ".jsonl")))


def test_one_writer_at_a_time(s3, tmp_path, monkeypatch):
    s3.mkdir("shared")
    lock = UrlLock(Store("s3://shared/out"))
    assert lock.take() is None
    words = ["transcode", write_recordings(tmp_path / "talks"), "s3://shared/out", "flac"]
    refused = sca(*words)
    assert refused.returncode == 5
    assert f"another run is writing to s3://shared/out (process {os.getpid()}" in refused.stderr
    monkeypatch.setattr("sca.urls.lock.LOCK_EXPIRES_S", -1)  # as if it had not been renewed for long
    taken_over = sca(*words)
    assert taken_over.returncode == 0
    assert "took over the lock" in taken_over.stderr
    with pytest.raises(OutputError, match="took over"):
        lock.renew()


def test_shards_exclude_the_whole_run_only(s3):
    s3.mkdir("sharded")
    first, second = UrlLock(Store("s3://sharded"), f"{SHARD}1-of-2"), UrlLock(Store("s3://sharded"), f"{SHARD}2-of-2")
    first.take()
    second.take()
    with pytest.raises(InputError, match="another run"):
        UrlLock(Store("s3://sharded")).take()
    first.release()
    second.release()
    whole = UrlLock(Store("s3://sharded"))
    whole.take()
    with pytest.raises(InputError, match="another run"):
        first.take()


def test_refused_keys_and_missing_places(server, s3, tmp_path):
    s3.mkdir("secret")
    s3.pipe("secret/a.txt", b"a")
    with server.refusing_keys():
        refused = sca("status", "s3://secret")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (6, 2)
    assert "AWS_ACCESS_KEY_ID" in refused.stderr
    missing = sca("status", "s3://secret/nothing")
    assert (missing.returncode, missing.stderr.splitlines()[0]) == (
        5,
        "sca: s3://secret/nothing does not exist or has no files",
    )
    no_bucket = sca("transcode", write_recordings(tmp_path / "talks"), "s3://no-such-bucket/out", "flac")
    assert no_bucket.returncode == 5
    assert "create the bucket first" in no_bucket.stderr


def test_an_endpoint_that_does_not_answer(s3, monkeypatch):
    use_server(monkeypatch, "http://127.0.0.1:9")
    done = sca("status", "s3://anywhere")
    assert (done.returncode, len(done.stderr.splitlines())) == (6, 2)


def test_a_file_url_is_a_path(tmp_path):
    folder = write_recordings(tmp_path / "my talks")
    done = sca("transcode", f"file://{folder}".replace(" ", "%20"), f"file://{tmp_path}/out", "flac")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").rglob("*.flac"))) == 3
    elsewhere = sca("status", "file://server/share")
    assert elsewhere.returncode == 2


def rows_of(folder):
    """Return the files of a data set that have its rows and its audio, with their content."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.arrow")}
    return {name: content for name, content in found.items() if not name.startswith(".sca")}


def test_a_data_set_is_built_verified_and_exported(s3, tmp_path, monkeypatch):
    talk = corpus.short_demo(tmp_path / "talk", 12.0)
    upload(s3, talk, "corpus")
    s3.mkdir("data")
    assert sca("build-duplex", talk, "-o", tmp_path / "local").returncode == 0
    for number in range(1, 3):
        monkeypatch.setenv("SCA_CACHE_DIR", str(tmp_path / f"machine{number}"))
        words = ("build-duplex", "s3://corpus", "-o", "s3://data/rows", "--shard", f"{number}/2", "--json")
        assert sca(*words).returncode == 0
    joined = sca("build-duplex", "s3://corpus", "-o", "s3://data/rows", "--json")
    assert json.loads(joined.stdout)["output"] == "s3://data/rows", joined.stderr

    monkeypatch.setenv("SCA_CACHE_DIR", str(tmp_path / "reader"))
    assert rows_of(mirror("s3://data/rows", UrlCache(tmp_path / "reader", 10**9, SOUND))) == rows_of(tmp_path / "local")
    verified = sca("verify", "s3://data/rows", "--source", "s3://corpus", "--json")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    exported = sca("export", "s3://data/rows", "--to", "parquet", "-o", "s3://data/parquet")
    assert exported.returncode == 0, exported.stderr
    assert sca("inspect", "s3://data/rows", "--html", "s3://data/page.html", "-q").returncode == 0
    assert b"<html" in s3.cat_file("data/page.html")[:200]
    assert len(load("s3://data/parquet")) == len(load(tmp_path / "local"))
    refused = sca("build-duplex", "s3://corpus", "-o", "s3://data/parquet")
    assert (refused.returncode, "those of sca export" in refused.stderr) == (5, True)
    stages = json.loads(sca("status", "s3://data", "--json").stdout)["stages"]
    assert [(stage["stage"], stage["path"]) for stage in stages] == [
        ("build-duplex", "s3://data/rows"),
        ("export", "s3://data/parquet"),
    ]


def test_a_recording_is_transcribed_to_a_file_in_a_bucket(s3, tmp_path, monkeypatch):
    recordings, whisper = write_recordings(tmp_path / "talks", 2), scripted_whisper(tmp_path)
    upload(s3, recordings, "spoken")
    s3.mkdir("spoken-lines")
    s3.pipe("spoken-lines/others/unrelated.txt", b"not read")
    words = ["transcribe", "s3://spoken", "-o", "s3://spoken-lines/all.jsonl", "--model", whisper, "--no-vad"]
    done = sca(*words, "--output-format", "srt", "--json")
    assert done.returncode == 0, done.stderr
    found = contents(s3, "s3://spoken-lines")
    assert found.keys() >= {"all.jsonl", "all.ledger.jsonl", "0.srt", "1.srt", "others/unrelated.txt"}
    assert not list((tmp_path / "cache").rglob("unrelated.txt"))
    monkeypatch.setenv("SCA_CACHE_DIR", str(tmp_path / "other_machine"))
    again = sca(*words, "--output-format", "srt", "--json")
    assert (json.loads(again.stdout)["made"], json.loads(again.stdout)["already"]) == (0, 2)
    assert whole_recordings(tmp_path / "other_machine") == []
