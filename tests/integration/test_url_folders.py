"""Commands with URLs in place of folders: equal results, second machines, killed uploads, locks, cut connections."""

import json

import numpy as np
import pytest
import s3fs
import soundfile as sf

from sca.data.media.find_audio import SOUND
from sca.urls import requests
from sca.urls.cache import at_hand, in_use
from sca.urls.hollow import is_hollow
from sca.urls.mirror import UrlCache, mirror
from tests.helpers.command import sca
from tests.helpers.cutting_proxy import cutting_proxy
from tests.helpers.s3_server import s3_server

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
