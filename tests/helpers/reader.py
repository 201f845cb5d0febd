"""A reader of the documentation, who runs the blocks of a page as written: files, a shell, servers, a network of its own.

The reader has what the pages name: a corpus, a data set, recordings, transcribed shows, the scripts of the repository.
Programs that install from a package index are stand-ins, which check the names that they are given. Ports are those of
the page: commands run in a network namespace where the system permits one, otherwise one after another behind a lock.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import imageio_ffmpeg
import numpy as np
import soundfile

from sca.data.runs.ledger import Ledger, LedgerEntry
from tests.helpers import corpus
from tests.helpers.markdown import ROOT, Block
from tests.helpers.timeouts import TIMEOUT_S, until
from tests.helpers.tiny_speaker import write_speaker
from tests.helpers.tiny_whisper import default_model_in_cache, scripted_whisper
from tests.helpers.video import make_video

WORDS = (
    " Good evening everybody, it is very nice to be here, and I have to tell you about the train that I took this "
    "morning, because it never came, and nobody at the station could explain to me where it went."
)
_SERVER = re.compile(r"\bsca (turn )?(serve|browse)\b|python -m (sca\.infer|sca_run)\.server\b|scripts/start\.sh\b")
_STARTS_ANOTHER = re.compile(r"\bsca turn start\b|scripts/(start_bg|main)\.sh")
_FOLLOWS = re.compile(r"--tail\b|scripts/tail_bg_logs\.sh")
_READY = "listening on "
WHEEL = os.environ.get("DOCS_PYTHON")
"""The interpreter of an environment in which a wheel of sca is installed; see `scripts/check_wheel.sh --docs`."""
_CHECKOUT = ("scripts", "main.py", "config", "tests")

# Programs of the PATH. `pip` and `uv` reach the network: their stand-ins accept what the project offers.
_SCA = '#!/bin/sh\nexec "{python}" -m sca "$@"\n'
_PIP = '#!/bin/sh\nPYTHONPATH="{root}" exec "{python}" -m tests.helpers.install_stand_in pip "$@"\n'
_UV = """#!/bin/sh
if [ "$1" = run ]; then
  shift
  while :; do case "$1" in --extra) shift 2 ;; --no-sync) shift ;; *) break ;; esac; done
  exec "$@"
fi
PYTHONPATH="{root}" exec "{python}" -m tests.helpers.install_stand_in uv "$@"
"""
_LOOPBACK = """
import fcntl, socket, struct, sys
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sH14x", b"lo", 0x41))  # SIOCSIFFLAGS: IFF_UP | IFF_RUNNING
print("up", flush=True)
sys.stdin.read()
"""


@contextmanager
def own_network() -> Iterator[list[str]]:
    """Yield the words that run a command in a new network with loopback only; none where the system permits no such network.

    Without it a lock keeps the processes of the tests from using the same ports at the same time.
    """
    for how, into in (["-n"], ["-n"]), (["-rn"], ["-U", "--preserve-credentials", "-n"]):
        if not shutil.which("unshare") or not shutil.which("nsenter"):
            break
        holder = subprocess.Popen(
            ["unshare", *how, sys.executable, "-c", _LOOPBACK],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert holder.stdout
        with holder:
            if holder.stdout.readline() == "up\n":
                enter = ["nsenter", *into, "-t", str(holder.pid)]
                if subprocess.run([*enter, "true"], capture_output=True).returncode == 0:
                    yield [*enter, "--"]
                    return
    with filelock.FileLock(Path(tempfile.gettempdir()) / "sca-documented-ports.lock"):
        yield []


def make_programs(root: Path, python: str | Path = sys.executable) -> Path:
    """Make the folder of the PATH with `sca`, which `python` runs, and the stand-ins of `pip` and `uv`."""
    programs = root / "bin"
    programs.mkdir(parents=True)
    for name, text in (("sca", _SCA), ("pip", _PIP), ("uv", _UV)):
        (programs / name).write_text(text.format(python=python if name == "sca" else sys.executable, root=ROOT))
        (programs / name).chmod(0o755)
    return programs


def make_files(root: Path) -> Path:
    """Make the files that the pages name, in a folder that is copied for each page; beside it is `hub`."""
    files = root / "files"
    source = corpus.demo(files / "my_corpus")
    samples, rate = soundfile.read(source / "WAV" / "D0001_S0001_0_G0001.flac")
    _shorten(source, 30.0)
    shows = files / "dataset" / "audio_outputs"
    shows.mkdir(parents=True)
    samples = _without_pauses(samples, rate)[: 18 * rate]  # a show: one speaker who talks without a partner
    soundfile.write(shows / "show.flac", samples, rate)
    timeline = [{"start": t, "end": t + 6.0, "role": "comedian", "content": f"Part {t}."} for t in (1.0, 9.0)]
    line = json.dumps({"video_id": "show", "timeline": timeline})
    for name in ("dataset/inference_outputs.jsonl", "shows.jsonl", "truth.jsonl"):
        (files / name).write_text(line + "\n")
    (files / ".env").write_text("RUNPOD_TCP_HOST=localhost\nRUNPOD_TCP_PORT=8000\nAUTH_KEY=dev\n")
    (files / "sca.toml").write_text('[duplex]\nwindow = "15-40"\n')
    _make_recordings(files, samples, rate)
    shutil.copytree(shows, files / "audio")
    write_speaker(files / "voices.onnx")
    make_video(files / "clip.mp4", 50)
    default_model_in_cache(root / "hub", scripted_whisper(root / "whisper", WORDS, 10.0))
    return files


def _shorten(source: Path, seconds: float) -> None:
    """Cut a corpus to its first seconds: the examples run many commands on it."""
    for path in (source / "WAV").iterdir():
        samples, rate = soundfile.read(path, dtype="int16")
        soundfile.write(path, samples[: round(seconds * rate)], rate)
    for path in (source / "TXT").iterdir():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if float(line[1:].partition("]")[0].split(",")[1]) < seconds]
        path.write_text("".join(kept), encoding="utf-8")
    for path in (source / "WORDS").iterdir():
        words = [word for word in json.loads(path.read_text(encoding="utf-8")) if word[2] < seconds]
        path.write_text(json.dumps(words), encoding="utf-8")


def _without_pauses(samples: np.ndarray, rate: int) -> np.ndarray:
    blocks = samples[: len(samples) // (rate // 10) * (rate // 10)].reshape(-1, rate // 10)
    return blocks[np.abs(blocks).max(axis=1) > 0.01].reshape(-1)


def _make_recordings(files: Path, samples: np.ndarray, rate: int) -> None:
    """Write the recordings that pages call question, talk, mid and in, and folders of recordings."""
    question, talk = samples[: 5 * rate], samples[: 12 * rate]
    for name, sound in (
        ("question.wav", question),
        ("question.flac", question),
        ("question.mp3", question),
        ("in.wav", question),
        ("mid.wav", question[: 3 * rate]),
        ("talk.flac", talk),
        ("talk.mp3", talk),
        ("talks/one.wav", talk),
        ("podcasts/first.wav", talk),
        ("fdb/pause/1/input.wav", question),
    ):
        (files / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(files / name, sound, rate)
    downloads = files / "dataset" / "video_downloads"
    downloads.mkdir()
    for made, source, codec in (
        (files / "talk.m4a", "talk.flac", "aac"),
        (downloads / "A show [abcdefghijk].webm", "dataset/audio_outputs/show.flac", "libopus"),
    ):
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", files / source, "-c:a", codec, made]
        subprocess.run(command, check=True, capture_output=True)


def make_earlier_runs(dataset: Path) -> None:
    """Write the ledgers of earlier runs, with failures."""
    failed = {
        "video_downloads/ledger.jsonl": ["Private video", "Private video", "HTTP 403 for the media"],
        "audio_outputs/ledger.jsonl": [],
        "inference_outputs.ledger.jsonl": ["the recognizer failed: out of memory"],
    }
    for name, reasons in failed.items():
        done = "verified" if name.startswith("video") else "kept"
        entries = [LedgerEntry("show", "show", done, extra={"seconds": 1800.0})]
        entries += [LedgerEntry(f"show{n}", f"show{n}", "failed", reason) for n, reason in enumerate(reasons)]
        Ledger(dataset / name).settle(entries)
    kept = LedgerEntry("show", "show", "kept", extra={"seconds": 1800.0})
    dropped = [LedgerEntry(f"show{n}", f"show{n}", "dropped", "no row comes of it (too_short 4)") for n in range(2)]
    Ledger(dataset / "converted" / "ledger.jsonl").settle([kept, *dropped])


class Reader:
    """One reader of one page: runs its blocks in order, in one folder. Servers run until the next one, or the end.

    Args:
        folder: The working folder.
        programs: The folder of `make_programs`.
        network: The words that run a command in the network of the reader.
        python: The interpreter of Python blocks. The one of `WHEEL` imports the sca that is installed there.
        environment: Variables.

    Attributes:
        folder: The working folder.
    """

    def __init__(
        self, folder: Path, programs: Path, network: list[str], python: str | Path = sys.executable, **environment: str
    ):
        self.folder = folder
        self._python = str(python)
        self._network = network
        own = Path(python if str(python) == WHEEL else sys.executable).parent
        path = os.pathsep.join([str(programs), str(own), str(Path(sys.executable).parent), os.environ["PATH"]])
        imported = "" if str(python) == WHEEL else str(ROOT)
        self._environment = os.environ | {"PATH": path, "PYTHONPATH": imported} | environment
        self._server: _Server | None = None
        self._typed = folder / ".typed"
        self._typed.write_text("What is the capital of France?\n")
        for name, target in ((".venv", own.parent), *((name, ROOT / name) for name in _CHECKOUT)):
            if not (folder / name).exists():
                (folder / name).symlink_to(target)

    def run(self, block: Block) -> None:
        """Run a block as written, and compare the output that it shows."""
        if block.language == "python":
            self._finish(block.text, [self._python, "-c", block.text])
        elif block.language == "console":
            for command, expected in console_parts(block.text):
                self._command(command, expected)
        elif any(kind.search(block.text) for kind in (_SERVER, _STARTS_ANOTHER, _FOLLOWS)):
            for command in lines_of(block.text):
                self._command(command)
        else:
            self._command(block.text)

    def close(self) -> None:
        """Stop the server, as Ctrl-C does; it must end cleanly."""
        if self._server is not None:
            server, self._server = self._server, None
            server.stop()

    def kill(self) -> None:
        """End what still runs, after a failure."""
        if self._server is not None:
            self._server.kill()
        if (Path(self._environment["SCA_CACHE_DIR"]) / "turn").exists():
            self._finish("sca turn stop", ["bash", "-c", "sca turn stop --purge"])

    def _command(self, command: str, expected: str = "") -> None:
        shell = ["bash", "-eo", "pipefail", "-c", command]
        if _SERVER.search(command) or _STARTS_ANOTHER.search(command):
            self.close()
        if _SERVER.search(command):
            self._server = _Server(self._start(shell), command, _READY)
            output = self._server.text()
        elif _FOLLOWS.search(command):
            follower = _Server(self._start(shell), command, "\n")
            follower.stop()
            output = follower.text()
        else:
            output = self._finish(command, shell, fails=expected.startswith("sca: "))
        assert shows(output, expected), f"{command}\nshould print\n{expected}\nbut printed\n{output}"

    def _start(self, words: list[str]) -> "subprocess.Popen[str]":
        with self._typed.open() as typed:
            return subprocess.Popen(
                [*self._network, *words],
                cwd=self.folder,
                env=self._environment,
                stdin=typed,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def _finish(self, text: str, words: list[str], *, fails: bool = False) -> str:
        with self._start(words) as process:
            try:
                output, _ = process.communicate(timeout=4 * TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                output, _ = process.communicate()
                raise AssertionError(f"does not end\n{text}\n{output[-4000:]}") from None
        assert bool(process.returncode) == fails, f"exit code {process.returncode}\n{text}\n{output[-6000:]}"
        return output


class _Server:
    """A command that runs until Ctrl-C, once it has printed `ready`."""

    def __init__(self, process: "subprocess.Popen[str]", command: str, ready: str):
        self._process, self._command = process, command
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        until(lambda: ready in self.text() or not self._reader.is_alive())
        if ready not in self.text():
            self.kill()
            raise AssertionError(f"{command}\nended before it printed {ready!r}\n{self.text()}")

    def text(self) -> str:
        return "".join(self._lines)

    def stop(self) -> None:
        os.killpg(self._process.pid, signal.SIGINT)
        code = self._process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        assert code in (0, 130, -signal.SIGINT), f"{self._command}\nexit code {code}\n{self.text()}"

    def kill(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.append(line)
        self._process.stdout.close()


def lines_of(text: str) -> list[str]:
    """The commands of a block, one a line; a line that ends in a backslash continues. Comments are left out."""
    joined = text.replace("\\\n", " ").splitlines()
    return [line for line in joined if line.strip() and not line.lstrip().startswith("#")]


def console_parts(text: str) -> list[tuple[str, str]]:
    """The commands of a block with prompts, each with the output that the block shows after it."""
    parts: list[tuple[str, str]] = []
    for line in text.replace("\\\n", " ").splitlines(keepends=True):
        if line.startswith("$ "):
            parts.append((line.removeprefix("$ "), ""))
        else:
            command, output = parts[-1]
            parts[-1] = command, output + line
    return parts


_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")


def shows(output: str, expected: str) -> bool:
    """Whether the expected lines are in the output, in this order; other lines may be between them.

    Any number is equal to any other, any amount of white space to any other, and `…` stands for any text in a line.
    """
    printed = iter([_comparable(line) for line in output.splitlines()])
    for line in filter(None, map(_comparable, expected.splitlines())):
        pattern = re.compile(".*".join(map(re.escape, line.split("…"))))
        if not any(pattern.fullmatch(found) for found in printed):
            return False
    return True


def _comparable(line: str) -> str:
    return " ".join(_NUMBER.sub("0", line).split())
