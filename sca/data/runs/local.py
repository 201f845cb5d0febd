"""Executors of this machine: this process, threads, worker processes."""

import queue
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sca.cores import usable_cores
from sca.data.runs.executor import call
from sca.data.runs.worker_pool import run_in_workers
from sca.errors import ScaError

__all__ = ["STOP_S", "ProcessExecutor", "SerialExecutor", "ThreadExecutor", "run"]

Job = TypeVar("Job")
Result = TypeVar("Result")

STOP_S = 3.0
"""How long jobs in threads get to end when a run ends early: an interrupt takes less than 5 s."""
_AHEAD = 2


class SerialExecutor:
    """Runs one job after the other in this thread."""

    def run(
        self, jobs: Sequence[Job], work: Callable[[Job], Result]
    ) -> Generator[tuple[Job, Result | ScaError], None, None]:
        """Apply `work` to every job, see `Executor.run`."""
        for job in jobs:
            yield job, call(work, job)


class ProcessExecutor:
    """Runs jobs in worker processes.

    A job that ends its worker process gets one more attempt, in a worker of its own.
    """

    def __init__(self, workers: int = 0, *, gpus: int = 0) -> None:
        """Create an executor.

        Args:
            workers: Processes; 0 is one per core, or one per GPU. With one worker, or one job, the work is done in this
                process.
            gpus: GPUs of this machine of which each process sees one; 0 leaves them alone.
        """
        self.workers, self.gpus = workers or gpus or usable_cores(), gpus

    def run(
        self, jobs: Sequence[Job], work: Callable[[Job], Result]
    ) -> Generator[tuple[Job, Result | ScaError], None, None]:
        """Apply `work` to every job, see `Executor.run`. At most one job per worker is in memory."""
        workers = min(self.workers, len(jobs))
        return SerialExecutor().run(jobs, work) if workers <= 1 else run_in_workers(jobs, work, workers, self.gpus)


class ThreadExecutor:
    """Runs jobs in threads, for work that waits for programs, networks or native code."""

    def __init__(
        self, workers: int, *, on_stop: Callable[[], None] | None = None, grace_s: float | None = None
    ) -> None:
        """Create an executor.

        Args:
            workers: Threads.
            on_stop: Called when the run ends early, so that jobs in progress end soon.
            grace_s: How long to wait for jobs in progress when the run ends early; None is until they end. Threads that
                are still busy then are abandoned and end with the process.
        """
        self.workers, self.on_stop, self.grace_s = workers, on_stop, grace_s

    def run(
        self, jobs: Sequence[Job], work: Callable[[Job], Result]
    ) -> Generator[tuple[Job, Result | ScaError], None, None]:
        """Apply `work` to every job, see `Executor.run`. Two results per thread wait for the consumer at most."""
        waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
        for job in jobs:
            waiting.put(job)
        ended: queue.SimpleQueue[_Ended[Job, Result]] = queue.SimpleQueue()
        stopped, free = threading.Event(), threading.Semaphore(_AHEAD * self.workers)
        # Daemon threads: one that hangs must not keep an interrupted process alive.
        threads = [
            threading.Thread(target=_serve, args=(waiting, ended, work, stopped, free), name="sca-worker", daemon=True)
            for _ in range(min(self.workers, len(jobs)))
        ]
        for thread in threads:
            thread.start()
        finished = False
        try:
            for _ in jobs:
                end = ended.get()
                if end.error is not None:
                    raise end.error
                assert end.result is not None
                free.release()
                yield end.job, end.result[0]
            finished = True
        finally:
            stopped.set()
            free.release(len(threads) + 1)  # also without a thread
            if not finished and self.on_stop is not None:
                self.on_stop()
            end_s = None if self.grace_s is None else time.monotonic() + self.grace_s
            for thread in threads:
                thread.join(None if end_s is None else max(0.0, end_s - time.monotonic()))


@dataclass(frozen=True, slots=True)
class _Ended(Generic[Job, Result]):
    """A job's result, in a tuple so that a result may be None, or the exception that ends the run."""

    job: Job
    result: tuple[Result | ScaError] | None = None
    error: BaseException | None = None


def _serve(
    waiting: "queue.SimpleQueue[Job]",
    ended: "queue.SimpleQueue[_Ended[Job, Result]]",
    work: Callable[[Job], Result],
    stopped: threading.Event,
    free: threading.Semaphore,
) -> None:
    """Take jobs until none is left or the run is stopped. A permit of `free` is the place of a result."""
    while free.acquire() and not stopped.is_set():
        try:
            job = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            ended.put(_Ended(job, result=(call(work, job),)))
        except BaseException as error:  # noqa: BLE001 - the boundary of the thread: the consumer raises it
            ended.put(_Ended(job, error=error))
            return


def run(
    jobs: Sequence[Job], work: Callable[[Job], Result], workers: int
) -> Generator[tuple[Job, Result | ScaError], None, None]:
    """Apply `work` to every job in `workers` processes. See `ProcessExecutor.run`."""
    yield from ProcessExecutor(workers).run(jobs, work)
