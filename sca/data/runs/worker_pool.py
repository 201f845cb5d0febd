"""Worker processes that each hold one job at a time, so that a process that dies costs its own job and no other.

`concurrent.futures.ProcessPoolExecutor` cannot be used: when one of its processes dies, every job in progress fails and
the one that was at fault is unknown.
"""

import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar, cast

from sca.data.runs.executor import WorkerDiedError, call
from sca.errors import ScaError

__all__ = ["run_in_workers"]

Job = TypeVar("Job")
Result = TypeVar("Result")

_START_ATTEMPTS = 3
"""Workers in a row that may die before they are ready, before the run ends."""
_TERMINATE_S = 3.0
_VISIBLE = "CUDA_VISIBLE_DEVICES"


def run_in_workers(
    jobs: Sequence[Job], work: Callable[[Job], Result], workers: int, gpus: int = 0
) -> Generator[tuple[Job, Result | ScaError], None, None]:
    """Apply `work` to every job in `workers` processes, each of which sees one of `gpus`. See `Executor.run`.

    A job that ends its process is tried once more when all others are done, alone in one process: what had too little
    memory beside others may have enough then. If it ends that process as well, its result is a `WorkerDiedError`.

    Raises:
        ScaError: Worker processes cannot be started.
    """
    pool: _Pool[Job, Result] = _Pool(work, gpus)
    try:
        suspects: list[Job] = []
        for job, result in pool.run(jobs, workers):
            if isinstance(result, _Death):
                suspects.append(job)
            else:
                yield job, result
        pool.close()  # what idle workers hold in memory would be missing now
        for job, result in pool.run(suspects, 1):
            yield job, result.as_error() if isinstance(result, _Death) else result
        pool.close()
    finally:
        pool.terminate()


@dataclass(frozen=True, slots=True)
class _Death:
    """The end of a worker process while it had a job."""

    exit_code: int

    def as_error(self) -> WorkerDiedError:
        if self.exit_code >= 0:
            return WorkerDiedError(f"its worker process ended twice with exit code {self.exit_code}")
        try:
            name = signal.Signals(-self.exit_code).name
        except ValueError:
            name = f"signal {-self.exit_code}"
        advice = ", often for lack of memory: try fewer --jobs" if name == "SIGKILL" else ""
        return WorkerDiedError(f"its worker process was killed twice ({name}){advice}")


@dataclass(slots=True)
class _Worker(Generic[Job]):
    """A process and the job it has. `job` is a tuple, so that a job may be None."""

    process: BaseProcess
    connection: Connection
    ready: bool = False
    job: tuple[Job] | None = None
    gpu: int | None = None


class _Pool(Generic[Job, Result]):
    """The processes of a run."""

    def __init__(self, work: Callable[[Job], Result], gpus: int) -> None:
        self._work, self._gpus = work, gpus
        self._workers: list[_Worker[Job]] = []
        self._failed_starts = 0

    def run(self, jobs: Sequence[Job], count: int) -> Generator[tuple[Job, Result | ScaError | _Death], None, None]:
        """Yield the result of every job, or the death of its worker. At most `count` workers have a job at a time."""
        waiting = deque(jobs)
        while len(self._workers) < min(count, len(waiting)):
            self._workers.append(self._start())
        for worker in self._workers[:count]:
            self._assign(worker, waiting)
        while waiting or any(worker.job for worker in self._workers):
            connections = {worker.connection: worker for worker in self._workers}
            for connection in wait(list(connections)):
                worker = connections[cast("Connection", connection)]
                end = self._receive(worker, waiting)
                if end is not None:
                    yield end

    def close(self) -> None:
        """Let every worker, all of them idle, end by itself."""
        for worker in self._workers:
            worker.connection.close()
        for worker in self._workers:
            worker.process.join()
        self._workers.clear()

    def terminate(self) -> None:
        """End every worker now: with SIGTERM, and after some seconds, or a second interrupt, with SIGKILL."""
        for worker in self._workers:
            worker.connection.close()
            worker.process.terminate()
        end_s = time.monotonic() + _TERMINATE_S
        try:
            for worker in self._workers:
                worker.process.join(max(0.0, end_s - time.monotonic()))
        finally:
            for worker in self._workers:
                worker.process.kill()
            for worker in self._workers:
                worker.process.join()

    def _start(self) -> _Worker[Job]:
        # spawn: a forked child would inherit the threads' locks of onnxruntime, Arrow and the progress display.
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        used = [worker.gpu for worker in self._workers]
        gpu = min(range(self._gpus), key=used.count, default=None)
        process = context.Process(target=_serve, args=(theirs, self._work, gpu), name="sca-worker", daemon=False)
        process.start()
        theirs.close()  # only the worker holds it now, so that its death is the end of the stream
        return _Worker(process, ours, gpu=gpu)

    def _receive(self, worker: _Worker[Job], waiting: deque[Job]) -> tuple[Job, Result | ScaError | _Death] | None:
        """Read one message of a worker, and give it the next job."""
        try:
            message: tuple[bool, object] | None = worker.connection.recv()
        except (EOFError, OSError):
            return self._replace(worker, waiting)
        if message is None:
            worker.ready, self._failed_starts = True, 0
            return None
        assert worker.job is not None
        (job,), worker.job = worker.job, None
        ok, value = message
        if not ok:
            raise cast("BaseException", value)
        # Before the result is handed out: the worker has something to do while the result is recorded.
        self._assign(worker, waiting)
        return job, cast("Result | ScaError", value)

    def _replace(self, worker: _Worker[Job], waiting: deque[Job]) -> tuple[Job, Result | ScaError | _Death] | None:
        """Start a worker in the place of one that died."""
        worker.process.join()
        worker.connection.close()
        job, ready = worker.job, worker.ready
        self._workers.remove(worker)
        if not ready:  # it never got to its job
            self._failed_starts += 1
            if self._failed_starts >= _START_ATTEMPTS:
                raise ScaError(f"worker processes cannot be started (exit code {worker.process.exitcode})")
            if job is not None:
                waiting.appendleft(job[0])
                job = None
        if waiting:
            successor = self._start()
            self._workers.append(successor)
            self._assign(successor, waiting)
        return None if job is None else (job[0], _Death(worker.process.exitcode or 0))

    def _assign(self, worker: _Worker[Job], waiting: deque[Job]) -> None:
        if not waiting:
            return
        job = waiting.popleft()
        worker.job = (job,)
        with suppress(OSError):  # the worker died: the end of its stream is read next
            worker.connection.send(job)


def _serve(connection: Connection, work: Callable[[Job], Result], gpu: int | None) -> None:
    """Do jobs in a worker process until the parent closes the connection."""
    if gpu is not None:
        _see_only(gpu)
    # Ctrl-C reaches the whole process group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="sca-parent", daemon=True).start()
    connection.send(None)
    while True:
        message: tuple[bool, object]
        try:
            message = True, call(work, connection.recv())
        except EOFError:
            return
        except BaseException as error:  # noqa: BLE001 - the boundary of the process: the parent raises it
            error.add_note(f"in a worker process:\n{traceback.format_exc()}")
            message = False, error
        _send(connection, message)


def _see_only(gpu: int) -> None:
    """Let CUDA, which reads the variable when it is first used, see one of the GPUs that it would see."""
    visible = os.environ.get(_VISIBLE, "").split(",")
    os.environ[_VISIBLE] = visible[gpu] if len(visible) > gpu and visible[gpu] else str(gpu)


def _send(connection: Connection, message: tuple[bool, object]) -> None:
    try:
        connection.send(message)
    except OSError:
        pass  # the parent is ending this process
    except Exception as error:  # noqa: BLE001 - anything may be raised by pickling a foreign object
        text = "".join(traceback.format_exception(message[1])) if isinstance(message[1], BaseException) else ""
        connection.send(
            (False, RuntimeError(f"a result cannot be sent to the parent process: {error}\n{text}".strip()))
        )


def _end_with_parent() -> None:
    """End this process when its parent is killed; it might write to the folder of the next run."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
