"""The engine as the loop sees it: its session, stepped in the device's worker, with a deadline and an end to patience.

What an engine raises becomes one line here, and one that hangs is left behind.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any, Self

import anyio

from sca.audio.mel import log_mel
from sca.config import LiveConfig
from sca.errors import ScaError
from sca.infer.device_worker import DeviceWorker, Job
from sca.infer.engine import Engine, EngineSession, SessionConfig
from sca.infer.frames import NO_FEATURES, AudioInput, Frame
from sca.infer.session.input_chunker import AudioChunk
from sca.infer.session.step_batcher import StepBatcher

__all__ = ["EngineRunner"]


class EngineRunner:
    """A context: opens a session of `engine`, and closes it unless it hangs.

    batcher: steps it together with others.
    late: called when a step passes its deadline, while it runs.   name: the engine's.

    Raises what the engine raises if it is a `ScaError`, else a `ScaError` that names engine and chunk.
    """

    def __init__(
        self,
        engine: Engine,
        worker: DeviceWorker,
        config: SessionConfig,
        live: LiveConfig,
        late: Callable[[], None],
        batcher: StepBatcher | None = None,
    ) -> None:
        self._engine, self._worker, self._config, self._late, self._batcher = engine, worker, config, late, batcher
        self._hang_s = live.hang_s
        self._deadline_s = float(config.grid.chunk_s) if live.deadline_ms is None else live.deadline_ms / 1000
        self._session: EngineSession | None = None
        self._joined = ExitStack()
        self.name = engine.info.name

    async def step(self, chunk: AudioChunk, turn_id: int | None) -> tuple[Sequence[Frame], int]:
        """Hear a chunk, after an interruption if `turn_id` says how the engine goes on; frames, and ticks in the engine."""
        assert self._session is not None
        what = f"in chunk {chunk.index}"
        if self._batcher is None:
            work = partial(self._step, self._session, chunk, turn_id)
            async with self._worker.job(work) as job:
                await self._wait(job, what, self._hang_s, self._deadline_s)
            return self._result(job, what), job.ticks
        prepare = partial(self._prepare, self._session, chunk, turn_id)
        async with self._batcher.job(self._session, prepare) as (job, place):
            await self._wait(job, what, self._hang_s, self._deadline_s)
        frames = self._result(job, what)[place]
        if isinstance(frames, Exception):
            raise self._ours(frames, what) from frames
        return frames, job.ticks

    def _prepare(self, session: EngineSession, chunk: AudioChunk, turn_id: int | None) -> AudioInput:
        """In the worker."""
        if turn_id is not None:
            session.interrupt(turn_id)
        features = log_mel(chunk.samples)[None] if self._engine.info.uses_features else NO_FEATURES
        return AudioInput(features, chunk.samples, chunk.index, chunk.timestamp)

    def _step(self, session: EngineSession, chunk: AudioChunk, turn_id: int | None) -> Sequence[Frame]:
        """In the worker."""
        return session.step(self._prepare(session, chunk, turn_id))

    async def _wait(self, job: Job, what: str, hang_s: float, deadline_s: float | None) -> None:
        # One that another session gave up is not waited for again.
        left_s = 0.0 if job.abandoned else hang_s
        if deadline_s is not None and deadline_s < left_s and not await job.wait(deadline_s):
            self._late()
            left_s -= deadline_s
        if not await job.wait(left_s):
            job.abandoned = True
            self._session = None
            raise ScaError(f"the engine {self.name} hangs {what}: more than {hang_s:g} s and no result")

    def _result(self, job: Job, what: str) -> Any:
        if isinstance(job.error, Exception):
            raise self._ours(job.error, what) from job.error
        return job.result()

    def _ours(self, error: Exception, what: str) -> ScaError:
        """An error of the engine in one line, if it is not one of ours."""
        if isinstance(error, ScaError):
            return error
        return ScaError(f"the engine {self.name} failed {what}: {type(error).__name__}: {error}")

    async def _do(self, what: str, work: Callable[[], Any], hang_s: float = math.inf) -> Any:
        # Opening and closing have no deadline, and in simulated time no cost.
        async with self._worker.job(work, free=True) as job:
            await self._wait(job, what, hang_s, None)
        return self._result(job, what)

    async def __aenter__(self) -> Self:
        self._session = await self._do("to open a session", partial(self._engine.open, self._config))
        if self._batcher is not None:
            self._joined.enter_context(self._batcher.joined())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._joined.close()
        if self._session is not None:
            with anyio.CancelScope(shield=True):
                await self._do("to close its session", self._session.close, self._hang_s)
