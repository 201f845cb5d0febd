"""Delivery of audio to subscribers: independent queues, the resampled sound, slow subscribers, interruptions, the end."""

import anyio
import numpy as np
import pytest

from sca.audio.pcm import INT16_MAX, pcm16_bytes
from sca.audio.resample import resample
from sca.infer.clock import simulate
from sca.infer.session.broadcast import STREAM_HZ, AudioBroadcast
from sca.units import SPOKEN_HZ

TONE = (0.5 * np.sin(np.arange(SPOKEN_HZ) * 0.05)).astype(np.float32)


def publish(broadcast, session_id, sound, size=2400):
    for at in range(0, len(sound), size):
        broadcast.publish(session_id, sound[at : at + size])


async def collect(subscription):
    return b"".join([block async for block in subscription.blocks(60)])


def test_every_subscriber_gets_the_resampled_sound():
    async def main():
        broadcast = AudioBroadcast()
        with broadcast.subscribe("a") as one, broadcast.subscribe() as other, broadcast.subscribe("b") as third:
            publish(broadcast, "a", TONE)
            broadcast.end_turn("a")
            broadcast.end_session("a")
            assert other.session_id is None
            broadcast.stop()
            return [await collect(subscription) for subscription in (one, other, third)]

    one, other, third = simulate(main)
    assert one == other == pcm16_bytes(resample(TONE, SPOKEN_HZ, STREAM_HZ), INT16_MAX)
    assert third == b""


def test_nothing_is_kept_without_subscribers():
    broadcast = AudioBroadcast()
    publish(broadcast, "a", TONE)
    assert broadcast.stats.published_samples == 0


@pytest.mark.parametrize("policy", ["drop", "close"])
def test_slow_subscriber_does_not_delay_others(policy):
    async def main():
        broadcast, fast = AudioBroadcast(500, policy), []
        with broadcast.subscribe("a") as slow, broadcast.subscribe("a") as other:

            async def read():
                fast.append(await collect(other))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read)
                for at in range(0, len(TONE), 2400):
                    broadcast.publish("a", TONE[at : at + 2400])
                    await anyio.sleep(0.1)
                broadcast.end_session("a")
            return broadcast.stats, slow, b"".join(fast), await collect(slow)

    stats, slow, fast, late = simulate(main)
    assert len(fast) == 4 * len(TONE)
    assert stats.dropped_samples == slow.dropped_samples > 0
    if policy == "close":
        assert (late, stats.closed_subscribers) == (b"", 1)
    else:
        assert fast.endswith(late)
        assert 0 < len(late) <= STREAM_HZ
        assert stats.closed_subscribers == 0


def test_interruption_discards_what_was_not_delivered():
    async def main():
        broadcast = AudioBroadcast()
        with broadcast.subscribe("a") as one, broadcast.subscribe("b") as other:
            publish(broadcast, "a", TONE)
            publish(broadcast, "b", TONE)
            broadcast.flush("a")
            publish(broadcast, "a", -TONE[:2400])
            for session_id in "ab":
                broadcast.end_session(session_id)
            return await collect(one), await collect(other)

    one, other = simulate(main)
    assert one == pcm16_bytes(resample(-TONE[:2400], SPOKEN_HZ, STREAM_HZ), INT16_MAX)
    assert len(other) == 4 * len(TONE)


def test_subscriber_follows_one_session_after_the_other():
    async def main():
        broadcast = AudioBroadcast()
        with broadcast.subscribe() as subscription:
            publish(broadcast, "a", TONE[:2400])
            publish(broadcast, "b", -TONE[:2400])  # another session at the same time is not mixed in
            broadcast.end_session("a")
            broadcast.publish("c", TONE[:2400])
            broadcast.end_session("c")
            assert not subscription.ended
            broadcast.stop()
            return await collect(subscription)

    part = pcm16_bytes(resample(TONE[:2400], SPOKEN_HZ, STREAM_HZ), INT16_MAX)
    assert simulate(main) == part + part


def test_idle_stream_yields_empty_blocks():
    async def main():
        with AudioBroadcast().subscribe() as subscription:
            blocks = subscription.blocks(0.5)
            return [await anext(blocks), await anext(blocks)], anyio.current_time()

    assert simulate(main) == ([b"", b""], 1.0)
