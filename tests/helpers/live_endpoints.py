"""Endpoints for tests of the live loop: a source that reads an array, a sink that fills a list, a listener that keeps a log."""

import numpy as np

from sca.infer.clock import LoopClock, simulate
from sca.infer.device_worker import InlineWorker
from sca.infer.engine import SessionConfig
from sca.infer.frames import ErrorFrame
from sca.infer.interfaces import AudioBlock, BaseListener
from sca.infer.session.loop import LiveSession
from sca.infer.session.pacing import Playout
from sca.units import Grid

CHUNK = 5120
CHUNK_TICKS = CHUNK * 3


class ArraySource:
    """Yields `samples` in blocks of the given sizes, repeatedly, each at the time of its last sample."""

    def __init__(self, samples, clock, sizes=(CHUNK,), *, can_wait=True):
        self.samples, self.clock, self.sizes, self.can_wait = samples, clock, sizes, can_wait

    async def blocks(self):
        at = i = 0
        while at < len(self.samples):
            block = self.samples[at : at + self.sizes[i % len(self.sizes)]]
            at, i = at + len(block), i + 1
            await self.clock.sleep_until(at * 3)
            yield AudioBlock(block, at * 3)


class ListSink:
    """Appends (tick of the first sample, frame) to `played`, and the ticks of flushes to `flushed`."""

    def __init__(self, clock, ahead_ms=960):
        self.clock, self.ahead = clock, ahead_ms * 48
        self.playout = Playout(0, 0)
        self.played, self.flushed, self.heard_samples = [], [], None

    async def play(self, frame):
        now = self.clock.now()
        await self.clock.sleep_until(now + self.playout.ahead(now) - self.ahead)
        start = self.playout.push(frame.num_samples * 2, frame.turn_id, self.clock.now())
        self.played.append((start, frame))
        return start

    def flush(self):
        self.flushed.append(self.playout.cut(self.clock.now()))

    async def finish(self, heard_samples):
        self.heard_samples = heard_samples


class Log(BaseListener):
    """Keeps all events."""

    def __init__(self):
        self.blocks, self.frames, self.positions, self.cuts = [], [], [], []

    def on_input(self, samples, chunk_index):
        self.blocks.append((chunk_index, samples))

    def on_output(self, frame, sample):
        self.positions.append((sample, frame.chunk_index))

    def on_flush(self, sample):
        self.cuts.append(sample)

    def on_packet(self, packet):
        self.frames.append(packet)

    def on_control(self, frame):
        self.frames.append(frame)

    def of(self, kind):
        return [f for f in self.frames if isinstance(f, kind)]


class Run:
    """One simulated session and its results. `during(session, clock)` runs concurrently."""

    def __init__(
        self,
        engine,
        samples,
        live,
        *,
        sizes=(CHUNK,),
        can_wait=True,
        during=None,
        sink=ListSink,
        worker=None,
        pace="realtime",
    ):
        self.log, self.error = Log(), None
        self._pace = pace
        self._args = engine, samples, live, sizes, can_wait, during, sink, worker
        simulate(self._main)

    async def _main(self):
        import anyio

        engine, samples, live, sizes, can_wait, during, sink, worker = self._args
        clock = LoopClock()
        self.sink = sink(clock)
        self.session = LiveSession(
            engine,
            ArraySource(np.asarray(samples, np.float32), clock, sizes, can_wait=can_wait),
            self.sink,
            clock=clock,
            worker=worker or InlineWorker(live.step_cost_ms),
            config=SessionConfig(grid=Grid(), pace=self._pace),
            live=live,
            listeners=[self.log],
        )
        async with anyio.create_task_group() as tasks:
            if during is not None:
                tasks.start_soon(during, self.session, clock)
            try:
                self.stats = await self.session.run()
            except Exception as error:
                self.error = error
                self.stats = self.session.stats
            self.ended = clock.now()
            assert [f.message for f in self.log.of(ErrorFrame)] == ([] if self.error is None else [str(self.error)])
            tasks.cancel_scope.cancel()
