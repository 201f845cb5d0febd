"""The engine as the loop sees it: its session, stepped in the device's worker, with a deadline and an end to patience.

What an engine raises becomes one line here, and one that hangs is left behind.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

import anyio

from sca.audio.mel import log_mel
from sca.config import LiveConfig
from sca.errors import ScaError
from sca.infer.ear import Heard
from sca.infer.engine import Engine, Session, SessionConfig
from sca.infer.frames import NO_FEATURES, AudioInput, Frame
from sca.infer.worker import Job, Worker

__all__ = ["Mind"]


class Mind:
    """A context: opens a session of `engine`, and closes it unless it hangs.

    late: called when a step passes its deadline, while it runs.   name: the engine's.

    Raises what the engine raises if it is a `ScaError`, else a `ScaError` that names engine and chunk.
    """

    def __init__(
        self, engine: Engine, worker: Worker, config: SessionConfig, live: LiveConfig, late: Callable[[], None]
    ) -> None:
        self._engine, self._worker, self._config, self._late = engine, worker, config, late
        self._hang_s = live.hang_s
        self._deadline_s = float(config.grid.chunk_s) if live.deadline_ms is None else live.deadline_ms / 1000
        self._session: Session | None = None
        self.name = engine.info.name

    async def step(self, chunk: Heard, turn_id: int | None) -> tuple[Sequence[Frame], int]:
        """Hear a chunk, after an interruption if `turn_id` says how the engine goes on; frames, and ticks in the engine."""
        assert self._session is not None
        work = partial(self._step, self._session, chunk, turn_id)
        job = await self._do(f"in chunk {chunk.index}", work, self._hang_s, self._deadline_s)
        return job.result(), job.ticks

    def _step(self, session: Session, chunk: Heard, turn_id: int | None) -> Sequence[Frame]:
        """In the worker."""
        if turn_id is not None:
            session.interrupt(turn_id)
        features = log_mel(chunk.samples)[None] if self._engine.info.wants_features else NO_FEATURES
        return session.step(AudioInput(features, chunk.samples, chunk.index, chunk.timestamp))

    async def _do(
        self, what: str, work: Callable[[], Any], hang_s: float = math.inf, deadline_s: float | None = None
    ) -> Job:
        # Opening and closing have no deadline, and in simulated time no cost.
        async with self._worker.job(work, free=deadline_s is None) as job:
            left_s = hang_s
            if deadline_s is not None and deadline_s < hang_s and not await job.wait(deadline_s):
                self._late()
                left_s -= deadline_s
            if not await job.wait(left_s):
                job.abandoned = True
                self._session = None
                raise ScaError(f"the engine {self.name} hangs {what}: more than {hang_s:g} s and no result")
        error = job.error
        if isinstance(error, Exception) and not isinstance(error, ScaError):
            raise ScaError(f"the engine {self.name} failed {what}: {type(error).__name__}: {error}") from error
        return job

    async def __aenter__(self) -> Self:
        self._session = (await self._do("to open a session", partial(self._engine.open, self._config))).result()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            with anyio.CancelScope(shield=True):
                (await self._do("to close its session", self._session.close, self._hang_s)).result()
