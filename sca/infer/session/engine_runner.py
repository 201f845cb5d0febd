"""Runs the steps of an engine session on the device worker, with a step deadline and a hang timeout.

An exception of the engine becomes a one-line `ScaError`. An engine that hangs is abandoned.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

import anyio

from sca.audio.mel import log_mel
from sca.config import LiveConfig
from sca.errors import ScaError
from sca.infer.device_worker import DeviceJob, DeviceWorker
from sca.infer.engine import Engine, EngineSession, HearsPlayback, SessionConfig
from sca.infer.frames import NO_FEATURES, AudioInput, Frame
from sca.infer.session.input_chunker import AudioChunk
from sca.infer.session.played import PlayedTurn
from sca.infer.session.step_batcher import StepBatcher

__all__ = ["EngineRunner"]

T = TypeVar("T")

_MAX_ANSWER_S = 330.0
"""How long a step in lockstep may wait for an answer. Engines give up an answer before."""


class EngineRunner:
    """A context manager that opens a session of an engine, and closes it unless the engine hangs.

    Args:
        engine: The engine.
        worker: The worker of its device.
        config: The parameters of the session.
        live: Deadline and hang timeout.
        on_deadline_missed: Called while a step is running, when it exceeds the deadline.
        batcher: Steps the session together with others.

    Attributes:
        name: The name of the engine.

    Raises:
        ScaError: From every method: what the engine raises if it is a `ScaError`, else an error that names engine and
            chunk.
    """

    def __init__(
        self,
        engine: Engine,
        worker: DeviceWorker,
        config: SessionConfig,
        live: LiveConfig,
        on_deadline_missed: Callable[[], None],
        batcher: StepBatcher | None = None,
    ) -> None:
        self._engine, self._worker, self._config, self._batcher = engine, worker, config, batcher
        self._on_deadline_missed = on_deadline_missed
        self._hang_s = live.hang_s
        self._deadline_s: float | None = float(config.grid.chunk_s)
        if live.deadline_ms is not None:
            self._deadline_s = live.deadline_ms / 1000
        if config.pace == "lockstep" and engine.info.answers_in_background:  # a step waits for the answer
            self._hang_s, self._deadline_s = max(live.hang_s, _MAX_ANSWER_S), None
        self._session: EngineSession | None = None
        self._membership = ExitStack()
        self.name = engine.info.name

    async def step(
        self, chunk: AudioChunk, interrupt_turn_id: int | None, played: Sequence[PlayedTurn] = ()
    ) -> tuple[Sequence[Frame], int]:
        """Step the session.

        Args:
            chunk: The input.
            interrupt_turn_id: Interrupt the session first and continue with this turn id; None does not interrupt it.
            played: What was played of turns that were interrupted since the last step.

        Returns:
            The frames, and the ticks spent in the engine.
        """
        assert self._session is not None
        what = f"in chunk {chunk.index}"
        if self._batcher is None:
            work = partial(self._step, self._session, chunk, interrupt_turn_id, played)
            async with self._worker.job(work) as job:
                await self._wait(job, what, self._hang_s, self._deadline_s)
            return self._result(job, what), job.ticks
        prepare = partial(self._prepare, self._session, chunk, interrupt_turn_id, played)
        async with self._batcher.job(self._session, prepare) as (batch_job, position):
            await self._wait(batch_job, what, self._hang_s, self._deadline_s)
        frames = self._result(batch_job, what)[position]
        if isinstance(frames, Exception):
            raise self._as_sca_error(frames, what) from frames
        return frames, batch_job.ticks

    def _prepare(
        self, session: EngineSession, chunk: AudioChunk, interrupt_turn_id: int | None, played: Sequence[PlayedTurn]
    ) -> AudioInput:
        """Apply an interrupt and make the input of a step. Runs in the worker."""
        if interrupt_turn_id is not None:
            session.interrupt(interrupt_turn_id)
        if isinstance(session, HearsPlayback):
            for turn in played:
                session.set_played(turn.turn_id, turn.samples)
        features = log_mel(chunk.samples)[None] if self._engine.info.uses_features else NO_FEATURES
        added = chunk.added_silence + len(chunk.samples) - chunk.valid_samples
        return AudioInput(
            features, chunk.samples, chunk.index, chunk.timestamp, added, chunk.sound_start, chunk.signals
        )

    def _step(
        self, session: EngineSession, chunk: AudioChunk, interrupt_turn_id: int | None, played: Sequence[PlayedTurn]
    ) -> Sequence[Frame]:
        """Step the session. Runs in the worker."""
        return session.step(self._prepare(session, chunk, interrupt_turn_id, played))

    async def _wait(self, job: DeviceJob[T], what: str, hang_s: float, deadline_s: float | None) -> None:
        # A job that another session has abandoned is not waited for again.
        left_s = 0.0 if job.abandoned else hang_s
        if deadline_s is not None and deadline_s < left_s and not await job.wait(deadline_s):
            self._on_deadline_missed()
            left_s -= deadline_s
        if not await job.wait(left_s):
            job.abandoned = True
            self._session = None
            raise ScaError(f"the engine {self.name} hangs {what}: no result after {hang_s:g} s")

    def _result(self, job: DeviceJob[T], what: str) -> T:
        if isinstance(job.error, Exception):
            raise self._as_sca_error(job.error, what) from job.error
        return job.result()

    def _as_sca_error(self, error: Exception, what: str) -> ScaError:
        if isinstance(error, ScaError):
            return error
        return ScaError(f"the engine {self.name} failed {what}: {type(error).__name__}: {error}")

    async def _call(self, what: str, work: Callable[[], T], hang_s: float = math.inf) -> T:
        """Open or close the session: without a deadline, and without a cost in simulated time."""
        async with self._worker.job(work, has_cost=False) as job:
            await self._wait(job, what, hang_s, None)
        return self._result(job, what)

    async def __aenter__(self) -> Self:
        self._session = await self._call("to open a session", partial(self._engine.open, self._config))
        if self._batcher is not None:
            self._membership.enter_context(self._batcher.joined())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._membership.close()
        if self._session is not None:
            with anyio.CancelScope(shield=True):
                await self._call("to close its session", self._session.close, self._hang_s)
