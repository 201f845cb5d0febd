"""A Whisper model of the hub is downloaded once, with its progress in a terminal."""

import io
import sys

import faster_whisper.utils
import huggingface_hub
import pytest

from sca.cli.shared.progress import audio_progress
from sca.models.whisper import _downloaded
from sca.resources import hub_commits


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that writes a model into its cache, and records what was requested."""
    requests = []

    def cached(name, local_files_only=False, revision=None):
        assert local_files_only
        if not (tmp_path / "config.json").exists():
            raise FileNotFoundError(name)
        return str(tmp_path)

    def download(repo, revision, allow_patterns, tqdm_class):
        requests.append(repo)
        assert revision == hub_commits().get(repo)
        assert "model.bin" in allow_patterns
        with tqdm_class(total=100, desc="model.bin") as bar:
            bar.update(100)
        for name in ("config.json", "model.bin"):
            (tmp_path / name).write_bytes(b"x")
        return str(tmp_path)

    monkeypatch.setattr(faster_whisper.utils, "download_model", cached)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return requests


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_shown_in_a_terminal_only(hub, monkeypatch, tmp_path):
    for kind, is_shown in ((Terminal, True), (io.StringIO, False)):
        monkeypatch.setattr(sys, "stderr", shown := kind())
        (tmp_path / "config.json").unlink(missing_ok=True)
        _downloaded("small")
        assert ("model.bin" in shown.getvalue()) == is_shown
    assert hub == ["Systran/faster-whisper-small"] * 2


def test_model_is_downloaded_once(hub, tmp_path):
    assert _downloaded("someone/whisper") == _downloaded("someone/whisper") == tmp_path
    assert hub == ["someone/whisper"]


def test_interrupted_download_continues(hub, tmp_path):
    _downloaded("small")
    (tmp_path / "model.bin").unlink()
    _downloaded("small")
    assert len(hub) == 2


def test_quiet_command_shows_no_download(hub, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stderr", shown := Terminal())
    with audio_progress("transcribe", quiet=True):
        _downloaded("small")
    assert shown.getvalue() == ""
    (tmp_path / "config.json").unlink()
    _downloaded("small")
    assert "model.bin" in shown.getvalue()
