"""Sessions of an engine that steps many at once, in simulated time: how many calls, what each hears of the others' faults."""

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
from tests.helpers.tone_engine import Tone, raises

MS = 48
CHUNKS, SESSIONS = 10, 8


def noise(seed):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, CHUNKS * CHUNK).astype(np.float32)


class Batched:
    """Sessions side by side, session i beginning `offset_ms * i` later. sinks, found (stats or the error), ended: one a session."""

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


def test_chunks_that_are_due_together_are_stepped_in_one_call_and_sound_as_if_alone():
    together = Batched(Tone())
    alone = Batched(Tone(), together=False)
    assert together.engine.batches == [SESSIONS] * CHUNKS
    assert alone.engine.batches == []
    assert [together.said(i) for i in range(SESSIONS)] == [alone.said(i) for i in range(SESSIONS)]
    assert together.engine.closed == alone.engine.closed == SESSIONS
    # Who is last of eight waits for seven steps when alone, and for one here.
    assert max(stats.latency.percentile_ms(100) for stats in together.found) == 20
    assert max(stats.latency.percentile_ms(100) for stats in alone.found) == SESSIONS * 20


def test_an_engine_that_is_busy_gathers_who_comes_meanwhile_and_nobody_waits_longer():
    run = Batched(Tone(), offset_ms=30, wait_ms=10, cost_ms=70)
    assert sum(run.engine.batches) == SESSIONS * CHUNKS
    assert len(run.engine.batches) <= SESSIONS * CHUNKS / 2
    # At worst: the batch before has just begun, then the moment of waiting, then one's own.
    assert max(stats.latency.percentile_ms(100) for stats in run.found) <= 70 + 10 + 70
    assert all(stats.stepped == CHUNKS and stats.dropped == 0 for stats in run.found)


def test_one_session_waits_for_nobody():
    run = Batched(Tone(), sessions=1, wait_ms=1000)
    assert run.found[0].latency.percentile_ms(100) == 20


def test_a_chunk_waits_for_sessions_that_are_not_due_no_longer_than_it_may():
    run = Batched(Tone(), sessions=2, offset_ms=160, wait_ms=40)
    assert set(run.engine.batches) == {1}
    assert {stats.latency.percentile_ms(100) for stats in run.found} == {60}


def test_what_one_session_raises_is_its_own():
    def broken(session, heard):
        return raises(session, heard) if session is session.engine.sessions[3] else None

    run, alone = Batched(Tone({4: broken})), Batched(Tone(), together=False)
    assert run.found[3] == "the engine tone failed in chunk 4: RuntimeError: the weights melted"
    assert len(run.said(3)) == 4
    others = [i for i in range(SESSIONS) if i != 3]
    assert [run.said(i) for i in others] == [alone.said(i) for i in others]
    assert run.engine.batches == [SESSIONS] * 5 + [SESSIONS - 1] * (CHUNKS - 5)
    assert run.engine.closed == SESSIONS


class Melting(Tone):
    """Its third call fails as a whole."""

    def step_batch(self, sessions, inputs):
        if len(self.batches) == 2:
            self.batches.append(0)
            raise MemoryError("out of it")
        return super().step_batch(sessions, inputs)


def test_a_call_that_fails_ends_who_was_in_it_and_no_one_else():
    run = Batched(Melting(), sessions=2, offset_ms=160, wait_ms=0)  # one after the other
    assert run.found[0] == "the engine tone failed in chunk 1: MemoryError: out of it"
    assert run.found[1].stepped == CHUNKS


class Forgetful(Tone):
    def step_batch(self, sessions, inputs):
        return super().step_batch(sessions, inputs)[1:]


def test_an_engine_that_loses_a_result_is_named():
    run = Batched(Forgetful(), sessions=2)
    assert run.found == ["the engine tone returned 1 results for 2 sessions"] * 2


def test_a_call_that_hangs_ends_all_that_are_in_it_at_once():
    run = Batched(Tone(), sessions=3, cost_ms=60_000, hang_s=2.0)
    assert run.found == ["the engine tone hangs in chunk 0: no result after 2 s"] * 3
    assert max(run.ended) <= (320 + 2000 + 10) * MS


@pytest.mark.parametrize("at_ms", [5 * 320 + 5, 5 * 320 + 15, 5 * 320 + 40])
@pytest.mark.parametrize("who", [0, 1])
def test_a_session_that_is_cancelled_wherever_it_stands_leaves_the_others(who, at_ms):
    """While it gathers, while it waits to be called, while it is stepped: the others are offset by 8 ms."""

    async def during(i, session, clock, scope):
        if i == who:
            await clock.sleep_until(at_ms * MS)
            scope.cancel()

    run = Batched(Tone(), sessions=3, offset_ms=8, wait_ms=30, cost_ms=40, during=during)
    assert run.found[who] is None
    assert [run.found[i].stepped for i in range(3) if i != who] == [CHUNKS, CHUNKS]
    assert run.engine.closed == 3


def test_the_door_interrupts_its_own_session():
    async def during(i, session, clock, scope):
        if i == 1:
            await clock.sleep_until((5 * 320 + 100) * MS)
            session.interrupt()

    run = Batched(Tone(turn_chunks=100), sessions=2, during=during)
    assert [session.told for session in run.engine.sessions] == [[], [1]]
    assert [frame.turn_id for frame in run.said(1)] == [0] * 5 + [1] * 5
    assert [frame.turn_id for frame in run.said(0)] == [0] * 10
