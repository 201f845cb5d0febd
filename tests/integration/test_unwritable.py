"""Commands whose output cannot be written: one line with the path, a hint, exit code 5."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from typer.testing import CliRunner

from sca.cli.main import app
from sca.resources import demo_corpus
from tests.helpers.show_lines import event, line

SHOW = line("show", event(4.0, 20.0, "and then it began"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The input of the commands: corpus and data set of the demo, a folder of recordings, a timeline, a short sound."""
    root = tmp_path_factory.mktemp("unwritable")
    assert CliRunner().invoke(app, ["demo", "-o", str(root / "demo")]).exit_code == 0
    with demo_corpus() as corpus:
        recording = sorted((corpus / "WAV").iterdir())[0]
        (root / "audio").mkdir()
        shutil.copy(recording, root / "audio" / f"show{recording.suffix}")
        x, rate = soundfile.read(recording, frames=16_000 * 6, dtype="float32")
    soundfile.write(root / "short.wav", x, rate)
    (root / "shows.jsonl").write_text(SHOW + "\n")
    return root


FOLDERS = {
    "demo": lambda made, to: ["demo", "-o", to],
    "build-duplex": lambda made, to: ["build-duplex", made / "demo" / "corpus", "-o", to],
    "script": lambda made, to: ["build-duplex", made / "demo" / "corpus", "-o", to, "--mode", "script"],
    "convert": lambda made, to: ["convert", "-i", made / "shows.jsonl", "--audio-dir", made / "audio", "-o", to],
    "transcode": lambda made, to: ["transcode", made / "audio", to, "any"],
    "download": lambda made, to: ["download", "aaaaaaaaaaa", "-o", to, "--sleep-interval", "0"],
    **{
        f"export {kind}": lambda made, to, kind=kind: ["export", made / "demo" / "duplex", "--to", kind, "-o", to]
        for kind in ("parquet", "webdataset", "moshi", "lhotse", "chat")
    },
    "record": lambda made, to: ["live", "--file", made / "short.wav", "--out", made / "o.wav", "--record", to],
    "talk": lambda made, to: ["eval", "talk", "--talks", "1", "--scenarios", "answer", "-o", to],
}
FILES = {
    "inspect": lambda made, to: ["inspect", made / "demo" / "duplex", "--html", to],
    "transcribe": lambda made, to: ["transcribe", made / "short.wav", "--model", "none-such", "--save-file", to],
    "archive": lambda made, to: ["download", "aaaaaaaaaaa", "-o", made / "videos", "--archive", to],
    "search": lambda made, to: ["search", "anything", "--save-file", to],
    "live": lambda made, to: ["live", "--file", made / "short.wav", "--out", f"{to}.wav"],
    "timing": lambda made, to: ["live", "--file", made / "short.wav", "--out", made / "o.wav", "--timing", to],
    "transcript": lambda made, to: ["live", "--file", made / "short.wav", "--out", made / "o.wav", "--transcript", to],
    "turns": lambda made, to: ["eval", "turns", made / "short.wav", "--out", to],
}


def refused(arguments):
    """Run a command that cannot write, and return its error message."""
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 5, done.output
    *_, message, hint = done.stderr.splitlines()
    assert message.startswith("sca: ")
    assert hint.startswith("     ")
    return message


@pytest.mark.parametrize("command", [*FOLDERS, *FILES])
def test_path_in_no_folder(made, command):
    """In /proc no file can be made, not even by root."""
    arguments = (FOLDERS | FILES)[command](made, "/proc/sca")
    assert "/proc/sca" in refused(arguments)


@pytest.mark.parametrize("command", [*FOLDERS, *FILES])
def test_path_below_a_file(made, command, tmp_path):
    (tmp_path / "file").write_text("mine")
    message = refused((FOLDERS | FILES)[command](made, tmp_path / "file" / "below"))
    assert f"{tmp_path}/file" in message
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("command", FOLDERS)
def test_file_instead_of_a_folder(made, command, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert f"{tmp_path}/file" in refused(FOLDERS[command](made, tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("command", sorted(FOLDERS.keys() - {"download", "script", "transcode", "convert", "record"}))
def test_folder_with_other_files(made, command, tmp_path):
    """Nothing is written to it."""
    (tmp_path / "letter").write_text("mine")
    assert "has other files in it" in refused(FOLDERS[command](made, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["letter"]


@pytest.mark.parametrize("command", sorted(FILES.keys() - {"inspect", "live"}))
def test_folder_instead_of_a_file(made, command, tmp_path):
    (tmp_path / "folder" / "below").mkdir(parents=True)
    assert f"{tmp_path}/folder" in refused(FILES[command](made, tmp_path / "folder"))
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "below"]


@pytest.mark.parametrize("command", sorted(FILES.keys() - {"live", "transcript"}))
def test_device_is_not_replaced_by_a_file(made, command):
    assert "is a device or pipe, not a regular file" in refused(FILES[command](made, "/dev/full"))
    assert Path("/dev/full").is_char_device()


def test_transcript_to_a_full_device(made):
    assert "the disk is full while writing /dev/full" in refused(FILES["transcript"](made, "/dev/full"))
    assert Path("/dev/full").is_char_device()


@pytest.mark.parametrize("arguments", [("config", "default"), ("config", "show", "--json"), ("--help",)])
def test_full_standard_output(arguments):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "sca", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 5
    message, hint = done.stderr.splitlines()
    assert message == "sca: the disk is full while writing a file or standard output"
    assert "free some space" in hint


def test_timelines_are_not_written_to_other_files(made, tmp_path):
    (tmp_path / "notes.txt").write_text("buy milk")
    assert "does not hold timelines" in refused(FILES["transcribe"](made, tmp_path / "notes.txt"))
    assert (tmp_path / "notes.txt").read_text() == "buy milk"
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


FAULTS = {"fsync": (os, errno.EIO), "replace": (os, errno.ESTALE), "flock": (fcntl, errno.ENOLCK)}
WRITERS = sorted(
    (FOLDERS | FILES).keys() - {"transcribe", "search"}
)  # those two need a model and a site before they write


@pytest.mark.parametrize(
    ("command", "call"),
    [
        *((command, "replace") for command in WRITERS),
        *((c, f) for c in ("build-duplex", "transcode") for f in ("fsync", "flock")),
    ],
)
def test_failing_drive_is_not_a_bug(made, command, call, tmp_path, monkeypatch):
    module, code = FAULTS[call]

    def fail(*_arguments, **_options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(module, call, fail)
    message = refused((FOLDERS | FILES)[command](made, tmp_path / "out"))
    assert message.endswith(f": {os.strerror(code)}")
