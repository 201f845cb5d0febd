"""`NetworkSource` delivers whole chunks of any input without loss, and the sender waits while too much is buffered."""

import anyio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sca.config import LiveConfig
from sca.infer.clock import LoopClock, simulate
from sca.infer.server.protocols.pcm16 import Pcm16Connection
from sca.infer.server.ws.resume import ResumeTokens
from sca.infer.server.ws.stream_io import NetworkSource
from sca.units import Grid
from tests.helpers.realtime_lockstep import append_event, hold

CHUNK = 5120


async def deliver(cuts, live):
    """Send as fast as possible, step every chunk at once, and return (blocks, maximum buffered ms)."""
    source = NetworkSource(LoopClock(), Grid(), live)
    audio = np.arange(sum(cuts), dtype=np.float32)
    blocks, buffered_ms = [], [0.0]

    async def send():
        at = 0
        for cut in cuts:
            await source.put(audio[at : at + cut])
            buffered_ms.append(source.buffered_ms)
            at += cut
        source.close()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        async for block in source.blocks():
            blocks.append(block.samples)
            source.on_step(len(blocks) - 1, ())
            await anyio.sleep(0)
    return blocks, max(buffered_ms)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 3 * CHUNK), min_size=1, max_size=40), st.sampled_from([100, 640, 5000]))
def test_delivers_whole_chunks_of_any_input(cuts, buffer_ms):
    blocks, max_ms = simulate(deliver, cuts, LiveConfig(listen_buffer_ms=buffer_ms))
    assert {len(block) for block in blocks[:-1]} <= {CHUNK}
    assert 0 < len(blocks[-1]) <= CHUNK
    assert np.array_equal(np.concatenate(blocks), np.arange(sum(cuts)))
    assert max_ms <= max(2 * 320, buffer_ms)


def stalled(stall_s, encode, rate_hz):
    """Yield the messages of 10 s in pieces of 20 ms in real time; at 3 s nothing comes for a time, and then all of it."""
    size = rate_hz // 50
    for i in range(1, 501):
        due_s = i / 50
        yield 3 + stall_s if 3 <= due_s < 3 + stall_s else due_s, encode(bytes(2 * size))


def pcm16(context, websocket, slot):
    return Pcm16Connection(context, websocket, slot, ResumeTokens(), b"")


@pytest.mark.parametrize("stall_s", [0.9, 3.0])
def test_a_burst_after_a_stall_is_stepped_whole(stall_s):
    sent = hold(stalled(stall_s, bytes, 16_000), connect=pcm16, step_ms=40.0, tail_s=1.0)
    replies = [message for _, message in sent if isinstance(message, dict)]
    assert [reply["chunk_index"] for reply in replies if "chunk_index" in reply] == list(range(31))
    assert not [reply for reply in replies if reply.get("type") == "lag" and reply["dropped_chunks"]]


def test_what_cannot_be_stepped_in_time_is_dropped_and_announced():
    sent = hold(stalled(3.0, bytes, 16_000), connect=pcm16, step_ms=300.0, tail_s=1.0)
    replies = [message for _, message in sent if isinstance(message, dict)]
    stepped = len([reply for reply in replies if "chunk_index" in reply])
    assert sum(reply["dropped_chunks"] for reply in replies if reply.get("type") == "lag") == 31 - stepped > 0
    sent = hold(stalled(3.0, append_event, 24_000), step_ms=500.0, tail_s=1.0)
    warnings = [event["warning"] for _, event in sent if event["type"] == "sca.warning"]
    assert {warning["code"] for warning in warnings} == {"input_audio_dropped"}
    assert "ms of the input audio were dropped" in warnings[0]["message"]
