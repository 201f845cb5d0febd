"""`StepBatcher` in simulated time: number of calls, latency, and isolation of failures."""

import anyio
import numpy as np
import pytest

from sca.config import LiveConfig
from sca.errors import ScaError
from sca.infer.clock import LoopClock, simulate
from sca.infer.device_worker import InlineWorker
from sca.infer.session.loop import LiveSession
from sca.infer.session.step_batcher import StepBatcher
from tests.helpers.live_endpoints import CHUNK, ArraySource, ListSink
from tests.helpers.tone_engine import Tone, raise_error

MS = 48
CHUNKS, SESSIONS = 10, 8


def noise(seed):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, CHUNKS * CHUNK).astype(np.float32)


class Batched:
    """Concurrent sessions; session i starts `offset_ms * i` later.

    `sinks`, `found` (stats or error) and `ended` are per session.
    """

    def __init__(
        self, engine, *, together=True, offset_ms=0, wait_ms=10, cost_ms=20, sessions=SESSIONS, during=None, **live
    ):
        self.engine, self.found, self.ended = engine, [None] * sessions, [None] * sessions
        self._live = LiveConfig(step_cost_ms=cost_ms, **live)
        self._args = together, offset_ms, wait_ms, cost_ms, sessions, during
        simulate(self._main)

    async def _main(self):
        together, offset_ms, wait_ms, cost_ms, sessions, during = self._args
        worker, self.sinks = InlineWorker(cost_ms), []
        batcher = StepBatcher(self.engine, worker, wait_ms / 1000) if together else None
        async with anyio.create_task_group() as tasks:
            for i in range(sessions):
                tasks.start_soon(self._one, i, worker, batcher, during)
                await anyio.sleep(offset_ms / 1000)

    async def _one(self, i, worker, batcher, during):
        clock = LoopClock()
        sink = ListSink(clock)
        self.sinks.append(sink)
        session = LiveSession(
            self.engine,
            ArraySource(noise(i), clock),
            sink,
            clock=clock,
            worker=worker,
            live=self._live,
            batcher=batcher,
        )
        async with anyio.create_task_group() as tasks:
            if during is not None:
                tasks.start_soon(during, i, session, clock, tasks.cancel_scope)
            try:
                self.found[i] = await session.run()
            except ScaError as error:
                self.found[i] = str(error)
            self.ended[i] = clock.now()
            tasks.cancel_scope.cancel()

    def said(self, i):
        return [frame for _, frame in self.sinks[i].played]


def test_due_chunks_are_batched_with_equal_results():
    together = Batched(Tone())
    alone = Batched(Tone(), together=False)
    assert together.engine.batches == [SESSIONS] * CHUNKS
    assert alone.engine.batches == []
    assert [together.said(i) for i in range(SESSIONS)] == [alone.said(i) for i in range(SESSIONS)]
    assert together.engine.closed == alone.engine.closed == SESSIONS
    # Without batching, the last of eight sessions waits for seven steps; here it waits for one.
    assert max(stats.latency.percentile_ms(100) for stats in together.found) == 20
    assert max(stats.latency.percentile_ms(100) for stats in alone.found) == SESSIONS * 20


def test_busy_engine_batches_arrivals_with_bounded_latency():
    run = Batched(Tone(), offset_ms=30, wait_ms=10, cost_ms=70)
    assert sum(run.engine.batches) == SESSIONS * CHUNKS
    assert len(run.engine.batches) <= SESSIONS * CHUNKS / 2
    # Worst case: the previous batch has just started, then the waiting time, then the own batch.
    assert max(stats.latency.percentile_ms(100) for stats in run.found) <= 70 + 10 + 70
    assert all(stats.stepped == CHUNKS and stats.dropped == 0 for stats in run.found)


def test_single_session_does_not_wait():
    run = Batched(Tone(), sessions=1, wait_ms=1000)
    assert run.found[0].latency.percentile_ms(100) == 20


def test_waiting_time_for_other_sessions_is_bounded():
    run = Batched(Tone(), sessions=2, offset_ms=160, wait_ms=40)
    assert set(run.engine.batches) == {1}
    assert {stats.latency.percentile_ms(100) for stats in run.found} == {60}


def test_session_error_ends_that_session_only():
    def broken(session, heard):
        return raise_error(session, heard) if session is session.engine.sessions[3] else None

    run, alone = Batched(Tone({4: broken})), Batched(Tone(), together=False)
    assert run.found[3] == "the engine tone failed in chunk 4: RuntimeError: the weights melted"
    assert len(run.said(3)) == 4
    others = [i for i in range(SESSIONS) if i != 3]
    assert [run.said(i) for i in others] == [alone.said(i) for i in others]
    assert run.engine.batches == [SESSIONS] * 5 + [SESSIONS - 1] * (CHUNKS - 5)
    assert run.engine.closed == SESSIONS


class Melting(Tone):
    """Raises in its third call."""

    def step_batch(self, sessions, inputs):
        if len(self.batches) == 2:
            self.batches.append(0)
            raise MemoryError("out of it")
        return super().step_batch(sessions, inputs)


def test_failed_batch_ends_its_sessions_only():
    run = Batched(Melting(), sessions=2, offset_ms=160, wait_ms=0)  # separate batches
    assert run.found[0] == "the engine tone failed in chunk 1: MemoryError: out of it"
    assert run.found[1].stepped == CHUNKS


class LosesResult(Tone):
    def step_batch(self, sessions, inputs):
        return super().step_batch(sessions, inputs)[1:]


def test_missing_results_are_reported():
    run = Batched(LosesResult(), sessions=2)
    assert run.found == ["the engine tone returned 1 results for 2 sessions"] * 2


def test_hanging_batch_ends_its_sessions_together():
    run = Batched(Tone(), sessions=3, cost_ms=60_000, hang_s=2.0)
    assert run.found == ["the engine tone hangs in chunk 0: no result after 2 s"] * 3
    assert max(run.ended) <= (320 + 2000 + 10) * MS


@pytest.mark.parametrize("at_ms", [5 * 320 + 5, 5 * 320 + 15, 5 * 320 + 40])
@pytest.mark.parametrize("cancelled", [0, 1])
def test_cancelled_session_does_not_affect_others(cancelled, at_ms):
    """Cancelled while it collects a batch, waits for a batch, or is stepped; the others are offset by 8 ms."""

    async def during(i, session, clock, scope):
        if i == cancelled:
            await clock.sleep_until(at_ms * MS)
            scope.cancel()

    run = Batched(Tone(), sessions=3, offset_ms=8, wait_ms=30, cost_ms=40, during=during)
    assert run.found[cancelled] is None
    assert [run.found[i].stepped for i in range(3) if i != cancelled] == [CHUNKS, CHUNKS]
    assert run.engine.closed == 3


def test_client_interrupt_affects_its_own_session():
    async def during(i, session, clock, scope):
        if i == 1:
            await clock.sleep_until((5 * 320 + 100) * MS)
            session.interrupt()

    run = Batched(Tone(turn_chunks=100), sessions=2, during=during)
    assert [session.interrupts for session in run.engine.sessions] == [[], [1]]
    assert [frame.turn_id for frame in run.said(1)] == [0] * 5 + [1] * 5
    assert [frame.turn_id for frame in run.said(0)] == [0] * 10
