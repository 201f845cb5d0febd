"""Where engines run: one thread per device, one job at a time, or inline in simulated time with a declared cost.

Not `anyio.to_thread`: its threads are any threads, and one that hangs keeps the process from ending. Here every job of a device
runs in the same thread (what CUDA contexts and thread-local model state like best), and one that hangs is left behind.
"""

import asyncio
import math
import queue
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, Protocol

import anyio

from sca.infer.clock import TICK_HZ, TICKS_PER_MS
from sca.infer.notifier import Notifier

__all__ = ["DeviceWorker", "InlineWorker", "Job", "ThreadWorker"]

_GRACE_S = 5.0


class Job:
    """Something a worker does: wait for it with a timeout as often as you like, then take its result.

    done: whether it is over.   error: what the work raised.   ticks: how long it took.   abandoned: set by whoever does not want to
    wait any more.
    """

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._result: Any = None
        self.error: BaseException | None = None
        self.done = False
        self._over = Notifier()
        self.ticks = 0
        self.abandoned = False

    def run(self) -> None:
        """Do the work; called by the worker."""
        try:
            self._result = self._work()
        except BaseException as error:  # noqa: BLE001 - kept for whoever waits
            self.error = error

    def result(self) -> Any:
        """What the work returned; raises what it raised."""
        if self.error is not None:
            raise self.error
        return self._result

    def finish(self) -> None:
        """It is done; on the event loop."""
        self.done = True
        self._over.notify_all()

    async def wait(self, timeout_s: float) -> bool:
        """Whether it is done within `timeout_s`, which may be infinite."""
        # A timer by itself: the cancel scope that a timeout usually is costs every chunk as much as the way to the worker.
        late = False

        def ring() -> None:
            nonlocal late
            late = True
            self._over.notify_all()

        timer = None if math.isinf(timeout_s) else asyncio.get_running_loop().call_later(timeout_s, ring)
        try:
            while not self.done and not late:
                await self._over.wait()
        finally:
            if timer is not None:
                timer.cancel()
        return self.done


class DeviceWorker(Protocol):
    """Runs the jobs of one device."""

    def job(self, work: Callable[[], Any], *, free: bool = False) -> AbstractAsyncContextManager[Job]:
        """Has the device while the block is open, and gives the job, started. free: takes no simulated time."""
        ...


class ThreadWorker:
    """One daemon thread; sessions take turns in the order they come. `ticks` of its jobs are real time."""

    def __init__(self, name: str = "cpu") -> None:
        self._name = name
        self._turn = anyio.Lock(fast_acquire=True)
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] | None = None

    @asynccontextmanager
    async def job(self, work: Callable[[], Any], *, free: bool = False) -> AsyncIterator[Job]:
        """Wait for the device and start `work`. When the block is left before it is done, its thread is left behind."""
        async with self._turn:
            job = Job(work)
            self._start(job)
            try:
                yield job
            finally:
                if not job.done:
                    await self._leave(job)

    async def _leave(self, job: Job) -> None:
        # A cancelled session still lets its step end: the next job of this device must not run beside it.
        with anyio.CancelScope(shield=True):
            if job.abandoned or not await job.wait(_GRACE_S):
                self.close()

    def _start(self, job: Job) -> None:
        if self._jobs is None:
            self._jobs = queue.SimpleQueue()
            threading.Thread(target=_serve, args=(self._jobs,), name=f"sca engine {self._name}", daemon=True).start()
        loop = asyncio.get_running_loop()

        def run() -> None:
            began_s = loop.time()
            job.run()
            job.ticks = round((loop.time() - began_s) * TICK_HZ)
            with suppress(RuntimeError):  # the event loop is gone: nobody waits
                loop.call_soon_threadsafe(job.finish)

        self._jobs.put(run)

    def close(self) -> None:
        """Let the thread end when it is done with what it does; a later job starts a new one."""
        if self._jobs is not None:
            self._jobs.put(None)
            self._jobs = None


def _serve(jobs: "queue.SimpleQueue[Callable[[], None] | None]") -> None:
    while (run := jobs.get()) is not None:
        run()


class _InlineJob(Job):
    """Done already, and finished when its cost has passed on the event loop's clock."""

    def __init__(self, work: Callable[[], Any], ticks: int) -> None:
        super().__init__(work)
        self.ticks = ticks
        self._ready_s = anyio.current_time() + ticks / TICK_HZ
        self.done = ticks == 0

    async def wait(self, timeout_s: float) -> bool:
        """See `Job`."""
        if not self.done:
            left_s = self._ready_s - anyio.current_time()
            await anyio.sleep(max(0.0, min(left_s, timeout_s)))
            if left_s <= timeout_s:
                self.finish()
        return self.done


class InlineWorker:
    """Runs jobs on the spot and lets each take `cost_ms` of simulated time, during which the device is taken."""

    def __init__(self, cost_ms: float = 0.0) -> None:
        self._ticks = round(cost_ms * TICKS_PER_MS)
        self._turn = anyio.Lock(fast_acquire=True)

    @asynccontextmanager
    async def job(self, work: Callable[[], Any], *, free: bool = False) -> AsyncIterator[Job]:
        """See `DeviceWorker`."""
        async with self._turn:
            job = _InlineJob(work, 0 if free else self._ticks)
            job.run()
            yield job

    def close(self) -> None:
        """Nothing to let go of."""
