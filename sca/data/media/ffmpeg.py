"""The seam to ffmpeg: which program, running it with progress, and what its log says, errors in one line.

Commands are built with ffmpeg-python by those who need them. Knows nothing of files' formats or of ledgers.
"""

import re
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sca.errors import InputError, MissingToolError, OutputError, ScaError

__all__ = ["Log", "Program", "Runner", "Stopped", "find_ffmpeg", "url"]

# `level` puts the level before every message; at `verbose` ffmpeg counts what it decoded.
QUIET = ("-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+verbose")
PROGRESS = ("-progress", "pipe:1", "-stats_period", "0.25")
INSTALL = "install ffmpeg (apt-get install ffmpeg, brew install ffmpeg), or: pip install imageio-ffmpeg"
_SIGINT = 2


class Stopped(Exception):  # noqa: N818 - not an error: someone wanted the work to end
    """The run was asked to stop, by `Runner.stop` or by an interrupt that reached ffmpeg first."""


@dataclass(frozen=True, slots=True)
class Program:
    """An ffmpeg that starts. origin: `system` or `imageio-ffmpeg`.   soxr: it was built with the better resampler."""

    path: str
    origin: str
    version: str
    soxr: bool


def find_ffmpeg() -> Program:
    """The system's ffmpeg if there is one that starts, else the binary that comes with imageio-ffmpeg."""
    import imageio_ffmpeg

    tried = []
    candidates: list[tuple[str, Callable[[], str | None]]] = [
        ("system", lambda: shutil.which("ffmpeg")),
        ("imageio-ffmpeg", imageio_ffmpeg.get_ffmpeg_exe),
    ]
    for origin, find in candidates:
        try:
            path = find()
            if path is None:
                continue
            command = [path, "-version"]
            text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            tried.append(f"{origin}: {error}")
            continue
        words = text.split(maxsplit=3)
        return Program(path, origin, words[2] if len(words) > 2 else "unknown", "--enable-libsoxr" in text)
    why = f" ({'; '.join(tried)})" if tried else ""
    raise MissingToolError(f"there is no ffmpeg that starts{why}", hint=INSTALL)


def url(path: Path) -> str:
    """A path as ffmpeg takes it literally, whatever it begins with or holds (`-x`, `concat:`, `a:b`, `%d`)."""
    return "file:" + str(path.absolute())


@dataclass(slots=True)
class Log:
    """What matters of a run's log.

    decoded: samples the decoder gave, of the first input.   in_rate_hz: their rate.   added, dropped: samples of silence put into
    holes of the time line, and samples taken out where it goes back; at the input's and at the output's rate.
    """

    decoded: int | None = None
    in_rate_hz: int | None = None
    out_rate_hz: int | None = None
    added: int = 0
    dropped: int = 0
    decode_errors: int = 0
    ended_early: bool = False
    errors: list[str] = field(default_factory=list)
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=60))

    def feed(self, line: str) -> None:
        """Take in one line."""
        self.tail.append(line)
        found = _LEVEL.match(line)
        if not found:
            return
        level, text = found["level"], found["text"].strip()
        if level in ("fatal", "panic", "error"):
            if len(self.errors) < _ERRORS_KEPT and text:
                self.errors.append(text)
            self.decode_errors += text.startswith("Error while decoding stream #0")
        self.ended_early |= "ended prematurely" in text or text.endswith("partial file")
        if level == "verbose":
            self._count(text)

    def _count(self, text: str) -> None:
        if counted := _DECODED.match(text):
            self.decoded = int(counted["samples"])
            self.decode_errors = max(self.decode_errors, int(counted["errors"] or 0))
        elif rates := _RATES.search(text):
            # The first filter converts the rate; what comes after it converts formats only.
            self.in_rate_hz = self.in_rate_hz or int(rates[1])
            self.out_rate_hz = self.out_rate_hz or int(rates[2])
        elif filled := _ADDED.match(text):
            self.added += int(filled[1])
        elif dropped := _DROPPED.match(text):
            self.dropped += int(dropped[1])

    @property
    def source_s(self) -> float | None:
        """Seconds the source lasts on its own time line, holes included; None when this ffmpeg does not count."""
        if self.decoded is None or not self.in_rate_hz or not self.out_rate_hz:
            return None
        return (self.decoded + self.added) / self.in_rate_hz - self.dropped / self.out_rate_hz

    @property
    def loudness(self) -> tuple[float, float] | None:
        """Integrated loudness (LUFS) and true peak (dBTP) of an `ebur128` run; None where all is silent."""
        text = "\n".join(self.tail)
        found = _LOUDNESS.findall(text), _PEAK.findall(text)
        if not all(found) or float(found[0][-1]) <= _GATE_LUFS or found[1][-1] == "-inf":
            return None
        return float(found[0][-1]), float(found[1][-1])

    @property
    def reason(self) -> str:
        """ffmpeg's own words for what went wrong, in one line: the first complaint, and the system's if that came later."""
        known = next((e for e in self.errors if _SYSTEM.search(e)), None)
        first = known or next(iter(self.errors), None)
        if first is None:
            last = next((line for line in reversed(self.tail) if line.strip()), "")
            first = last.strip() or "it gave no reason"
        return _ADDRESS.sub("", first)


_ERRORS_KEPT = 20
_LEVEL = re.compile(r"(?:\[[^\]]* @ [^\]]*\] )*\[(?P<level>[a-z]+)\] (?P<text>.*)", re.DOTALL)
_DECODED = re.compile(
    r"Input stream #0:\d+ \(audio\): .*frames decoded(?:; (?P<errors>\d+) decode errors)? \((?P<samples>\d+) samples\)"
)
_RATES = re.compile(r"\br:(\d+)Hz -> .*\br:(\d+)Hz")
_ADDED = re.compile(r"adding (\d+) audio samples of silence")
_DROPPED = re.compile(r"discarding (\d+) audio samples")
_LOUDNESS = re.compile(r"^\s*I:\s+(-?[\d.]+) LUFS", re.MULTILINE)
_PEAK = re.compile(r"^\s*Peak:\s+(-?(?:[\d.]+|inf)) dBFS", re.MULTILINE)
_GATE_LUFS = -70.0  # the absolute gate of BS.1770: what is below counts as silence
_ADDRESS = re.compile(r" @ 0x[0-9a-f]+")
_SYSTEM = re.compile(
    r"No space left|quota exceeded|Permission denied|Read-only file system|File too large|Input/output"
)


class Runner:
    """Runs one ffmpeg for many threads, `jobs` at a time; `stop` ends what runs and what is still to come."""

    def __init__(self, program: Program, jobs: int = 1) -> None:
        self.program = program
        self._slots = threading.BoundedSemaphore(jobs)
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def run(self, job: Any, on_time: Callable[[float], None] | None = None) -> Log:
        """Run an ffmpeg-python output to its end; `on_time` hears the seconds made so far, a few times a second.

        Raises `InputError` with ffmpeg's reason, `OutputError` when that lies with the target, `Stopped`.
        """
        with self._slots:
            return self._run(job.global_args(*QUIET, *PROGRESS).overwrite_output(), on_time)

    def _run(self, job: Any, on_time: Callable[[float], None] | None) -> Log:
        with self._lock:
            if self._stopped:
                raise Stopped
            process = job.run_async(cmd=self.program.path, pipe_stdout=True, pipe_stderr=True)
            self._running.add(process)
        log = Log()
        reader = threading.Thread(target=_drain, args=(process.stderr, log), name="ffmpeg log", daemon=True)
        reader.start()
        try:
            for made_s in _times(process.stdout):
                if on_time is not None:
                    on_time(made_s)
            code = process.wait()
        finally:
            process.kill()
            process.wait()
            with self._lock:
                self._running.discard(process)
            reader.join()
            process.stdout.close()
            process.stderr.close()
        self._judge(code, log)
        return log

    def stop(self) -> None:
        """Kill every ffmpeg that runs and start no more. Half-made files are their maker's to remove."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.kill()

    def _judge(self, code: int, log: Log) -> None:
        if self._stopped or code == -_SIGINT or (code and any(f"signal {_SIGINT}" in line for line in log.tail)):
            raise Stopped
        if code < 0:
            raise ScaError(
                f"ffmpeg was killed by signal {-code}", hint="out of memory, or over a limit: try fewer --jobs"
            )
        if code:
            kind = OutputError if _SYSTEM.search(log.reason) else InputError
            raise kind(f"ffmpeg: {log.reason}")


def _drain(lines: Iterable[bytes], log: Log) -> None:
    for line in lines:
        log.feed(line.decode(errors="replace").rstrip("\r\n"))


def _times(lines: Iterable[bytes]) -> Iterable[float]:
    """Seconds from `-progress`; what is not known yet reads N/A."""
    for line in lines:
        name, _, value = line.strip().partition(b"=")
        if name == b"out_time_us" and value.isdigit():
            yield int(value) / 1e6
