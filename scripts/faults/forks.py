"""Runs `sca` commands in forks of this process, which has imported what they need.

A new process imports for seconds; a fork starts in milliseconds, and is a process of its own that can be killed.
"""

import atexit
import importlib
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Ended", "cpu_s", "import_what_it_needs", "now_s", "run_sca", "serve_folder"]

TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: The exit code; minus the number of the signal that ended it; None if it ran into the time limit.
        stdout: What it printed.
        stderr: Its messages.
        told: What the child's `at_end` returned, JSON; None if the child was killed.
    """

    code: int | None
    stdout: str = ""
    stderr: str = ""
    told: object = field(default=None, compare=False)


def run_sca(
    words: Sequence[str],
    cwd: Path,
    env: Mapping[str, str],
    *,
    before: Callable[[], None] = lambda: None,
    at_end: Callable[[], object] = lambda: None,
    timeout_s: float = TIMEOUT_S,
) -> Ended:
    """Run one command in a fork, and wait for it.

    Args:
        words: The command line after `sca`.
        cwd: Its working folder. Outputs of the process are stored beside it.
        env: Variables to set.
        before: Called in the child before the command, to install faults.
        at_end: Called in the child after the command; returns JSON.
        timeout_s: When to kill it.
    """
    stdout, stderr, told = (cwd.with_name(f"{cwd.name}.{kind}") for kind in ("stdout", "stderr", "told"))
    told.unlink(missing_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _be_the_command(words, cwd, env, before, at_end, (stdout, stderr, told))
    code = _wait(child, timeout_s)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # programs that the command started
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in (stdout, stderr)]
    return Ended(code, *texts, json.loads(told.read_text()) if told.exists() else None)


def _wait(child: int, timeout_s: float) -> int | None:
    pidfd = os.pidfd_open(child)
    try:
        import select

        if not select.select([pidfd], [], [], timeout_s)[0]:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
    finally:
        os.close(pidfd)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _be_the_command(words, cwd, env, before, at_end, files) -> None:
    code = 99
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        stdout, stderr, told = files
        for number, path in ((1, stdout), (2, stderr)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, "r" if n == 0 else "w", closefd=False) for n in range(3))
        sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
        os.chdir(cwd)
        os.environ.update(env)
        sys.argv = ["sca", *words]
        before()
        code = _call()
        sys.stdout.flush()
        sys.stderr.flush()
        atexit._run_exitfuncs()  # what the interpreter does when it ends
        told.write_text(json.dumps(at_end()))
    except BaseException:  # noqa: BLE001 - nothing of this fork may return to the caller
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)


def _call() -> int:
    from sca.cli.main import run

    try:
        run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:  # noqa: BLE001 - the boundary of the process
        traceback.print_exc()
        return 1
    return 0


def import_what_it_needs(words: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Ended:
    """Run a command once, and import the modules here that it had imported there."""
    done = run_sca(words, cwd, env, at_end=lambda: list(sys.modules))
    # In the order in which they were begun there: some work only if another one imports them.
    for name in done.told if isinstance(done.told, list) else []:
        if name not in sys.modules and not name.startswith("__"):
            with suppress(Exception):
                importlib.import_module(name)
    return done


def serve_folder(folder: Path) -> tuple[str, int]:
    """Serve a folder over HTTP on loopback, in a fork; return the address and the process."""
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_) -> None:
            pass  # clients that were killed

    server = Server(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    child = os.fork()
    if child == 0:
        server.serve_forever()
        os._exit(0)
    server.socket.close()
    return f"http://127.0.0.1:{server.server_address[1]}", child


def cpu_s() -> float:
    """Return the processor seconds of this process and of its children that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def now_s() -> float:
    """Return a time that only moves forward."""
    return time.monotonic()
