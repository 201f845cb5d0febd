"""Batches the steps of several sessions into one engine call.

Chunks that become due while the device is busy, or within a short waiting time, are stepped together. For engines with
`step_batch`. Runs on the event loop; the engine runs in its worker.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial

import anyio

from sca.errors import ScaError
from sca.infer.device_worker import DeviceJob, DeviceWorker
from sca.infer.engine import BatchEngine, EngineSession
from sca.infer.frames import AudioInput, Frame
from sca.infer.notifier import Notifier

__all__ = ["StepBatcher"]

StepResults = list[Sequence[Frame] | Exception]


@dataclass(slots=True, eq=False)
class _Step:
    """One chunk of one session that is due.

    Attributes:
        session: The session.
        prepare: Makes the input of the step, in the worker.
        ready: Set when the step is part of a batch (`batch` and `position` are set), or when it must start the next
            batch.
        batch: The job of the batch.
        position: The position of the step in the batch.
        cancelled: No task waits for the result any more.
    """

    session: EngineSession
    prepare: Callable[[], AudioInput]
    ready: anyio.Event = field(default_factory=anyio.Event)
    batch: DeviceJob[StepResults] | None = None
    position: int = 0
    cancelled: bool = False


class StepBatcher:
    """Shared by all sessions of one engine on one worker.

    Args:
        engine: The engine.
        worker: The worker of its device.
        wait_s: How long the first due chunk waits for other sessions. It stops waiting when every session has a due
            chunk.
    """

    def __init__(self, engine: BatchEngine, worker: DeviceWorker, wait_s: float) -> None:
        self._engine, self._worker, self._wait_s = engine, worker, wait_s
        self._pending: list[_Step] = []
        self._sessions = 0
        self._busy = False
        self._arrived = Notifier()

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Count a session as open for the duration of the block."""
        self._sessions += 1
        try:
            yield
        finally:
            self._sessions -= 1
            self._arrived.notify_all()

    @asynccontextmanager
    async def job(
        self, session: EngineSession, prepare: Callable[[], AudioInput]
    ) -> AsyncIterator[tuple[DeviceJob[StepResults], int]]:
        """Step a session together with others.

        Args:
            session: The session.
            prepare: Makes the input of the step; called in the worker.

        Yields:
            The started job of the batch, and the position of the session in its results. A result is the frames of a
            session, or the exception that ends it.
        """
        step = _Step(session, prepare)
        self._pending.append(step)
        self._arrived.notify_all()
        if self._busy:
            try:
                await step.ready.wait()
            except BaseException:
                self._withdraw(step)
                raise
        if step.batch is not None:
            yield step.batch, step.position
            return
        self._busy = True
        batch: list[_Step] = []
        try:
            await self._collect()
            batch, self._pending = self._pending, []
            async with self._worker.job(partial(self._run, batch)) as job:
                for position, member in enumerate(batch):
                    member.batch, member.position = job, position
                    member.ready.set()
                yield job, step.position
        finally:
            # If this task was cancelled before the device was free, the other steps are still pending.
            unstarted = [member for member in batch if member.batch is None]
            self._pending = [other for other in unstarted + self._pending if other is not step and not other.cancelled]
            self._start_next()

    async def _collect(self) -> None:
        if self._wait_s == 0:
            return
        with anyio.move_on_after(self._wait_s):
            while len(self._pending) < self._sessions:
                await self._arrived.wait()

    def _run(self, batch: Sequence[_Step]) -> StepResults:
        """Prepare and step a batch. Runs in the worker."""
        results: StepResults = [()] * len(batch)
        prepared: list[tuple[int, EngineSession, AudioInput]] = []
        for position, step in enumerate(batch):
            try:
                prepared.append((position, step.session, step.prepare()))
            except Exception as error:  # noqa: BLE001 - ends this session only
                results[position] = error
        if prepared:
            found = self._engine.step_batch(
                [session for _, session, _ in prepared], [audio for _, _, audio in prepared]
            )
            if len(found) != len(prepared):
                raise ScaError(
                    f"the engine {self._engine.info.name} returned {len(found)} results for {len(prepared)} sessions"
                )
            for (position, _, _), result in zip(prepared, found, strict=True):
                results[position] = result
        return results

    def _withdraw(self, step: _Step) -> None:
        """Remove the step of a cancelled task. If it was to start the next batch, another step starts it."""
        step.cancelled = True
        if step in self._pending:
            self._pending.remove(step)
            if step.ready.is_set():
                self._start_next()

    def _start_next(self) -> None:
        self._busy = bool(self._pending)
        if self._busy:
            self._pending[0].ready.set()
