"""Workers that run the steps of engines: one thread per device, or inline in simulated time with a declared cost.

`anyio.to_thread` is unsuitable: it uses arbitrary threads, and a hanging thread keeps the process from exiting. Here
all jobs of a device run in the same thread (CUDA contexts and thread-local model state require that), and a hanging
thread is abandoned.
"""

import asyncio
import math
import queue
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Generic, Protocol, TypeVar

import anyio
from typing_extensions import override

from sca.infer.clock import TICK_HZ, seconds_to_ticks
from sca.infer.notifier import Notifier

__all__ = ["DeviceJob", "DeviceWorker", "InlineWorker", "ThreadWorker"]

_CANCELLED_STEP_TIMEOUT_S = 5.0

T = TypeVar("T")


class DeviceJob(Generic[T]):
    """One call on a device. Wait for it, with a timeout, any number of times; then read its result.

    Attributes:
        done: Whether the call has ended.
        error: The exception that the call raised.
        ticks: The duration of the call.
        abandoned: Set by a caller that stops waiting for the call to end.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._results: list[T] = []
        self.error: BaseException | None = None
        self.done = False
        self._finished = Notifier()
        self.ticks = 0
        self.abandoned = False

    def run(self) -> None:
        """Do the work and store its result or exception. Called by the worker."""
        try:
            self._results.append(self._work())
        except BaseException as error:  # noqa: BLE001 - raised by `result`
            self.error = error

    def result(self) -> T:
        """Return the result of the work, or raise its exception."""
        if self.error is not None:
            raise self.error
        return self._results[0]

    def finish(self) -> None:
        """Mark the job as done and wake the waiting tasks. Called on the event loop."""
        self.done = True
        self._finished.notify_all()

    async def wait(self, timeout_s: float) -> bool:
        """Wait until the job is done or the timeout, which may be infinite, has passed; return whether the job is done."""
        # A bare timer: a cancel scope per chunk would cost as much as the round trip to the worker.
        timed_out = False

        def on_timeout() -> None:
            nonlocal timed_out
            timed_out = True
            self._finished.notify_all()

        timer = None if math.isinf(timeout_s) else asyncio.get_running_loop().call_later(timeout_s, on_timeout)
        try:
            while not self.done and not timed_out:
                await self._finished.wait()
        finally:
            if timer is not None:
                timer.cancel()
        return self.done


class DeviceWorker(Protocol):
    """Runs the jobs of one device, one at a time."""

    def job(self, work: Callable[[], T], *, has_cost: bool = True) -> AbstractAsyncContextManager[DeviceJob[T]]:
        """Acquire the device for the duration of the block and yield the started job.

        Args:
            work: The call to run on the device.
            has_cost: Whether the job takes simulated time, where time is simulated.
        """
        ...


class ThreadWorker(DeviceWorker):
    """One daemon thread that runs jobs in the order of their arrival. `DeviceJob.ticks` is real time.

    Args:
        name: The device, for the name of the thread.
    """

    def __init__(self, name: str = "cpu") -> None:
        self._name = name
        self._device = anyio.Lock(fast_acquire=True)
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] | None = None

    @override
    @asynccontextmanager
    async def job(self, work: Callable[[], T], *, has_cost: bool = True) -> AsyncIterator[DeviceJob[T]]:
        async with self._device:
            job = DeviceJob(work)
            self._start(job)
            try:
                yield job
            finally:
                if not job.done:
                    await self._await_or_abandon(job)

    async def _await_or_abandon(self, job: DeviceJob[T]) -> None:
        # The step of a cancelled session still has to end, because the next job of the device must not run in parallel.
        with anyio.CancelScope(shield=True):
            if job.abandoned or not await job.wait(_CANCELLED_STEP_TIMEOUT_S):
                self.close()

    def _start(self, job: DeviceJob[T]) -> None:
        if self._jobs is None:
            self._jobs = queue.SimpleQueue()
            threading.Thread(target=_run_jobs, args=(self._jobs,), name=f"sca engine {self._name}", daemon=True).start()
        loop = asyncio.get_running_loop()

        def run() -> None:
            began_s = loop.time()
            job.run()
            job.ticks = seconds_to_ticks(loop.time() - began_s)
            with suppress(RuntimeError):  # the event loop is closed, so no task awaits the result
                loop.call_soon_threadsafe(job.finish)

        self._jobs.put(run)

    def close(self) -> None:
        """Let the thread exit after its current job. A later job starts a new thread."""
        if self._jobs is not None:
            self._jobs.put(None)
            self._jobs = None


def _run_jobs(jobs: "queue.SimpleQueue[Callable[[], None] | None]") -> None:
    while (run := jobs.get()) is not None:
        run()


class _InlineJob(DeviceJob[T]):
    """A job whose work has already run; it is done when its cost has passed on the event loop's clock."""

    def __init__(self, work: Callable[[], T], ticks: int) -> None:
        super().__init__(work)
        self.ticks = ticks
        self._ready_s = anyio.current_time() + ticks / TICK_HZ
        self.done = ticks == 0

    @override
    async def wait(self, timeout_s: float) -> bool:
        if not self.done:
            left_s = self._ready_s - anyio.current_time()
            await anyio.sleep(max(0.0, min(left_s, timeout_s)))
            if left_s <= timeout_s:
                self.finish()
        return self.done


class InlineWorker(DeviceWorker):
    """Runs each job immediately, in the event loop, and occupies the device for a fixed simulated time.

    Args:
        cost_ms: The simulated duration of a job.
    """

    def __init__(self, cost_ms: float = 0.0) -> None:
        self._ticks = seconds_to_ticks(cost_ms / 1000)
        self._device = anyio.Lock(fast_acquire=True)

    @override
    @asynccontextmanager
    async def job(self, work: Callable[[], T], *, has_cost: bool = True) -> AsyncIterator[DeviceJob[T]]:
        async with self._device:
            job = _InlineJob(work, self._ticks if has_cost else 0)
            job.run()
            yield job

    def close(self) -> None:
        """Do nothing, because this worker has no thread."""
