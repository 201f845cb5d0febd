"""`NetworkSource` delivers whole chunks of any input without loss, and the sender waits while too much is buffered."""

import anyio
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sca.config import LiveConfig
from sca.infer.clock import LoopClock, simulate
from sca.infer.server.ws.stream_io import NetworkSource
from sca.units import Grid

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
