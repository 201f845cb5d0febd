"""What the system cannot read now is no property of the file: the next run reads it."""

import errno
import os
from pathlib import Path

import pytest

from sca.data.corpora.exact_times import read_word_times
from sca.data.duplex.build.dataset import build_duplex
from sca.data.runs import files
from sca.data.runs.files import append_line
from sca.errors import InputError, OutputError, is_of_system
from sca.synth.script import read_script
from tests.helpers import corpus


def refuse(code):
    def read(path, *_):
        raise OSError(code, os.strerror(code), str(path))

    return read


def test_errors_of_the_machine_and_of_the_file():
    assert is_of_system(OSError(errno.EIO, "a drive"))
    assert is_of_system(OSError(errno.EMFILE, "a limit"))
    assert not is_of_system(PermissionError(errno.EACCES, "a file"))
    assert not is_of_system(FileNotFoundError(errno.ENOENT, "a file"))


def test_word_times_on_a_failing_drive_do_not_count_as_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "open", refuse(errno.EIO))
    with pytest.raises(InputError, match=r"words\.json cannot be read: Input/output error"):
        read_word_times(tmp_path / "words.json")
    monkeypatch.setattr(Path, "open", refuse(errno.EACCES))
    with pytest.raises(ValueError, match="cannot be read"):
        read_word_times(tmp_path / "words.json")


def test_a_script_on_a_failing_drive_is_not_left_out(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "open", refuse(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"):
        read_script(tmp_path / "script.jsonl")
    monkeypatch.setattr(Path, "open", refuse(errno.EACCES))
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        read_script(tmp_path / "script.jsonl")


def test_a_session_of_unknown_content_fails_and_is_tried_again(monkeypatch, tmp_path):
    source = corpus.pair(tmp_path / "corpus", audio=15.0)
    with monkeypatch.context() as patched:
        patched.setattr(files, "sha256_of", refuse(errno.EMFILE))
        with pytest.raises(InputError, match="could not be read when the run began"):
            build_duplex(source, tmp_path / "data", corpus.settings(), jobs=1)
    build_duplex(source, tmp_path / "data", corpus.settings(), jobs=1)
    build_duplex(source, tmp_path / "right", corpus.settings(), jobs=1)
    assert corpus.tree_bytes(tmp_path / "data") == corpus.tree_bytes(tmp_path / "right")


def test_a_ledger_is_not_written_through_a_link(tmp_path):
    (tmp_path / "ledger.jsonl").symlink_to(tmp_path / "theirs")
    with pytest.raises(OutputError, match=r"ledger\.jsonl is a link"):
        append_line(tmp_path / "ledger.jsonl", b"{}\n")
    assert not (tmp_path / "theirs").exists()
