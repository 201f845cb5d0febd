"""What waits for a client: bounded, dropped from its oldest end with a word about it, taken once; and whose sound is early."""

import anyio
import numpy as np
import pytest

from sca.config import LiveConfig
from sca.infer.clock import TICK_HZ, LoopClock, simulate
from sca.infer.device_worker import InlineWorker
from sca.infer.frames import AudioOutput
from sca.infer.server.ws.send_queue import SendQueue
from sca.infer.server.ws.stream_io import NetworkSink, NetworkSource
from sca.infer.session.loop import LiveSession
from sca.units import Grid
from tests.helpers.live_endpoints import ListSink
from tests.helpers.tone_engine import Tone


def drained(outbox):
    outbox.close()

    async def main():
        return [message async for message in taken(outbox)]

    return simulate(main)


async def taken(outbox):
    while (message := await outbox.take()) is not None:
        yield message


def test_room_is_made_from_the_oldest_sound_and_told_once_where_it_was():
    outbox = SendQueue(300, lambda ms: (f"lost {ms:g}",))
    for i in range(3):
        outbox.put(f"head {i}", f"sound {i}", ms=100)
        outbox.put(f"reply {i}")
    assert outbox.drop_oldest(100) == 100
    outbox.put("head 3", "sound 3", ms=100)
    assert outbox.drop_oldest(100) == 100
    assert outbox.audio_ms == 200
    assert outbox.drop_oldest(100) == 0
    rest = ["head 2", "sound 2", "reply 2", "head 3", "sound 3"]
    assert drained(outbox) == ["lost 200", "reply 0", "reply 1", *rest]


def test_a_gap_that_was_told_is_over():
    async def main():
        outbox = SendQueue(100, lambda ms: (f"lost {ms:g}",))
        for i in range(2):
            outbox.put(f"sound {i}", ms=100)
        outbox.drop_oldest(0)
        found = [await outbox.take()]
        outbox.put("sound 2", ms=100)
        outbox.drop_oldest(0)
        outbox.close()
        return found + [message async for message in taken(outbox)]

    assert simulate(main) == ["lost 100", "lost 100", "sound 2"]


def test_without_words_for_it_sound_goes_all_the_same():
    outbox = SendQueue(100)
    outbox.put("sound", ms=100)
    outbox.put("reply")
    assert outbox.drop_oldest(100) == 100
    assert drained(outbox) == ["reply"]


def test_what_was_begun_goes_on_and_a_cancelled_wait_takes_nothing():
    async def main():
        outbox = SendQueue(1000)
        with anyio.move_on_after(1):
            await outbox.take()
        outbox.put("head", "sound", ms=100)
        first = await outbox.take()
        assert outbox.discard_audio() == 0  # the head is out, so its sound has to come
        outbox.put("other", ms=100)
        assert outbox.discard_audio() == 100
        outbox.close()
        return [first] + [message async for message in taken(outbox)]

    assert simulate(main) == ["head", "sound"]


def play(may_drop):
    """Five frames of 320 ms to a client that takes nothing: (how many were let in within a second, ms dropped, ms held)."""

    async def main():
        outbox, dropped, done = SendQueue(960), [], []
        sink = NetworkSink(
            outbox, LoopClock(), LiveConfig(), lambda frame: ["sound"], may_drop=may_drop, on_dropped=dropped.append
        )
        with anyio.move_on_after(1):
            for i in range(5):
                await sink.play(AudioOutput(bytes(2 * 7680), 24_000, "", i, 0))
                done.append(i)
        return len(done), sum(dropped), outbox.audio_ms

    return simulate(main)


def test_a_sink_drops_or_waits():
    assert play(lambda: True) == (5, 640, 960)
    assert play(lambda: False) == (3, 0, 960)


def test_sound_is_early_when_it_is_ahead_of_real_time_and_after_a_client_came_back():
    grid = Grid()
    chunk = np.zeros(grid.heard_samples, np.float32)

    async def main():
        clock = LoopClock()
        source, seen = NetworkSource(clock, grid, LiveConfig()), []

        async def hear():
            async for _ in source.blocks():
                source.on_step(len(seen), [])
                seen.append(source.early)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hear)
            for i in range(1, 5):  # a microphone
                await clock.sleep_until(i * TICK_HZ * 32 // 100)
                await source.put(chunk)
            await clock.sleep_until(20 * TICK_HZ)
            assert not source.early
            source.resume()
            for _ in range(8):  # what it heard while it was away
                await source.put(chunk)
            await anyio.sleep(0.01)
            source.close()
        return seen

    seen = simulate(main)
    assert seen[:4] == [False] * 4
    assert seen[-2:] == [True] * 2


def talk(client, cost_ms):
    """What a session counts whose client is `client(source, clock, chunk)`, with an engine that takes so long for a chunk."""
    grid, live = Grid(), LiveConfig(lag_policy="skip", lag_chunks=1)

    async def main():
        clock = LoopClock()
        source = NetworkSource(clock, grid, live)
        session = LiveSession(
            Tone(), source, ListSink(clock), clock=clock, worker=InlineWorker(cost_ms), live=live, listeners=[source]
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(session.run)
            await client(source, clock, np.zeros(grid.heard_samples, np.float32))
            source.close()
        return session.stats

    return simulate(main)


@pytest.mark.parametrize("told", [True, False])
def test_what_was_kept_while_a_client_was_away_is_heard_though_others_who_lag_skip(told):
    async def client(source, clock, chunk):
        await source.put(chunk)
        await clock.sleep_until(20 * TICK_HZ)
        if told:
            source.resume()
        for _ in range(5):  # as many as may wait
            await source.put(chunk)

    stats = talk(client, 100)
    assert stats.chunks_in == 6
    assert (stats.dropped == 0) == told


@pytest.mark.parametrize("cost_ms", [50, 1000])
def test_whoever_sends_ahead_of_real_time_loses_nothing_to_an_engine_however_slow(cost_ms):
    async def client(source, clock, chunk):
        for _ in range(60):
            await source.put(chunk)

    stats = talk(client, cost_ms)
    assert (stats.stepped, stats.dropped) == (60, 0)


def test_a_microphone_whose_engine_is_too_slow_skips_all_the_same():
    async def client(source, clock, chunk):
        for i in range(60):
            await clock.sleep_until((i + 1) * TICK_HZ * 32 // 100)
            await source.put(chunk)

    stats = talk(client, 1000)
    assert stats.stepped + stats.dropped == 60
    assert stats.dropped > 30
    assert stats.latency.percentile_ms(100) < 3 * 1000
