"""Commands as processes that fork from one which has imported the libraries, because imports are most of their work.

`program(path, socket)` writes a Python interpreter that takes `-m MODULE …` or `-c CODE …`: a new process with its own
folder, environment, files and signals runs them. Modules of sca are imported anew in each.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import NoReturn

LIBRARIES = (
    "numpy", "soundfile", "soxr", "av", "pydantic", "typer", "typer.rich_utils", "httpx", "anyio", "trio", "pandas",
    "pyarrow.parquet", "datasets", "datasets.arrow_dataset", "tokenizers", "onnxruntime", "fastapi", "uvicorn",
    "scipy.signal", "transformers", "torch", "torch.utils.data", "transformers.models.whisper.modeling_whisper",
    "transformers.models.whisper.processing_whisper",
)  # fmt: skip
_PROGRAM = """#!{python} -IS
import json, os, signal, socket, struct, sys
line = socket.socket(socket.AF_UNIX)
line.connect({path!r})
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, _: line.send(bytes([number])))
asked = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(line, [struct.pack("I", len(asked))], [0, 1, 2])
line.sendall(asked)
status = line.recv(4)
code = os.waitstatus_to_exitcode(struct.unpack("I", status)[0]) if status else 70
if code < 0:
    if -code != signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""


def program(path: Path, at: Path) -> Path:
    """Write the interpreter that asks the process which listens at `at`."""
    path.write_text(_PROGRAM.format(python=sys.executable, path=str(at)))
    path.chmod(0o755)
    return path


@contextmanager
def listening(at: Path, network: Sequence[str] = (), **environment: str) -> Iterator[None]:
    """Run the process that has imported the libraries.

    Args:
        at: Its socket.
        network: Words before its command.
        **environment: What libraries read when they are imported.
    """
    command = [*network, sys.executable, "-W", "ignore", __file__, str(at)]
    ready = {"env": os.environ | environment, "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **ready) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        yield
        process.terminate()


class Job:
    """A command that is asked for, and what its process needs."""

    def __init__(self, line: socket.socket):
        header, self.files, _, _ = socket.recv_fds(line, 4, 3)
        asked = line.recv(struct.unpack("I", header)[0], socket.MSG_WAITALL)
        self.words, self.folder, self.environment = json.loads(asked)

    def close(self) -> None:
        for file in self.files:
            os.close(file)

    def run(self) -> None:
        """Become the process of the command."""
        os.setsid()
        for at, file in enumerate(self.files):
            os.dup2(file, at)
        self.close()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.chdir(self.folder)
        os.environ.clear()
        os.environ.update(self.environment)
        sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
        kind, what, *rest = self.words
        sys.path[0] = "" if kind == "-c" else self.folder
        sys.argv = [kind, *rest]
        if kind == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            sys.modules["__main__"] = main = ModuleType("__main__")
            exec(compile(what, "<string>", "exec"), main.__dict__)


def end(run: Callable[[], None]) -> NoReturn:
    """Run and end as an interpreter does, but for the release of every object, which would copy the memory of the libraries."""
    code = 0
    try:
        run()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def serve(at: str) -> Job:
    """Fork for each command until SIGTERM. Returns in the new processes, with their job."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(at)
    listener.listen(64)
    events = selectors.DefaultSelector()
    events.register(listener, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in events.select():
            if key.fileobj is not listener:
                if key.fd in events.get_map():  # not closed with the other one of its pair
                    _attend(events, key)
                continue
            line, _ = listener.accept()
            job = Job(line)
            pid = os.fork()
            if pid == 0:
                others = [line, *(key.fileobj for key in events.get_map().values())]
                events.close()
                for one in others:
                    os.close(one) if isinstance(one, int) else one.close()
                return job
            job.close()
            ended = os.pidfd_open(pid)
            events.register(line, selectors.EVENT_READ, (pid, ended, line))
            events.register(ended, selectors.EVENT_READ, (pid, ended, line))


def _attend(events: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    """Pass signals on to a process, end it with its caller, and report its end."""
    pid, ended, line = key.data
    if key.fd == ended:
        status = os.waitpid(pid, 0)[1]
        with suppress(OSError):  # its caller may have ended
            line.send(struct.pack("I", status))
        events.unregister(ended)
        os.close(ended)
        with suppress(KeyError):
            events.unregister(line)
        line.close()
    elif number := line.recv(1):
        signal.pidfd_send_signal(ended, number[0])
    else:
        signal.pidfd_send_signal(ended, signal.SIGKILL)
        events.unregister(line)


if __name__ == "__main__":
    for name in LIBRARIES:
        with suppress(ImportError):
            importlib.import_module(name)
    threads = {path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")}
    # Threads are not in a fork, but jemalloc starts its own again.
    assert len(threads - {"jemalloc_bg_thd"}) == 1, f"a library has started one of {threads}"
    gc.freeze()
    end(serve(sys.argv[1]).run)
