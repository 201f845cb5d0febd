"""Files that appear complete or not at all."""

import errno
import fcntl
import os
import stat
from contextlib import ExitStack
from pathlib import Path

import filelock
import pytest

from sca.data.runs.files import atomic_write
from sca.data.runs.ledger import lock_dir
from sca.data.runs.owner import BUILD, CONVERT, EXPORT, SYNTH, claim, ensure_owned_dir
from sca.data.runs.shards import Shard
from sca.errors import InputError, OutputError
from sca.files.locks import HeldError, locked
from sca.infer.session.report import write_report
from sca.infer.session.wav_writer import WavWriter


def test_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "folder" / "file"
    with atomic_write(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert [one.name for one in path.parent.iterdir()] == ["file"]


def test_old_file_stays_if_the_new_one_is_unfinished(tmp_path):
    path = tmp_path / "file"
    path.write_text("before")

    def write_half():
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_content_and_name_are_synced_in_this_order(tmp_path, monkeypatch):
    steps = []
    replace, fsync = Path.replace, os.fsync

    def renamed(source, target):
        steps.append(("rename", Path(target).name))
        return replace(source, target)

    def synced(descriptor):
        steps.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink().name))
        fsync(descriptor)

    monkeypatch.setattr(Path, "replace", renamed)
    monkeypatch.setattr(os, "fsync", synced)
    write_report(tmp_path / "timing.json", {})
    with WavWriter(tmp_path / "said.wav", 24_000) as track:
        track.write_silence(10)
    expected = []
    for temporary, name in ((".timing.json.tmp", "timing.json"), (".said.wav.part", "said.wav")):
        expected += [("sync", temporary), ("rename", name), ("sync", tmp_path.name)]
    assert steps == expected


def test_pipe_is_not_replaced_by_a_file(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OutputError, match="is a device or pipe, not a regular file"), atomic_write(path) as temporary:
        temporary.write_text("x")
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_folder_is_not_replaced_by_a_file(tmp_path):
    with pytest.raises(OutputError, match="the name is already in use"), atomic_write(tmp_path) as temporary:
        temporary.write_text("x")
    assert tmp_path.is_dir()


def test_link_under_the_temporary_name_is_not_followed(tmp_path):
    (tmp_path / "letter").write_text("mine")
    (tmp_path / ".rows.json.tmp").symlink_to("letter")
    with atomic_write(tmp_path / "rows.json") as temporary:
        temporary.write_text("[]")
    assert (tmp_path / "letter").read_text() == "mine"
    assert (tmp_path / "rows.json").read_text() == "[]"
    assert not (tmp_path / "rows.json").is_symlink()


@pytest.mark.parametrize("name", [".sca", ".sca/shards"])
@pytest.mark.parametrize("shard", [None, Shard(1, 2)])
def test_run_does_not_write_through_a_linked_folder(tmp_path, name, shard):
    (tmp_path / "mine").mkdir()
    (tmp_path / "out" / name).parent.mkdir(parents=True)
    (tmp_path / "out" / name).symlink_to(tmp_path / "mine")
    with pytest.raises(OutputError, match=f"{name} is a link"), lock_dir(tmp_path / "out", shard):
        pass
    assert not list((tmp_path / "mine").iterdir())


@pytest.mark.parametrize("make", [lambda lock: lock.symlink_to("letter"), lambda lock: os.mkfifo(lock)])
def test_lock_that_is_no_regular_file_is_refused(tmp_path, make):
    (tmp_path / "letter").write_text("mine")
    make(tmp_path / ".lock")
    with pytest.raises(OutputError, match=r"\.lock is not a regular file"), lock_dir(tmp_path):
        pass
    assert (tmp_path / "letter").read_text() == "mine"


def test_lock_that_fails_is_not_held(tmp_path, monkeypatch):
    def fail(*_arguments, **_options):
        raise filelock.Timeout(str(tmp_path / ".lock"))  # as filelock before 4 for every error

    def refuse(*_arguments):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    (tmp_path / ".lock").touch()
    monkeypatch.setattr(filelock.FileLock, "acquire", fail)
    with pytest.raises(InputError, match="another run is writing to"), lock_dir(tmp_path):
        pass
    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OutputError, match="cannot be locked"), lock_dir(tmp_path):
        pass


def test_lock_of_another_process_is_waited_for(tmp_path):
    waits = []
    with locked(tmp_path / "lock"), pytest.raises(HeldError), locked(tmp_path / "lock"):
        pass
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(locked(tmp_path / "lock"))
        second.enter_context(locked(tmp_path / "lock", on_wait=lambda: (waits.append(1), first.close())))
        assert waits == [1]


def test_folder_of_a_run_killed_at_its_first_file_is_owned(tmp_path):
    (tmp_path / ".lock").touch()
    (tmp_path / ".settings.json.tmp").write_text("{")
    ensure_owned_dir(tmp_path, BUILD)
    (tmp_path / "letter").write_text("mine")
    with pytest.raises(OutputError, match="has other files in it: letter"):
        ensure_owned_dir(tmp_path, BUILD)


@pytest.mark.parametrize("owner", [CONVERT, EXPORT, SYNTH])
def test_folder_below_is_that_of_a_killed_run_or_of_others(tmp_path, owner):
    out, others = tmp_path / "out", tmp_path / "others"
    below = out / ".sca"
    below.mkdir(parents=True)
    (below / f".{owner.marker.name}.tmp").write_text("{")
    ensure_owned_dir(out, owner)
    (below / "parts").mkdir()
    with pytest.raises(OutputError, match=r"has other files in it: \.sca"):
        ensure_owned_dir(out, owner)
    below.rename(others)
    (others / "parts").rmdir()
    below.symlink_to(others)
    with pytest.raises(OutputError, match=r"has other files in it: \.sca"):
        ensure_owned_dir(out, owner)


def test_settings_of_another_program_are_no_mark(tmp_path):
    (tmp_path / "settings.json").write_text('{"mine": 1}')
    with pytest.raises(OutputError, match=r"has other files in it: settings\.json"):
        ensure_owned_dir(tmp_path, BUILD)


def test_folder_of_another_command_is_refused(tmp_path):
    claim(tmp_path, EXPORT)
    (tmp_path / "settings.json").write_text('{"duplex": {}}')  # exports have that of their data set
    ensure_owned_dir(tmp_path, EXPORT)
    with pytest.raises(OutputError, match="has other files in it: those of sca export"):
        ensure_owned_dir(tmp_path, BUILD)


def test_folder_of_a_version_without_markers_is_owned(tmp_path):
    (tmp_path / ".sca" / "shows").mkdir(parents=True)
    (tmp_path / "README.md").write_text("a card")
    ensure_owned_dir(tmp_path, CONVERT)
    (tmp_path / ".sca" / "shows" / "a.json").write_text("mine")
    with pytest.raises(OutputError, match="has other files in it"):
        ensure_owned_dir(tmp_path, CONVERT)
    (tmp_path / ".sca" / "shows" / "b.json").write_text('{"status": "kept"}')
    ensure_owned_dir(tmp_path, CONVERT)
