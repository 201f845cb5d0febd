"""The send queue, the sink and the source of a network session."""

import anyio
import numpy as np
import pytest

from sca.config import LiveConfig
from sca.infer.clock import TICK_HZ, LoopClock, simulate
from sca.infer.device_worker import InlineWorker
from sca.infer.frames import AudioOutput
from sca.infer.server.ws.send_queue import MAX_UNSENT_BYTES, SendQueue
from sca.infer.server.ws.stream_io import NetworkSink, NetworkSource
from sca.infer.session.loop import LiveSession
from sca.units import Grid
from tests.helpers.live_endpoints import ListSink
from tests.helpers.tone_engine import Tone


def drain(queue):
    queue.close()

    async def main():
        return [message async for message in take_all(queue)]

    return simulate(main)


async def take_all(queue):
    while (message := await queue.take()) is not None:
        yield message


def test_drops_the_oldest_audio_and_marks_the_gap():
    queue = SendQueue(300, lambda ms: (f"lost {ms:g}",))
    for i in range(3):
        queue.put(f"head {i}", f"sound {i}", ms=100)
        queue.put(f"reply {i}")
    assert queue.drop_oldest(100) == 100
    queue.put("head 3", "sound 3", ms=100)
    assert queue.drop_oldest(100) == 100
    assert queue.audio_ms == 200
    assert queue.drop_oldest(100) == 0
    rest = ["head 2", "sound 2", "reply 2", "head 3", "sound 3"]
    assert drain(queue) == ["lost 200", "reply 0", "reply 1", *rest]


def test_each_gap_is_marked_once():
    async def main():
        queue = SendQueue(100, lambda ms: (f"lost {ms:g}",))
        for i in range(2):
            queue.put(f"sound {i}", ms=100)
        queue.drop_oldest(0)
        found = [await queue.take()]
        queue.put("sound 2", ms=100)
        queue.drop_oldest(0)
        queue.close()
        return found + [message async for message in take_all(queue)]

    assert simulate(main) == ["lost 100", "lost 100", "sound 2"]


def test_drops_audio_without_gap_messages():
    queue = SendQueue(100)
    queue.put("sound", ms=100)
    queue.put("reply")
    assert queue.drop_oldest(100) == 100
    assert drain(queue) == ["reply"]


def test_started_groups_stay_and_cancelling_loses_nothing():
    async def main():
        queue = SendQueue(1000)
        with anyio.move_on_after(1):
            await queue.take()
        queue.put("head", "sound", ms=100)
        first = await queue.take()
        assert queue.discard_audio() == 0  # the first message was taken, so the rest of its group stays
        queue.put("other", ms=100)
        assert queue.discard_audio() == 100
        queue.close()
        return [first] + [message async for message in take_all(queue)]

    assert simulate(main) == ["head", "sound"]


@pytest.mark.parametrize("message", ["x" * 65_536, "é" * 16_384, bytes(65_536)])
def test_queue_beyond_its_bytes_is_discarded(message):
    overflows = []
    queue = SendQueue(100, on_overflow=lambda: overflows.append(len(queue)))
    for _ in range(MAX_UNSENT_BYTES // 65_536 - 1):
        queue.put(message)
    assert not overflows
    for _ in range(3):
        queue.put(message)
    assert overflows == [0]
    assert drain(queue) == []


def test_queue_without_room_in_bytes_makes_producers_wait():
    queue = SendQueue(100)

    async def main():
        queue.put("x" * (2 << 20))
        queue.put("y")
        with anyio.move_on_after(1):
            await queue.wait_for_room()
            raise AssertionError
        await queue.take()
        await queue.wait_for_room()
        return await queue.take()

    assert simulate(main) == "y"


def play(may_drop):
    """Play five frames of 320 ms to a client that reads nothing: (frames accepted within a second, ms dropped, ms queued)."""

    async def main():
        queue, dropped, done = SendQueue(960), [], []
        sink = NetworkSink(
            queue, LoopClock(), LiveConfig(), lambda frame: ["sound"], may_drop=may_drop, on_dropped=dropped.append
        )
        with anyio.move_on_after(1):
            for i in range(5):
                await sink.play(AudioOutput(bytes(2 * 7680), 24_000, "", i, 0))
                done.append(i)
        return len(done), sum(dropped), queue.audio_ms

    return simulate(main)


def test_sink_drops_or_waits():
    assert play(lambda: True) == (5, 640, 960)
    assert play(lambda: False) == (3, 0, 960)


def test_audio_is_early_ahead_of_real_time_or_after_resume():
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
            for i in range(1, 5):  # in real time
                await clock.sleep_until(i * TICK_HZ * 32 // 100)
                await source.put(chunk)
            await clock.sleep_until(20 * TICK_HZ)
            assert not source.early
            source.resume()
            for _ in range(8):  # recorded while disconnected
                await source.put(chunk)
            await anyio.sleep(0.01)
            source.close()
        return seen

    seen = simulate(main)
    assert seen[:4] == [False] * 4
    assert seen[-2:] == [True] * 2


def talk(client, cost_ms):
    """Run a session with `client(source, clock, chunk)` and an engine that takes `cost_ms` per chunk, and return its statistics."""
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


@pytest.mark.parametrize("resumed", [True, False])
def test_audio_recorded_while_disconnected_is_not_dropped(resumed):
    async def client(source, clock, chunk):
        await source.put(chunk)
        await clock.sleep_until(20 * TICK_HZ)
        if resumed:
            source.resume()
        for _ in range(5):  # as many as are buffered
            await source.put(chunk)

    stats = talk(client, 100)
    assert stats.chunks_in == 6
    assert (stats.dropped == 0) == resumed


@pytest.mark.parametrize("cost_ms", [50, 1000])
def test_audio_ahead_of_real_time_is_not_dropped(cost_ms):
    async def client(source, clock, chunk):
        for _ in range(60):
            await source.put(chunk)

    stats = talk(client, cost_ms)
    assert (stats.stepped, stats.dropped) == (60, 0)


def test_real_time_audio_is_dropped_if_the_engine_is_slow():
    async def client(source, clock, chunk):
        for i in range(60):
            await clock.sleep_until((i + 1) * TICK_HZ * 32 // 100)
            await source.put(chunk)

    stats = talk(client, 1000)
    assert stats.stepped + stats.dropped == 60
    assert stats.dropped > 30
    assert stats.latency.percentile_ms(100) < 3 * 1000
