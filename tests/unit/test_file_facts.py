"""Files are read again if they may have changed, and only then."""

import os
import pickle
import shutil
import time
from hashlib import sha256

import pytest

from sca.data.digests import file_facts
from sca.data.digests.file_facts import FileFacts
from sca.data.runs.files import Unchanged
from sca.errors import InputError


@pytest.fixture
def reads(monkeypatch):
    """The files that were read."""
    found, read = [], file_facts.input_sha256
    monkeypatch.setattr(file_facts, "input_sha256", lambda path: found.append(path.name) or read(path))
    return found


def write(path, content, age_s=100.0, *, changed_ns=None):
    path.write_bytes(content)
    changed_ns = time.time_ns() - int(age_s * 1e9) if changed_ns is None else changed_ns
    os.utime(path, ns=(changed_ns, changed_ns))
    return path


def digest(folder, path):
    """Return the digest of a file in a run of its own, which must be right."""
    found = FileFacts(folder).sha256(Unchanged(path))
    assert found == sha256(path.read_bytes()).hexdigest()
    return found


def test_unchanged_files_are_read_once(tmp_path, reads):
    one, two = write(tmp_path / "one", b"1"), write(tmp_path / "two", b"2")
    for _ in range(3):
        digest(tmp_path, one), digest(tmp_path, two)
    assert reads == ["one", "two"]
    write(two, b"22")
    digest(tmp_path, one), digest(tmp_path, two)
    assert reads == ["one", "two", "two"]


@pytest.mark.parametrize("age_s", [0, 1, -100])
def test_file_that_has_just_changed_is_read_again(tmp_path, reads, age_s):
    file = write(tmp_path / "file", b"old", age_s)
    changed_ns = file.stat().st_mtime_ns
    digest(tmp_path, file)
    with file.open("r+b") as opened:  # the same inode, size and time
        opened.write(b"new")
    os.utime(file, ns=(changed_ns, changed_ns))
    digest(tmp_path, file)
    assert reads == ["file", "file"]


def test_other_file_with_the_same_size_and_time_is_read(tmp_path, reads):
    file = write(tmp_path / "file", b"old")
    digest(tmp_path, file)
    write(tmp_path / "other", b"new", changed_ns=file.stat().st_mtime_ns)
    (tmp_path / "other").replace(file)
    digest(tmp_path, file)
    assert reads == ["file", "file"]


def test_link_to_another_file_is_read(tmp_path, reads):
    one, two = write(tmp_path / "one", b"1"), write(tmp_path / "two", b"2")
    (tmp_path / "link").symlink_to(one)
    digest(tmp_path, tmp_path / "link")
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to(two)
    digest(tmp_path, tmp_path / "link")
    assert reads == ["link", "link"]


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\n[]\n\n", b'{"item": "a", "key": "b", "status": 3}\n'])
def test_damaged_facts_are_found_out_again(tmp_path, reads, damage):
    file = write(tmp_path / "file", b"1")
    digest(tmp_path, file)
    facts = tmp_path / ".sca" / ".files.jsonl"
    facts.write_bytes(damage + facts.read_bytes()[: len(facts.read_bytes()) // 2])
    for _ in range(3):
        digest(tmp_path, file)
    assert len(reads) <= 3
    shutil.rmtree(tmp_path / ".sca")
    (tmp_path / ".sca").write_text("not a folder")
    digest(tmp_path, file)


def test_outdated_lines_are_removed(tmp_path):
    facts, file = FileFacts(tmp_path), write(tmp_path / "file", b"1")
    for value in range(200):
        facts.note(Unchanged(file), "value", value)
    again = FileFacts(tmp_path)
    assert len((tmp_path / ".sca" / ".files.jsonl").read_bytes().splitlines()) == 1
    assert again.get(Unchanged(file), "value") == 199
    assert again.get(Unchanged(write(file, b"2")), "value") is None


def test_facts_of_a_worker_are_kept(tmp_path, reads):
    file = write(tmp_path / "file", b"1")
    pickle.loads(pickle.dumps(FileFacts(tmp_path))).sha256(Unchanged(file))
    digest(tmp_path, file)
    assert reads == ["file"]


def test_missing_file_is_an_error(tmp_path):
    file = write(tmp_path / "file", b"1")
    unchanged = Unchanged(file)
    file.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        FileFacts(tmp_path).sha256(unchanged)
