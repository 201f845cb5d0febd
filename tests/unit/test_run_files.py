"""Files that appear complete or not at all."""

import os
import stat

import pytest

from sca.data.runs.files import atomic_write
from sca.errors import OutputError


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
