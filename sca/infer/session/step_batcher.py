"""Sessions stepped together: chunks that are due while the device is taken, or within a moment, go into one call of the engine.

For engines that offer `step_batch`. Knows no device and no clock of its own; runs on the event loop, the engine in its worker.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial

import anyio

from sca.errors import ScaError
from sca.infer.device_worker import DeviceWorker, Job
from sca.infer.engine import BatchEngine, EngineSession
from sca.infer.frames import AudioInput, Frame
from sca.infer.notifier import Notifier

__all__ = ["StepBatcher"]

_Results = list[Sequence[Frame] | Exception]


@dataclass(slots=True, eq=False)
class _Step:
    """A chunk of a session that is due.

    called: it is in a batch, whose job and place are set; or it is its turn to begin one.   gone: nobody waits for it.
    """

    session: EngineSession
    prepare: Callable[[], AudioInput]
    called: anyio.Event = field(default_factory=anyio.Event)
    batch: Job | None = None
    place: int = 0
    gone: bool = False


class StepBatcher:
    """Shared by the sessions of one engine on one worker.

    wait_s: how long the first chunk that is due waits for the others; not at all once every session has one.
    """

    def __init__(self, engine: BatchEngine, worker: DeviceWorker, wait_s: float) -> None:
        self._engine, self._worker, self._wait_s = engine, worker, wait_s
        self._pending: list[_Step] = []
        self._sessions = 0
        self._busy = False
        self._arrived = Notifier()

    @contextmanager
    def joined(self) -> Iterator[None]:
        """A session is open as long as the block lasts."""
        self._sessions += 1
        try:
            yield
        finally:
            self._sessions -= 1
            self._arrived.notify_all()

    @asynccontextmanager
    async def job(self, session: EngineSession, prepare: Callable[[], AudioInput]) -> AsyncIterator[tuple[Job, int]]:
        """Step a session, with others; gives the job of the batch, begun, and the session's place in its results.

        prepare: makes the input, in the worker.   A result is frames, or the exception of that session alone.
        """
        step = _Step(session, prepare)
        self._pending.append(step)
        self._arrived.notify_all()
        if self._busy:
            try:
                await step.called.wait()
            except BaseException:
                self._withdraw(step)
                raise
        if step.batch is not None:
            yield step.batch, step.place
            return
        self._busy = True
        batch: list[_Step] = []
        try:
            await self._gather()
            batch, self._pending = self._pending, []
            async with self._worker.job(partial(self._run, batch)) as job:
                for place, one in enumerate(batch):
                    one.batch, one.place = job, place
                    one.called.set()
                yield job, step.place
        finally:
            # Whoever is cancelled before the device is free leaves the others as they were.
            left = [one for one in batch if one.batch is None]
            self._pending = [one for one in left + self._pending if one is not step and not one.gone]
            self._next()

    async def _gather(self) -> None:
        if self._wait_s == 0:
            return
        with anyio.move_on_after(self._wait_s):
            while len(self._pending) < self._sessions:
                await self._arrived.wait()

    def _run(self, batch: Sequence[_Step]) -> _Results:
        """In the worker."""
        results: _Results = [()] * len(batch)
        ready: list[tuple[int, EngineSession, AudioInput]] = []
        for place, step in enumerate(batch):
            try:
                ready.append((place, step.session, step.prepare()))
            except Exception as error:  # noqa: BLE001 - it is this session's, which raises it
                results[place] = error
        if ready:
            found = self._engine.step_batch([one for _, one, _ in ready], [heard for _, _, heard in ready])
            if len(found) != len(ready):
                raise ScaError(
                    f"the engine {self._engine.info.name} answers {len(ready)} sessions with {len(found)} results"
                )
            for (place, _, _), result in zip(ready, found, strict=True):
                results[place] = result
        return results

    def _withdraw(self, step: _Step) -> None:
        """Nobody waits for a step any more; what it was called to begin, another begins."""
        step.gone = True
        if step in self._pending:
            self._pending.remove(step)
            if step.called.is_set():
                self._next()

    def _next(self) -> None:
        self._busy = bool(self._pending)
        if self._busy:
            self._pending[0].called.set()
