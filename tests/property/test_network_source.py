"""Sound from a network, however it is cut: handed over by the chunk, none of it lost; the sender waits when too much is held."""

import anyio
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sca.config import LiveConfig
from sca.infer.clock import LoopClock, simulate
from sca.infer.server.ws.stream_io import NetworkSource
from sca.units import Grid

CHUNK = 5120


async def handed_over(cuts, live):
    """(blocks, most samples held) when the sender sends as fast as it may and every chunk is stepped at once."""
    source = NetworkSource(LoopClock(), Grid(), live)
    sound = np.arange(sum(cuts), dtype=np.float32)
    blocks, held = [], [0.0]

    async def send():
        at = 0
        for cut in cuts:
            await source.put(sound[at : at + cut])
            held.append(source.buffered_ms)
            at += cut
        source.close()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send)
        async for block in source.blocks():
            blocks.append(block.samples)
            source.on_step(len(blocks) - 1, ())
            await anyio.sleep(0)
    return blocks, max(held)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 3 * CHUNK), min_size=1, max_size=40), st.sampled_from([100, 640, 5000]))
def test_sound_is_handed_over_by_the_chunk_however_it_is_cut(cuts, buffer_ms):
    blocks, most_ms = simulate(handed_over, cuts, LiveConfig(listen_buffer_ms=buffer_ms))
    assert {len(block) for block in blocks[:-1]} <= {CHUNK}
    assert 0 < len(blocks[-1]) <= CHUNK
    assert np.array_equal(np.concatenate(blocks), np.arange(sum(cuts)))
    assert most_ms <= max(2 * 320, buffer_ms)
