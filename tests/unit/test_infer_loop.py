"""The loop in simulated time, with an engine that outputs a tone in every chunk: order, pace, lag, interruption, failure."""

import threading

import anyio
import numpy as np
import pytest

from sca.audio.mel import log_mel
from sca.config import LiveConfig
from sca.errors import InputError, ScaError
from sca.infer.clock import LoopClock, simulate
from sca.infer.device_worker import InlineWorker, ThreadWorker
from sca.infer.engine import SessionConfig
from sca.infer.frames import ErrorFrame, Interrupt, Lag, ThoughtPacket, TurnEnd
from sca.infer.session.loop import LiveSession
from tests.helpers.live_endpoints import CHUNK, CHUNK_TICKS, ArraySource, ListSink, Log, Run
from tests.helpers.tone_engine import Tone, fatal_error, output, raise_error

MS = 48


def live(**settings):
    return LiveConfig(**{"step_cost_ms": 20.0, **settings})


def noise(chunks, rest=0):
    return np.random.default_rng(0).uniform(-0.5, 0.5, chunks * CHUNK + rest).astype(np.float32)


def test_every_chunk_is_stepped_in_order_and_answered():
    engine = Tone()
    run = Run(engine, noise(10), live())
    assert [index for _, index, _ in engine.steps] == list(range(10))
    assert run.sink.played[0][0] == CHUNK_TICKS + 20 * MS
    assert [start for start, _ in run.sink.played] == [(k + 1) * CHUNK_TICKS + 20 * MS for k in range(10)]
    assert run.stats.latency.summary() == {"p50": 20, "p95": 20, "p99": 20, "max": 20, "count": 10}
    assert (run.stats.chunks_in, run.stats.stepped, run.stats.chunks_out) == (10, 10, 10)
    assert (run.stats.late, run.stats.dropped, run.stats.lags, run.stats.stale) == (0, 0, 0, 0)
    assert run.stats.overhead.percentile_ms(100) == 0
    assert run.sink.heard_samples == run.stats.heard_samples == 10 * CHUNK
    assert engine.closed == 1


def test_listeners_receive_all_events_in_order():
    run = Run(Tone(), noise(10), live())
    assert [index for index, _ in run.log.blocks] == list(range(10))
    assert [f.chunk_index for f in run.log.of(ThoughtPacket)] == list(range(10))
    assert run.log.positions == [((k + 1) * 7680 + 480, k) for k in range(10)]
    assert [(f.turn_id, f.sample) for f in run.log.of(TurnEnd)] == [(0, 4 * CHUNK), (1, 8 * CHUNK)]


def test_features_are_computed_from_one_chunk_or_omitted():
    sound, got = noise(2), []

    def look(session, heard):
        got.append(heard)
        return []

    Run(Tone({0: look, 1: look}), sound, live())
    np.testing.assert_array_equal(got[1].features, log_mel(sound[CHUNK:])[None])
    assert got[1].features.shape == (1, 128, 32)
    Run(Tone({0: look}, uses_features=False), sound, live())
    assert got[2].features.shape == (1, 128, 0)
    assert (got[1].timestamp, got[1].chunk_index) == (CHUNK, 1)


def test_last_chunk_is_padded_for_the_engine_only():
    engine = Tone()
    run = Run(engine, noise(1, rest=100), live())
    assert [index for _, index, _ in engine.steps] == [0, 1]
    assert [len(samples) for _, samples in run.log.blocks] == [CHUNK, 100]
    assert run.sink.heard_samples == CHUNK + 100
    assert run.sink.played[1][0] >= (CHUNK + 100) * 3 + 20 * MS  # stepped at the end of the input


def test_empty_input():
    engine = Tone()
    run = Run(engine, noise(0), live())
    assert (run.stats.chunks_in, run.sink.heard_samples, engine.closed) == (0, 0, 1)


def test_invalid_samples_are_replaced_and_counted():
    sound = noise(2)
    sound[:3] = np.nan, np.inf, -np.inf
    sound[CHUNK : CHUNK + 4] = 1, -1, 1.5, -2
    got = []
    run = Run(Tone({k: lambda session, heard: got.append(heard.samples) for k in range(2)}), sound, live())
    assert (run.stats.non_finite, run.stats.clipped) == (3, 4)
    assert got[0][:3].tolist() == [0, 0, 0]
    assert got[1][:4].tolist() == [1, -1, 1, -1]


# Lag


def test_skip_drops_all_but_the_newest_chunk():
    engine = Tone()
    run = Run(engine, noise(40), live(step_cost_ms=500.0, lag_chunks=2, lag_policy="skip"), can_wait=False)
    indices = [index for _, index, _ in engine.steps]
    lags = run.log.of(Lag)
    assert indices == sorted(set(indices))
    assert (
        0 < run.stats.dropped == 40 - len(indices) == sum(lag.dropped_chunks for lag in lags if lag.reason == "backlog")
    )
    assert run.stats.late > 0
    # The delay stays within the allowed number of waiting chunks.
    assert run.stats.latency.percentile_ms(100) <= (3 + 1) * 320 + 500


def test_wait_processes_all_chunks_and_reports_once():
    engine = Tone({k: lambda session, heard: session.speak(heard) for k in range(40)})
    run = Run(engine, noise(40), live(step_cost_ms=500.0, lag_policy="wait"))
    assert [index for _, index, _ in engine.steps] == list(range(40))
    assert run.stats.dropped == 0
    assert len([lag for lag in run.log.of(Lag) if lag.reason == "backlog"]) == 1
    assert run.ended == 320 * MS + 40 * 500 * MS


def test_microphone_drops_and_counts_the_oldest_chunk():
    engine = Tone()
    run = Run(engine, noise(30), live(step_cost_ms=700.0, lag_policy="wait", listen_buffer_ms=960), can_wait=False)
    indices = [index for _, index, _ in engine.steps]
    assert run.stats.dropped == 30 - len(indices) > 0
    assert indices[-1] == 29  # the newest chunk is never dropped
    assert [index for index, _ in run.log.blocks] == list(range(30))  # listeners receive all of them


def test_missed_deadline_is_reported_during_the_step():
    run = Run(Tone(), noise(3), live(step_cost_ms=100.0, deadline_ms=60))
    assert [(f.reason, f.dropped_chunks) for f in run.log.of(Lag)] == [("deadline", 0)] * 3
    assert run.error is None


def test_hanging_step_ends_the_session():
    engine = Tone()
    run = Run(engine, noise(100), live(step_cost_ms=60_000.0, hang_s=2.0))
    assert str(run.error) == "the engine tone hangs in chunk 0: no result after 2 s"
    assert run.ended == CHUNK_TICKS + 2000 * MS
    assert isinstance(run.log.frames[-1], ErrorFrame)
    assert [f.reason for f in run.log.of(Lag)] == ["deadline"]


# Interruption


def test_client_interrupt_drops_stale_audio():
    async def during(session, clock):
        await clock.sleep_until(5 * CHUNK_TICKS + 100 * MS)
        before = len(session._sink.played)
        session.interrupt()
        assert session._sink.flushed == [clock.now()]
        assert len(session._sink.played) == before

    engine = Tone(turn_chunks=100)
    run = Run(engine, noise(10), live(), during=during)
    cut = run.sink.flushed[0]
    assert [(f.turn_id, f.by) for f in run.log.of(Interrupt)] == [(0, "door")]
    assert engine.sessions[0].interrupts == [1]
    assert all(frame.turn_id == 1 for start, frame in run.sink.played if start >= cut)
    assert run.stats.interruptions == 1
    assert run.log.cuts == [cut // 2]


def test_client_interrupt_drops_the_running_step():
    async def during(session, clock):
        await clock.sleep_until(5 * CHUNK_TICKS + 100 * MS)  # chunk 4 is in the engine from 0 to 200 ms
        session.interrupt()

    engine = Tone(turn_chunks=100)
    run = Run(engine, noise(10), live(step_cost_ms=200.0), during=during)
    assert [frame.chunk_index for _, frame in run.sink.played] == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert run.stats.stale == 1
    assert engine.sessions[0].interrupts == [1]


def test_client_interrupt_drops_a_frame_waiting_for_room():
    async def during(session, clock):
        await clock.sleep_until(5 * CHUNK_TICKS + 90 * MS)
        session.interrupt()

    run = Run(
        Tone(turn_chunks=100), noise(10), live(), during=during, sink=lambda clock: ListSink(clock, ahead_ms=-100)
    )
    cut = run.sink.flushed[0]
    assert all(frame.turn_id == 1 for start, frame in run.sink.played if start >= cut)
    assert run.stats.stale > 0
    assert run.error is None


def test_engine_interrupts_its_answer():
    def barge_in(session, heard):
        old = session.turn_id
        session.interrupt(old + 1)
        return [Interrupt(old, heard.timestamp + len(heard.samples)), *session.speak(heard)]

    run = Run(Tone({5: barge_in}, turn_chunks=100), noise(8), live())
    assert [f.by for f in run.log.of(Interrupt)] == ["listener"]
    assert [frame.turn_id for _, frame in run.sink.played] == [0] * 5 + [1] * 3
    assert run.sink.flushed == [6 * CHUNK_TICKS + 20 * MS]


def test_stale_frames_of_the_engine_are_dropped():
    def old(session, heard):
        session.turn_id = 0
        return session.speak(heard)

    run = Run(Tone({6: old}, turn_chunks=2), noise(8), live(), during=interrupt_at(5))
    assert 6 not in [frame.chunk_index for _, frame in run.sink.played]
    assert run.stats.stale == 2  # and chunk 7, which continues the old turn


def interrupt_at(chunk):
    async def during(session, clock):
        await clock.sleep_until(chunk * CHUNK_TICKS + 100 * MS)
        session.interrupt()

    return during


def test_stop_ends_the_session_like_the_end_of_input():
    async def during(session, clock):
        await clock.sleep_until(5 * CHUNK_TICKS + 1000)
        session.stop()

    engine = Tone()
    run = Run(engine, noise(100), live(), during=during)
    assert run.error is None
    assert run.stats.chunks_in == 5
    assert engine.closed == 1


# Failure


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (raise_error, "the engine tone failed in chunk 3: RuntimeError: the weights melted"),
        (
            output(b"\0" * 32, 16_000),
            "the engine tone answers chunk 3 with audio at 16000 Hz; output audio must have 24000 Hz",
        ),
        (output(b"\0" * 31), "the engine tone answers chunk 3 with 31 bytes of audio, but an int16 sample has 2 bytes"),
        (fatal_error, "the engine gives up"),
    ],
)
def test_engine_error_ends_the_session_with_one_line(act, message):
    engine = Tone({3: act})
    run = Run(engine, noise(10), live())
    assert type(run.error) is ScaError
    assert str(run.error) == message
    assert engine.closed == 1
    assert run.stats.chunks_out == 3


def test_sca_errors_keep_their_type():
    def refuses(session, heard):
        raise InputError("the client did not send audio", hint="send audio")

    run = Run(Tone({0: refuses}), noise(2), live())
    assert (type(run.error), run.error.hint) == (InputError, "send audio")


def test_engine_that_fails_to_open():
    class Shut(Tone):
        def open(self, session_config):
            raise OSError("no device")

    run = Run(Shut(), noise(2), live())
    assert str(run.error) == "the engine tone failed to open a session: OSError: no device"


def test_sink_error_ends_the_session():
    class Broken(ListSink):
        async def play(self, frame):
            raise InputError("the loudspeaker is disconnected")

    engine = Tone()
    run = Run(engine, noise(10), live(), sink=Broken)
    assert str(run.error) == "the loudspeaker is disconnected"
    assert engine.closed == 1


def test_other_exceptions_are_not_wrapped():
    class Buggy(Log):
        def on_input(self, samples, chunk_index):
            raise KeyError("bug")

    async def main():
        clock = LoopClock()
        sink, source = ListSink(clock), ArraySource(noise(3), clock)
        with pytest.raises(ExceptionGroup) as raised:
            await LiveSession(Tone(), source, sink, clock=clock, worker=InlineWorker(), listeners=[Buggy()]).run()
        assert raised.group_contains(KeyError)

    simulate(main)


def test_other_sessions_continue_after_a_failure_or_hang():
    """Real time, one device: a failing session, a hanging session and a working one."""
    settings = live(hang_s=60.0, deadline_ms=50, lag_policy="wait")
    over = threading.Event()

    def hangs(session, heard):
        over.wait(60)

    async def main():
        worker = ThreadWorker()
        found = {}

        async def one(name, acts, settings=settings):
            clock = LoopClock()
            engine = Tone(acts, uses_features=False)
            sink = ListSink(clock, ahead_ms=60_000)
            session = LiveSession(engine, Fast(noise(12)), sink, clock=clock, worker=worker, live=settings)
            try:
                await session.run()
                found[name] = len(sink.played)
            except ScaError as error:
                found[name] = str(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one, "fails", {2: raise_error})
            tasks.start_soon(one, "hangs", {0: hangs}, live(hang_s=0.2, lag_policy="wait"))
            tasks.start_soon(one, "works", {})
        assert not over.is_set()
        worker.close()
        return found

    try:
        found = anyio.run(main)
    finally:
        over.set()
    assert found["fails"] == "the engine tone failed in chunk 2: RuntimeError: the weights melted"
    assert found["hangs"] == "the engine tone hangs in chunk 0: no result after 0.2 s"
    assert found["works"] == 12


class Fast(ArraySource):
    """Twelve chunks in a tenth of real time, at their ticks."""

    def __init__(self, samples):
        super().__init__(samples, None)

    async def blocks(self):
        from sca.infer.interfaces import AudioBlock

        clock = LoopClock()
        for at in range(0, len(self.samples), CHUNK):
            await anyio.sleep(0.01)
            yield AudioBlock(self.samples[at : at + CHUNK], clock.now())


def test_real_time_steps_do_not_block_the_event_loop():
    engine = Tone(uses_features=True)

    async def main():
        worker, clock = ThreadWorker(), LoopClock()
        session = LiveSession(
            engine, Fast(noise(3)), ListSink(clock), clock=clock, worker=worker, config=SessionConfig(), live=live()
        )
        await session.run()
        worker.close()

    anyio.run(main)
    threads = {thread for _, _, thread in engine.steps}
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_two_sessions_share_a_simulated_device():
    async def main():
        worker, clock = InlineWorker(cost_ms=100), LoopClock()
        sinks = [ListSink(clock), ListSink(clock)]
        async with anyio.create_task_group() as tasks:
            for sink in sinks:
                source = ArraySource(noise(5), clock)
                tasks.start_soon(LiveSession(Tone(), source, sink, clock=clock, worker=worker, live=live()).run)
        return [[start for start, _ in sink.played] for sink in sinks]

    one, other = simulate(main)
    assert one == [(k + 1) * CHUNK_TICKS + 100 * MS for k in range(5)]
    assert other == [(k + 1) * CHUNK_TICKS + 200 * MS for k in range(5)]
