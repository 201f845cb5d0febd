"""One decoder process, as the process that uses it sees it: requests, answers, and how it ended."""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from sca.audio.decoder import wire
from sca.errors import DamageError, InputError, ScaError

__all__ = ["DecoderProcess", "Limits", "decoder_command", "decoder_environment"]

_BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {} import main; main(*map(int, sys.argv[2:]))"
_ENVIRONMENT = (
    *("LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME", "PYTHONUTF8", "TZ"),
    *("SYSTEMROOT", "TEMP", "TMP"),  # Python starts on Windows with these only
)
"""The variables that are handed on. Keys and tokens are none of them."""
_PIPE_BYTES = 1 << 20
_SET_PIPE_SIZE = 1031
_CLOSE_S = 1.0
_ERRORS: dict[str, type[ScaError]] = {"InputError": InputError}
_AGAIN = "other files are not affected"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a decoder process may use.

    Attributes:
        memory_bytes: The memory that decoding may use, beside the program itself.
        cpu_s: The processor time without an answer or a block of samples.
        wait_s: The time without an answer or a block of samples.
    """

    memory_bytes: int = 1 << 30
    cpu_s: int = 60
    wait_s: float = 120.0


class DecoderProcess:
    """A decoder process. Used by one thread at a time.

    Attributes:
        requests: The requests that it was sent.
        is_usable: Whether it waits for a request.
    """

    def __init__(self, limits: Limits) -> None:
        """Start a process, without waiting for it.

        Raises:
            OSError: The system starts no process.
        """
        self._limits = limits
        self._errors = TemporaryFile()  # noqa: SIM115 - closed once the process is ready, or by `stop`
        self._process = subprocess.Popen(
            decoder_command("sca.audio.decoder.child", limits.memory_bytes, limits.cpu_s),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            cwd="/",
            env=decoder_environment(),
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        if sys.platform == "linux":
            import fcntl

            with suppress(OSError):
                fcntl.fcntl(self._out, _SET_PIPE_SIZE, _PIPE_BYTES)
        self._owner, self._is_ready, self._start_error = os.getpid(), False, ""
        self._is_stopped = False
        self.requests = 0
        self.is_usable = True

    def ask(self, what: str, path: Path, **fields: object) -> dict[str, Any]:
        """Send a request, and return its answer.

        Args:
            what: The kind of request, see `child`.
            path: The file.
            fields: What belongs to the request.

        Raises:
            InputError: The file cannot be read, or the process ended.
            OSError: The system refuses to read the file.
        """
        if not self._is_ready:
            self._wait_ready(path)
        self.requests += 1
        cwd = None if path.is_absolute() else _text(os.fsencode(Path.cwd()))
        request = {"what": what, "path": _text(os.fsencode(path)), "cwd": cwd, **fields}
        self.send(wire.REQUEST, json.dumps(request).encode())
        kind, payload = self.receive(path)
        if kind == wire.ERROR:
            self.is_usable = True
            raise self.error(payload, path)
        if kind != wire.ANSWER:
            raise self.broken(path)
        return wire.parsed(payload)

    def send(self, kind: bytes, payload: wire.Payload = b"") -> None:
        """Send a message. If the process has ended, the next `receive` reports how."""
        self.is_usable = False
        if self._is_stopped:
            return
        with suppress(BrokenPipeError):
            wire.send(self._in, kind, payload)

    def receive(self, path: Path, wait_s: float | None = None) -> tuple[bytes, bytearray]:
        """Return the next message.

        Args:
            path: The file, for messages.
            wait_s: How long it may take; None takes it from the limits.

        Raises:
            InputError: The process ended, or sent nothing for too long.
        """
        if self._is_stopped:
            raise self.broken(path)
        with self._deadline(path, self._limits.wait_s if wait_s is None else wait_s) as wait:
            try:
                message = wire.receive(self._out, wait)
            except wire.BrokenWireError:
                message = None
        if message is None:
            raise self.broken(path)
        return message

    @contextmanager
    def _deadline(self, path: Path, seconds: float) -> Iterator[Callable[[], None]]:
        """Raise InputError in `seconds`, from the function that is yielded or at the end of the block."""
        late = InputError(f"the decoder gave no sound for {self._limits.wait_s:g} s while reading {path}", hint=_AGAIN)
        if hasattr(select, "poll"):
            poll, deadline_s = select.poll(), time.monotonic() + seconds
            poll.register(self._out, select.POLLIN)

            def wait() -> None:
                if not poll.poll(max(0.0, deadline_s - time.monotonic()) * 1000):
                    self.stop()
                    raise late

            yield wait
            return
        # Windows waits for no pipe; the end of the process ends the reading.
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            self._process.kill()

        timer = threading.Timer(seconds, expire)
        timer.start()
        try:
            yield lambda: None
        finally:
            timer.cancel()
        if expired.is_set():
            self.stop()
            raise late

    def close_file(self, path: Path) -> None:
        """End the reading of a file before its end, so that the process can be used again."""
        self.send(wire.CLOSE)
        with suppress(InputError):
            while self.receive(path, _CLOSE_S)[0] not in (wire.CLOSED, wire.END, wire.ERROR):
                pass
            self.is_usable = True

    def broken(self, path: Path) -> InputError:
        """Stop the process, and return the error about its end."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_CLOSE_S)  # it closed its output; its exit code follows
        code = self._process.returncode
        self.stop()
        if code is None or code >= 0:
            return InputError(f"the decoder failed while reading {path}", hint=_AGAIN)
        if -code == signal.SIGXCPU:
            return InputError(
                f"the decoder used {self._limits.cpu_s} s of processor time without a result while reading {path}",
                hint=_AGAIN,
            )
        hint = "often for lack of memory" if -code == signal.SIGKILL else _AGAIN
        return InputError(f"the decoder ended with signal {-code} while reading {path}", hint=hint)

    def error(self, payload: wire.Payload, path: Path) -> Exception:
        """Return the error in a message."""
        return _error(wire.parsed(payload), path, self._limits)

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def stop(self) -> None:
        """End the process. A second call has no effect."""
        self.is_usable = False
        if self._is_stopped or os.getpid() != self._owner:  # a fork leaves the process to its parent
            return
        self._is_stopped = True
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        if not self._is_ready and not self._errors.closed:
            self._errors.seek(0)
            self._start_error = (self._errors.read().decode(errors="replace").strip().splitlines() or [""])[-1]
        for file in (self._process.stdin, self._process.stdout, self._errors):
            file.close()

    def _wait_ready(self, path: Path) -> None:
        self.is_usable = False
        try:
            self.receive(path)
        except InputError as error:
            if not self._start_error:
                raise
            raise ScaError(f"the decoder process does not start: {self._start_error}") from error
        self._is_ready = True
        self._errors.close()


def decoder_command(module: str, *numbers: int) -> list[str]:
    """Return the command that runs the function `main` of a module in a process of its own.

    Args:
        module: The module.
        numbers: The arguments of the function.
    """
    path = json.dumps([os.path.abspath(place) for place in sys.path])  # noqa: PTH100 - '' is the current folder
    return [sys.executable, "-P", "-c", _BOOT.format(module), path, *map(str, numbers)]


def decoder_environment() -> dict[str, str]:
    """Return the environment of a decoder process: one thread for matrix products, and nothing secret."""
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    return kept | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def _text(name: bytes) -> str:
    """Return the bytes of a path as text that JSON holds."""
    return name.decode("latin-1")


def _error(fields: dict[str, Any], path: Path, limits: Limits) -> Exception:
    """Return the error that a decoder process met."""
    hint = fields.get("hint")
    match fields.get("type"):
        case "DamageError":
            return DamageError(str(fields["message"]), hint=hint, needed_s=fields["needed_s"])
        case "MemoryError":
            mib = limits.memory_bytes >> 20
            return InputError(f"the decoder needs more than {mib} MiB of memory to read {path}", hint=_AGAIN)
        case "FFmpegError":
            return InputError(f"{path} cannot be read ({fields['reason']})")
        case "OSError":
            return OSError(fields["number"], fields["reason"], fields["name"])
        case "Exception":
            error = RuntimeError(f"the decoder met a bug while reading {path}")
            error.add_note(f"in the decoder process:\n{fields['trace']}")
            return error
        case kind:
            return _ERRORS.get(str(kind), InputError)(str(fields["message"]), hint=hint)
