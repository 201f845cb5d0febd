"""Find ffmpeg, and run it with progress and with errors that fit on one line."""

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from typing_extensions import override

from sca.children.ending import ending_with_parent
from sca.data.media.ffmpeg_log import FfmpegLog, is_system_error
from sca.errors import InputError, MissingToolError, OutputError, ScaError

if TYPE_CHECKING:
    from ffmpeg.nodes import OutputStream

__all__ = [
    "INSTALL",
    "FfmpegCrashedError",
    "FfmpegProgram",
    "FfmpegRunner",
    "FfmpegStopped",
    "find_ffmpeg",
    "url",
]

# `level` puts the level before every message; at `verbose` ffmpeg counts what it decoded.
_LOG_OPTIONS = ("-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+verbose")
_PROGRESS_OPTIONS = ("-progress", "pipe:1", "-stats_period", "0.25")
INSTALL = "install ffmpeg (apt-get install ffmpeg, brew install ffmpeg), or: pip install imageio-ffmpeg"
_SIGINT = 2
_END_SIGNALS = (1, 15)
"""SIGHUP and SIGTERM, which ffmpeg handles: a service manager sends them to all processes of a command."""
_MEMORY_BYTES, _THREAD_BYTES = 2 << 30, 256 << 20
"""The address space of ffmpeg, and what is added for each core, of whose threads each reserves some."""
_DESCRIPTORS = 256
_CRASHES = frozenset({4, 6, 7, 8, 11})
"""SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV."""


class FfmpegCrashedError(ScaError):
    """ffmpeg crashed: a fault of its build in a format, not of the file."""


class FfmpegStopped(Exception):  # noqa: N818 - not an error: the work was to end
    """ffmpeg was ended by `FfmpegRunner.stop`, or by an interrupt that reached it first."""


@dataclass(frozen=True, slots=True)
class FfmpegProgram:
    """A usable ffmpeg executable.

    Attributes:
        path: The executable.
        origin: "system" or "imageio-ffmpeg".
        version: The version it prints.
        soxr: Whether it was built with the better resampler.
    """

    path: str
    origin: str
    version: str
    soxr: bool

    @property
    def decodes_media(self) -> bool:
        """Whether it decodes recordings of others; the program of imageio-ffmpeg, of 2024, gets decoded copies only."""
        return self.origin == "system"


def find_ffmpeg() -> FfmpegProgram:
    """Return the system's ffmpeg if it works, else the one of imageio-ffmpeg.

    Raises:
        MissingToolError: Neither works.
    """
    import imageio_ffmpeg

    errors = []
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
            errors.append(f"{origin}: {error}")
            continue
        words = text.split(maxsplit=3)
        version = words[2] if len(words) > 2 else "unknown"
        return FfmpegProgram(path, origin, version, "--enable-libsoxr" in text)
    details = f" ({'; '.join(errors)})" if errors else ""
    raise MissingToolError(f"no working ffmpeg found{details}", hint=INSTALL)


def url(path: Path) -> str:
    """Return a path in a form that ffmpeg takes literally, whatever is in it (`-x`, `concat:`, `a:b`, `%d`)."""
    return "file:" + str(path.absolute())


class FfmpegRunner:
    """Runs ffmpeg for many threads, a limited number at a time."""

    def __init__(self, program: FfmpegProgram, jobs: int = 1) -> None:
        """Create a runner.

        Args:
            program: The executable.
            jobs: Processes at a time.
        """
        self.program = program
        self._jobs = jobs
        self._slots = threading.BoundedSemaphore(jobs)
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._is_stopped = False

    @override
    def __reduce__(self) -> tuple[type["FfmpegRunner"], tuple[FfmpegProgram, int]]:
        # A worker process gets a runner of its own: processes and locks stay where they are.
        return FfmpegRunner, (self.program, self._jobs)

    def run(self, command: "OutputStream", on_progress: Callable[[float], None] | None = None) -> FfmpegLog:
        """Run a command of ffmpeg-python to its end, and return its log.

        Args:
            command: The output node.
            on_progress: Called several times per second with the seconds made so far.

        Raises:
            InputError: ffmpeg failed.
            OutputError: ffmpeg failed because the target cannot be written.
            ScaError: ffmpeg was killed.
            FfmpegStopped: The runner was stopped.
        """
        with self._slots:
            return self._run(command.global_args(*_LOG_OPTIONS, *_PROGRESS_OPTIONS).overwrite_output(), on_progress)

    def _run(self, command: "OutputStream", on_progress: Callable[[float], None] | None) -> FfmpegLog:
        with self._lock:
            if self._is_stopped:
                raise FfmpegStopped
            process: subprocess.Popen[bytes] = command.run_async(
                cmd=[*ending_with_parent(), self.program.path], pipe_stdout=True, pipe_stderr=True
            )
            self._running.add(process)
        _limit(process.pid)
        assert process.stdout is not None
        assert process.stderr is not None
        log = FfmpegLog()
        reader = threading.Thread(target=_read_log, args=(process.stderr, log), name="ffmpeg log", daemon=True)
        reader.start()
        try:
            for made_s in _progress_times(process.stdout):
                if on_progress is not None:
                    on_progress(made_s)
            code = process.wait()
        finally:
            process.kill()
            process.wait()
            with self._lock:
                self._running.discard(process)
            reader.join()
            process.stdout.close()
            process.stderr.close()
        self._check_exit(code, log)
        return log

    def check_stop(self) -> None:
        """Raise `FfmpegStopped` if the runner was stopped."""
        if self._is_stopped:
            raise FfmpegStopped

    def stop(self) -> None:
        """Kill every running ffmpeg, and start no more. Unfinished files are left to the callers of `run`."""
        with self._lock:
            self._is_stopped = True
            for process in self._running:
                process.kill()

    def _check_exit(self, code: int, log: FfmpegLog) -> None:
        was_interrupted = code == -_SIGINT or (code and _received(log, _SIGINT))
        if self._is_stopped or was_interrupted:
            raise FfmpegStopped
        if -code in _CRASHES:
            raise FfmpegCrashedError(
                f"ffmpeg crashed with signal {-code}", hint=f"another build may not: {INSTALL}; see sca doctor"
            )
        ended = next((n for n in _END_SIGNALS if code == -n or (code and _received(log, n))), None)
        if ended is not None:
            raise ScaError(f"ffmpeg was ended by signal {ended}", hint="run the command again")
        if code < 0:
            raise ScaError(
                f"ffmpeg was killed by signal {-code}", hint="out of memory, or over a limit: try fewer --jobs"
            )
        if code:
            error_class = OutputError if is_system_error(log.reason) else InputError
            raise error_class(f"ffmpeg: {log.reason}")


def _received(log: FfmpegLog, number: int) -> bool:
    return any(re.search(rf"\bsignal {number}\b", line) is not None for line in log.tail)


def _limit(pid: int) -> None:
    """Limit the memory and the open files of ffmpeg, which reads media of others, where the system can (Linux)."""
    if sys.platform == "linux":
        import resource

        memory = _MEMORY_BYTES + _THREAD_BYTES * (os.cpu_count() or 1)
        for kind, most in (
            (resource.RLIMIT_AS, memory),
            (resource.RLIMIT_NOFILE, _DESCRIPTORS),
            (resource.RLIMIT_CORE, 0),
        ):
            with suppress(OSError, ValueError):  # it has ended, or has a lower limit
                resource.prlimit(pid, kind, (most, most))


def _read_log(lines: IO[bytes], log: FfmpegLog) -> None:
    for line in lines:
        log.add_line(line.decode(errors="replace").rstrip("\r\n"))


def _progress_times(lines: Iterable[bytes]) -> Iterator[float]:
    """Yield the seconds that `-progress` reports. ffmpeg prints N/A for what it does not know yet."""
    for line in lines:
        name, _, value = line.strip().partition(b"=")
        if name == b"out_time_us" and value.isdigit():
            yield int(value) / 1e6
