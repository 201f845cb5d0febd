"""Folders at URLs in memory: addresses, hollow files, the list of files that count, rounds of uploads."""

import errno
import json
import subprocess
import sys

import fsspec
import pytest

from sca.errors import InputError, OutputError, UpstreamError, UsageError
from sca.urls.address import is_url, local_path, parent_and_name
from sca.urls.cache import Addresses, address_of, at_hand, known_sha256, place_of
from sca.urls.hollow import is_hollow, stamp_of
from sca.urls.manifest import Listed, Manifest, read_manifest, trusted
from sca.urls.mirror import UrlCache, mirror
from sca.urls.outgoing import is_final, published
from sca.urls.shown import forget_shown, show_as, with_urls
from sca.urls.store import Store


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


@pytest.fixture
def cache(tmp_path):
    return UrlCache(tmp_path / "cache", 1000, frozenset({".flac"}))


def publish(url, cache, files=(), error=None, **options):
    with published(url, cache, every_s=3600, on_note=print, **options) as folder:
        for name, content in dict(files).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        if error is not None:
            raise error
    return folder


def test_addresses(tmp_path):
    assert is_url("s3://bucket/folder")
    assert not any(map(is_url, ("file:///a", "a/b", "C:\\talks", "s3:/bucket", "talk: one")))
    assert local_path("file:///my%20talks") == "/my talks"
    assert local_path("talks") == "talks"
    assert parent_and_name("s3://bucket/talks/a.jsonl") == ("s3://bucket/talks", "a.jsonl")
    with pytest.raises(UsageError, match="another machine"):
        local_path("file://server/talks")


def test_addresses_of_many_files_are_those_of_each(memory, cache, tmp_path):
    memory.pipe({"/talks/a.flac": b"a" * 10, "/talks/more/b.flac": b"b" * 10})
    copied = mirror("memory://talks", cache)
    (tmp_path / "c.wav").touch()
    (tmp_path / "link.wav").symlink_to(copied / "a.flac")
    files = [copied / "a.flac", copied / "more" / "b.flac", tmp_path / "c.wav", tmp_path / "link.wav"]
    addresses = Addresses()
    assert [addresses.of(file) for file in files] == [address_of(file) for file in files]
    assert addresses.of(files[1]) == "memory://talks/more/b.flac"


def test_names_that_are_final():
    final = ("a.flac", ".sca/sessions/a.json", "ledger.jsonl", "more/b.flac", "rows/.sca/export.json")
    others = (
        ".lock",
        "rows/.sca/scratch/a.wav",
        ".sca/.files.jsonl",
        "rows/.git/a",
        ".sca/scratch/a.wav",
        ".sca-1f.part",
        ".a.json.tmp",
        ".sca/.a.json.tmp",
        ".incomplete/a",
        "x/.y",
    )
    assert all(map(is_final, final))
    assert not any(map(is_final, others))


def test_small_files_are_copied_and_recordings_hollow(memory, cache):
    memory.pipe({"/talks/a.txt": b"text", "/talks/more/a.flac": b"sound", "/talks/empty.flac": b""})
    root = mirror("memory://talks", cache)
    assert (root / "a.txt").read_bytes() == b"text"
    sound = root / "more" / "a.flac"
    before = sound.stat()
    assert (is_hollow(sound), before.st_size, before.st_blocks) == (True, 5, 0)
    assert not is_hollow(root / "empty.flac")
    assert at_hand(sound).read_bytes() == b"sound"
    after = sound.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, 5, before.st_mtime_ns)
    assert place_of(sound).url == "memory://talks"
    assert address_of(sound) == "memory://talks/more/a.flac"


def test_a_changed_folder_is_followed(memory, cache):
    memory.pipe({"/talks/a.flac": b"one", "/talks/b.txt": b"two", "/talks/sub/c.txt": b"three"})
    root = mirror("memory://talks", cache)
    at_hand(root / "a.flac")
    memory.pipe("/talks/a.flac", b"other")
    memory.rm("/talks/sub", recursive=True)
    assert mirror("memory://talks", cache) == root
    assert at_hand(root / "a.flac").read_bytes() == b"other"
    assert sorted(path.name for path in root.iterdir()) == ["a.flac", "b.txt"]


def test_a_single_file_and_nothing(memory, cache):
    memory.pipe({"/talks/a.flac": b"one", "/talks/b.flac": b"two"})
    path = mirror("memory://talks/a.flac", cache)
    assert (path.name, at_hand(path).read_bytes()) == ("a.flac", b"one")
    assert [one.name for one in path.parent.iterdir()] == ["a.flac"]
    with pytest.raises(InputError, match="does not exist"):
        mirror("memory://nothing", cache)


def test_a_file_that_changed_or_is_gone_is_not_fetched(memory, cache):
    memory.pipe({"/talks/a.flac": b"one", "/talks/b.flac": b"two"})
    root = mirror("memory://talks", cache)
    memory.pipe("/talks/a.flac", b"six")
    memory.rm("/talks/b.flac")
    with pytest.raises(InputError, match="changed while it was read"):
        at_hand(root / "a.flac")
    with pytest.raises(UpstreamError, match="is gone"):
        at_hand(root / "b.flac")
    assert is_hollow(root / "a.flac")
    assert is_hollow(root / "b.flac")


def test_a_full_disk_is_no_fault_of_the_server(memory, cache, monkeypatch):
    memory.pipe("/talks/a.flac", b"one")
    root = mirror("memory://talks", cache)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(type(memory), "get_file", full)
    with pytest.raises(OutputError, match="disk with the cache is full"):
        at_hand(root / "a.flac")
    assert is_hollow(root / "a.flac")


def test_names_that_lead_elsewhere_are_refused(memory, cache):
    memory.store["/talks/../../x"] = memory.store.get("/none") or fsspec.implementations.memory.MemoryFile(
        memory, "/talks/../../x", b"x"
    )
    with pytest.raises(InputError, match="no folder can have"):
        mirror("memory://talks", cache)


def test_only_listed_files_count(memory):
    memory.pipe({f"/all/data/{name}.flac": b"one" for name in "abc"} | {"/all/raw/d.flac": b"four"})
    store = Store("memory://all/data")
    found = store.entries()
    files = {"a.flac": Listed(3, "", found["a.flac"].identity), "b.flac": Listed(3, "", "of an earlier file")}
    store.write(".sca-url.json", Manifest("1", files).content())
    assert set(trusted(store, store.entries())[0]) == {"a.flac"}
    above = Store("memory://all")
    assert set(trusted(above, above.entries())[0]) == {"data/a.flac", "raw/d.flac"}
    part = {"c.flac": Listed(3, "", found["c.flac"].identity)}
    store.write(".sca-url.shard-1-of-2.json", Manifest("2", part).content())
    assert set(trusted(store, store.entries())[0]) == {"a.flac", "c.flac"}
    store.write(".sca-url.json", b"{")
    with pytest.raises(InputError, match="damaged"):
        read_manifest(store, ".sca-url.json")


def test_changed_files_are_uploaded_and_removed_ones_deleted(memory, cache, tmp_path):
    folder = publish("memory://out", cache, {"a.flac": b"one", "ledger.jsonl": b"{}\n", ".lock": b"", "b.txt": b"b"})
    assert set(memory.find("/out")) == {"/out/a.flac", "/out/ledger.jsonl", "/out/b.txt", "/out/.sca-url.json"}
    before = memory.cat_file("/out/.sca-url.json")
    publish("memory://out", cache)
    assert memory.cat_file("/out/.sca-url.json") == before
    (folder / "b.txt").unlink()
    publish("memory://out", cache, {"a.flac": b"six"})
    assert memory.cat_file("/out/a.flac") == b"six"
    assert not memory.exists("/out/b.txt")

    other = UrlCache(tmp_path / "other", 1000, frozenset({".flac"}))
    with published("memory://out", other, every_s=3600, on_note=print) as root:
        assert is_hollow(root / "a.flac")
        assert (
            known_sha256(root / "a.flac")
            == json.loads(memory.cat_file("/out/.sca-url.json"))["files"]["a.flac"]["sha256"]
        )
    assert memory.cat_file("/out/a.flac") == b"six"


def test_uploaded_recordings_leave_the_disk(memory, cache):
    sounds = {f"{number}.flac": bytes([number]) * 400 for number in range(5)}
    folder = publish("memory://out", cache, sounds)
    assert sum(not is_hollow(folder / name) for name in sounds) == 2
    assert all(memory.cat_file(f"/out/{name}") == content for name, content in sounds.items())
    publish("memory://out", cache)
    assert set(memory.find("/out")) == {f"/out/{name}" for name in sounds} | {"/out/.sca-url.json"}
    assert all(at_hand(folder / name).read_bytes() == content for name, content in sounds.items())


def cut_off(monkeypatch, run):
    """Let the uploads of a run fail."""

    def fail(*_):
        raise UpstreamError("no connection")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", fail)
        with pytest.raises(UpstreamError, match="no connection"):
            run()


def test_what_was_not_uploaded_stays_for_the_next_run(memory, cache, tmp_path, monkeypatch):
    publish("memory://out", cache, {"a.txt": b"one"})
    cut_off(monkeypatch, lambda: publish("memory://out", cache, {"b.txt": b"two"}))
    assert not memory.exists("/out/b.txt")
    publish("memory://out", cache)
    assert memory.cat_file("/out/b.txt") == b"two"
    # Another machine has written since: its state counts, and not what was left here.
    cut_off(monkeypatch, lambda: publish("memory://out", cache, {"c.txt": b"three"}))
    publish("memory://out", UrlCache(tmp_path / "other", 1000, frozenset()), {"a.txt": b"newer"})
    publish("memory://out", cache)
    assert memory.cat_file("/out/a.txt") == b"newer"
    assert not memory.exists("/out/c.txt")


@pytest.mark.parametrize("error", [InputError("later"), KeyboardInterrupt()])
def test_an_error_uploads_what_is_finished(memory, cache, error):
    with pytest.raises(type(error)):
        publish("memory://out", cache, {"a.txt": b"one"}, error)
    assert memory.cat_file("/out/a.txt") == b"one"
    assert not memory.exists("/out/.sca-url.lock")


def test_a_file_and_its_neighbours(memory, cache):
    memory.pipe({"/out/lines.jsonl": b"1\n", "/out/lines.ledger.jsonl": b"{}\n", "/out/other.txt": b"x"})
    folder = publish("memory://out", cache, {"lines.jsonl": b"2\n"}, part="lines.jsonl", stem="lines")
    assert sorted(path.name for path in folder.iterdir()) == ["lines.jsonl", "lines.ledger.jsonl"]
    assert memory.cat_file("/out/lines.jsonl") == b"2\n"
    assert memory.exists("/out/other.txt")


def test_messages_have_urls(tmp_path):
    show_as(tmp_path / "urls", "s3://talks/")
    assert with_urls(f"{tmp_path}/urls/a.flac is empty") == "s3://talks/a.flac is empty"
    shown = "from sca.urls.shown import forget_shown, with_urls; forget_shown(); print(with_urls('{}'))"
    child = subprocess.run([sys.executable, "-c", shown.format(tmp_path / "urls")], capture_output=True, text=True)
    assert child.stdout == "s3://talks\n"
    forget_shown()
    assert with_urls(str(tmp_path / "urls")) == str(tmp_path / "urls")


def test_stamps_differ_by_second_and_identity():
    assert len({stamp_of(5.0, "a"), stamp_of(5.0, "b"), stamp_of(6.0, "a")}) == 3
    assert stamp_of(5.9, "a") // 10**9 == 5
