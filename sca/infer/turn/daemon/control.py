"""A turn server in the background: one per folder, started once, watched until it answers, stopped for certain.

Knows no settings and no model: the command that serves, and the address it serves at, are given.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from sca.errors import (
    ConfigError,
    InputError,
    MissingToolError,
    OutputError,
    ScaError,
    UpstreamError,
    UsageError,
)
from sca.infer.turn.client import TurnClient
from sca.infer.turn.daemon import process_id as process
from sca.infer.turn.daemon.log_rotation import tail
from sca.infer.turn.daemon.state_dir import Running, StateDir

__all__ = ["LogLimits", "Service", "Stopped", "address", "start", "stop"]

Process = subprocess.Popen[bytes]

_POLL_S = 0.05
_TAIL_LINES = 20
_LAST_WORDS_S = 10.0  # until the writer of the log has to be done with them
_KINDS: dict[int, type[ScaError]] = {
    kind.exit_code: kind for kind in (UsageError, ConfigError, MissingToolError, InputError, UpstreamError)
}


@dataclass(frozen=True, slots=True)
class LogLimits:
    """How much log is kept: files of this many bytes, the current one and so many old ones."""

    file_bytes: int = 10_000_000
    old_files: int = 4


@dataclass(frozen=True, slots=True)
class Service:
    """What to start: a command that takes --host and --port, and a part of it by which its process is known.

    port: 0 takes a free one.
    """

    command: Sequence[str]
    mark: str
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """What stopping did: which server there was, and whether it ended when asked or had to be killed."""

    server: Running | None
    killed: bool = False


def start(service: Service, place: StateDir, ready_s: float, limits: LogLimits) -> Running:
    """Start a server in the background and wait, `ready_s` at most, until it says that it is well.

    Raises `UsageError` when one runs here already, `ConfigError` when the port is taken, what the server's own exit code means
    when it ended before it was ready, and `UpstreamError` when it was not ready in time; then it does not run any more.
    """
    with place.locked():
        running = place.running()
        if running is not None:
            raise UsageError(
                f"a turn server runs here already: process {running.pid}, {running.url}",
                hint="sca turn stop stops it; another --state-dir and --port make a second one",
            )
        place.forget()
        port = free_port(service.host, service.port)
        command = [*service.command, "--host", service.host, "--port", str(port)]
        child, writer = _spawn(command, place, limits)
        began = process.began(child.pid) or "gone"
        server = Running(child.pid, began, address(service.host, port), service.mark)
        try:
            place.record(server)
            code = _wait_until_ready(child, server, place, ready_s)
            if code is not None:
                writer.wait()  # the server's last words
                raise _failure(code, place)
        except BaseException:
            process.end(server.pid, server.since, grace_s=2.0)
            child.wait()
            with suppress(subprocess.TimeoutExpired):
                writer.wait(timeout=5)
            place.forget()
            raise
        # They are meant to outlive this process, and are no children that it forgot.
        child.returncode = writer.returncode = 0
        return server


def stop(place: StateDir, grace_s: float = 10.0) -> Stopped:
    """Stop the server that runs here, if one does, and take its record away. Its log holds its last words then."""
    with place.locked():
        server = place.running()
        killed = False
        if server is not None:
            try:
                killed = not process.end(server.pid, server.since, grace_s)
            except PermissionError as error:
                raise UsageError(f"process {server.pid} is someone else's and cannot be stopped") from error
        place.forget()
        deadline_s = time.monotonic() + _LAST_WORDS_S
        while place.active() and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)
        return Stopped(server, killed)


def address(host: str, port: int) -> str:
    """Where to ask a server that listens at this host and port; one that listens everywhere is asked on this machine."""
    asked = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not listened at
    return f"http://[{asked}]:{port}" if ":" in asked else f"http://{asked}:{port}"


def free_port(host: str, port: int = 0) -> int:
    """`port` itself when it can be listened at, for 0 some port that can. Raises `ConfigError` when it cannot."""
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


def _spawn(command: Sequence[str], place: StateDir, limits: LogLimits) -> tuple[Process, Process]:
    """The server, and the writer of its log, which ends after it."""
    reading, writing_end = os.pipe()
    nowhere = subprocess.DEVNULL
    log = [sys.executable, "-m", "sca.infer.turn.daemon.log_rotation", place.log, limits.file_bytes, limits.old_files]
    words = [str(word) for word in log]
    try:
        with place.logging() as held:
            writer = subprocess.Popen(
                words, stdin=reading, stdout=nowhere, stderr=nowhere, start_new_session=True, pass_fds=[held]
            )
        child = subprocess.Popen(command, stdin=nowhere, stdout=writing_end, stderr=writing_end, start_new_session=True)
    except OSError as error:
        raise OutputError(f"the turn server cannot be started: {error.strerror or error}") from error
    finally:
        os.close(reading)
        os.close(writing_end)
    return child, writer


def _wait_until_ready(child: Process, server: Running, place: StateDir, ready_s: float) -> int | None:
    """None when it is ready, else the exit code it ended with. Raises `UpstreamError` when it takes too long."""
    deadline_s = time.monotonic() + ready_s
    with TurnClient(server.url, timeout_s=1.0) as client:
        while not client.healthy():
            code = child.poll()
            if code is not None:
                return code
            if time.monotonic() > deadline_s:
                raise UpstreamError(f"the turn server was not ready within {ready_s:g} s", hint=_last_words(place))
            time.sleep(_POLL_S)
    return child.poll()


def _failure(code: int, place: StateDir) -> ScaError:
    how = f"with code {code}" if code >= 0 else f"by signal {-code}"
    return _KINDS.get(code, UpstreamError)(f"the turn server ended {how} before it was ready", hint=_last_words(place))


def _last_words(place: StateDir) -> str:
    said = "\n     ".join(tail(place.log, _TAIL_LINES))
    return f"its log, {place.log}, ends:\n     {said}" if said else f"its log, {place.log}, is empty"
