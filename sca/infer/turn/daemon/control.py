"""Starts and stops a turn server in the background. There is one server per state directory.

Independent of settings and models: the command of the server and its address are arguments.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sca.errors import (
    ConfigError,
    OutputError,
    ScaError,
    UpstreamError,
    UsageError,
)
from sca.infer.turn.client import TurnClient
from sca.infer.turn.daemon import process_id
from sca.infer.turn.daemon.state_dir import ServerRecord, StateDir

__all__ = ["LogLimits", "ServerCommand", "StopResult", "free_port", "reload", "server_url", "start", "stop"]

Process = subprocess.Popen[bytes]

_POLL_S = 0.05
_FLUSH_S = 10.0  # for the log writer to write the rest of the server's output
_CLEANUP_S = 5.0  # for the log writer to end after a server that did not start
_ERROR_MARKS = ("sca: ", "Error: ")
_STOP_S = 2.0  # for a server that did not start to end
_RELOADED = re.compile(r"(not )?reloaded(?::|, the old settings remain:) ([^\n]*?)(?:\"}|\\n|\n)")


@dataclass(frozen=True, slots=True)
class LogLimits:
    """How much of the log is kept.

    Attributes:
        file_bytes: The size at which the log file is rotated.
        old_files: How many rotated files are kept.
    """

    file_bytes: int = 10_000_000
    old_files: int = 4


@dataclass(frozen=True, slots=True)
class ServerCommand:
    """The command of a server.

    Attributes:
        command: The command, which accepts --host and --port.
        mark: A part of the command line that identifies the process.
        host: The address to listen on.
        port: The port; 0 for a free one.
    """

    command: Sequence[str]
    mark: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class StopResult:
    """The result of `stop`.

    Attributes:
        server: The server that was stopped; None if none was running.
        killed: Whether it had to be killed.
    """

    server: ServerRecord | None
    killed: bool = False


def start(service: ServerCommand, state_dir: StateDir, ready_s: float, limits: LogLimits) -> ServerRecord:
    """Start a server in the background and wait until it is healthy. If that fails, the server is stopped.

    Args:
        service: The server.
        state_dir: Its state directory.
        ready_s: How long it may take to become healthy.
        limits: How much of its log is kept.

    Returns:
        The running server.

    Raises:
        UsageError: A server is already running here.
        ConfigError: The port is in use.
        ScaError: The server ended before it was ready; the exit code is that of the server.
        UpstreamError: The server was not ready in time.
    """
    with state_dir.lock():
        running = state_dir.running()
        if running is not None:
            raise UsageError(
                f"a turn server is already running here: process {running.pid}, {running.url}",
                hint="sca turn stop stops it; use another --state-dir and --port for a second one",
            )
        state_dir.remove_record()
        port = free_port(service.host, service.port)
        command = [*service.command, "--host", service.host, "--port", str(port)]
        begin = _size(state_dir.log)
        child, writer = _spawn(command, state_dir, limits)
        since = process_id.start_time(child.pid) or "ended"
        server = ServerRecord(child.pid, since, server_url(service.host, port), service.mark)
        try:
            state_dir.write_record(server)
            code = _wait_until_ready(child, server, state_dir.log, ready_s)
            if code is not None:
                writer.wait()  # until the log contains all output of the server
                raise _startup_error(code, _text_after(state_dir.log, begin), state_dir.log)
        except BaseException:
            process_id.terminate(server.pid, server.since, grace_s=_STOP_S)
            child.wait()
            with suppress(subprocess.TimeoutExpired):
                writer.wait(timeout=_CLEANUP_S)
            state_dir.remove_record()
            raise
        # Both outlive this process on purpose; a return code prevents subprocess from warning about that.
        child.returncode = writer.returncode = 0
        return server


def stop(state_dir: StateDir, grace_s: float = 10.0) -> StopResult:
    """Stop the running server, if there is one, and remove its record. Its log is then complete.

    Args:
        state_dir: The state directory.
        grace_s: How long the server may take before it is killed.

    Returns:
        What was stopped.

    Raises:
        UsageError: The process belongs to another user.
    """
    with state_dir.lock():
        server = state_dir.running()
        killed = False
        if server is not None:
            try:
                killed = not process_id.terminate(server.pid, server.since, grace_s)
            except PermissionError as error:
                raise UsageError(f"process {server.pid} belongs to another user and cannot be stopped") from error
        state_dir.remove_record()
        deadline_s = time.monotonic() + _FLUSH_S
        while state_dir.is_active() and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)
        return StopResult(server, killed)


def reload(state_dir: StateDir, timeout_s: float = 10.0) -> str:
    """Let the running server read its settings again.

    Args:
        state_dir: The state directory.
        timeout_s: How long the server may take.

    Returns:
        What changed, as the server logged it.

    Raises:
        UsageError: No server is running here, or it belongs to another user.
        ConfigError: The settings are bad; the server continues with the old ones.
        UpstreamError: The server did not answer in time.
    """
    server = state_dir.running()
    if server is None:
        raise UsageError("no turn server runs here", hint="sca turn start starts one")
    begin = _size(state_dir.log)
    try:
        os.kill(server.pid, signal.SIGHUP)
    except PermissionError as error:
        raise UsageError(f"process {server.pid} belongs to another user") from error
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s and state_dir.running() is not None:
        found = _RELOADED.search(_text_after(state_dir.log, begin))
        if found is not None and found[1]:
            raise ConfigError(found[2])
        if found is not None:
            return found[2]
        time.sleep(_POLL_S)
    raise UpstreamError(f"the turn server did not report that it read its settings (log: {state_dir.log})")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _text_after(path: Path, begin: int) -> str:
    """Return what was appended to a log since it had `begin` bytes. It may have been rotated meanwhile."""
    with suppress(OSError), path.open("rb") as file:
        file.seek(begin if _size(path) >= begin else 0)
        return file.read().decode("utf-8", "replace")
    return ""


def server_url(host: str, port: int) -> str:
    """Return the URL of a server that listens on an address. One that listens on all addresses is reached locally."""
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{local}]:{port}" if ":" in local else f"http://{local}:{port}"


def free_port(host: str, port: int = 0) -> int:
    """Return a port that can be bound: `port` itself, or any if it is 0.

    Raises:
        ConfigError: The port cannot be bound.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            found: int = probe.getsockname()[1]
            return found
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port} ({error.strerror or error})", hint="another --port, or 0 for a free one"
        ) from error


def _spawn(command: Sequence[str], state_dir: StateDir, limits: LogLimits) -> tuple[Process, Process]:
    """Start the server and the process that writes its log, which ends after it."""
    read_end, write_end = os.pipe()
    null = subprocess.DEVNULL
    module = "sca.infer.turn.daemon.log_rotation"
    log_command = [
        sys.executable, "-m", module, str(state_dir.log), str(limits.file_bytes), str(limits.old_files),
    ]  # fmt: skip
    try:
        with state_dir.log_lock() as lock:
            writer = subprocess.Popen(
                log_command, stdin=read_end, stdout=null, stderr=null, start_new_session=True, pass_fds=[lock]
            )
        child = subprocess.Popen(command, stdin=null, stdout=write_end, stderr=write_end, start_new_session=True)
    except OSError as error:
        raise OutputError(f"the turn server cannot be started: {error.strerror or error}") from error
    finally:
        os.close(read_end)
        os.close(write_end)
    return child, writer


def _wait_until_ready(child: Process, server: ServerRecord, log: Path, ready_s: float) -> int | None:
    """Wait until the server is healthy (None) or has ended (its exit code).

    Raises:
        UpstreamError: It takes longer than `ready_s`.
    """
    deadline_s = time.monotonic() + ready_s
    with TurnClient(server.url, timeout_s=1.0) as client:
        while not client.ready():
            code = child.poll()
            if code is not None:
                return code
            if time.monotonic() > deadline_s:
                raise UpstreamError(f"the turn server was not ready within {ready_s:g} s (log: {log})")
            time.sleep(_POLL_S)
    return child.poll()


def _startup_error(code: int, output: str, log: Path) -> ScaError:
    """Return an error with the exit code of a server that ended, and the error in its output."""
    cause = f"with code {code}" if code >= 0 else f"by signal {-code}"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    reason = next(
        (line for line in reversed(lines) if line.startswith(_ERROR_MARKS)), lines[-1] if lines else "no output"
    )
    error = UpstreamError(
        f"the turn server ended {cause} before it was ready: {reason.removeprefix('sca: ')} (log: {log})"
    )
    if code > 0:
        error.exit_code = code
    return error
