"""One live session: listen, think and speak at the same time, in one task group, over bounded streams.

    source → listen ─(heard)→ think: features, engine.step in the device's worker ─(said)→ speak → sink

Only moves frames; when things are heard and which turn is stale is decided by `sca.infer.session.pacing`. Knows no file, device or network.
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from sca.config import LiveConfig
from sca.errors import ScaError
from sca.infer.clock import TICKS_PER_HEARD_SAMPLE, Clock
from sca.infer.device_worker import DeviceWorker
from sca.infer.engine import Engine, SessionConfig
from sca.infer.frames import AudioOutput, ErrorFrame, Frame, Interrupt, Lag, ThoughtPacket, TurnEnd
from sca.infer.interfaces import AudioSink, AudioSource, SessionListener
from sca.infer.session.engine_runner import EngineRunner
from sca.infer.session.input_chunker import AudioChunk, InputChunker
from sca.infer.session.pacing import BacklogPolicy, SampleClock, SessionStats, TurnTracker
from sca.infer.session.step_batcher import StepBatcher

__all__ = ["LiveSession"]

_Said = tuple[AudioOutput | TurnEnd, int]  # and the tick at which the last sample was heard that it answers


class LiveSession:
    """A session from its first chunk to its last. All but `run` may be called at any time, from the event loop.

    batcher: steps it together with other sessions of its engine.
    stats: what it has counted so far.   turns: which turns are alive.
    """

    def __init__(
        self,
        engine: Engine,
        source: AudioSource,
        sink: AudioSink,
        *,
        clock: Clock,
        worker: DeviceWorker,
        config: SessionConfig | None = None,
        live: LiveConfig | None = None,
        listeners: Sequence[SessionListener] = (),
        batcher: StepBatcher | None = None,
    ) -> None:
        self._source, self._sink, self._clock, self._listeners = source, sink, clock, listeners
        self._config = SessionConfig() if config is None else config
        self._live = LiveConfig() if live is None else live
        self._chunk_s = float(self._config.grid.chunk_s)
        self.stats, self.turns, self._heard_clock = SessionStats(), TurnTracker(), SampleClock()
        self._listening = anyio.CancelScope()
        self._speaking: anyio.CancelScope | None = None
        self._interrupts = self._told = 0  # by the door: so far, and those that the engine knows
        self._backlog = BacklogPolicy(
            min(self._live.lag_chunks, self._chunks(self._live.listen_buffer_ms) - 1), self._live.lag_policy
        )
        late = partial(self._lag, 1, 0, "deadline")
        self._mind = EngineRunner(engine, worker, self._config, self._live, late, batcher)

    async def run(self) -> SessionStats:
        """Run until the source ends. Raises the first `ScaError` of any part; listeners get it as an `ErrorFrame` before."""
        try:
            async with self._mind:
                await self._converse()
                await self._sink.finish(self.stats.heard_samples)
        except (ScaError, BaseExceptionGroup) as raised:
            error = _ours(raised)
            if error is None:
                raise
            self._tell(ErrorFrame(self.turns.latest, self.stats.heard_samples, error.message))
            raise error from error.__cause__
        return self.stats

    def interrupt(self) -> None:
        """The door cuts the answer off: what is said falls silent now, and the engine is told before its next step."""
        self._interrupts += 1
        self._cut(Interrupt(self.turns.latest, self.stats.heard_samples, "door"))

    def stop(self) -> None:
        """End the session as if the source had ended."""
        self._listening.cancel()

    async def _converse(self) -> None:
        # Both in ms of sound. heard: when full, the source waits or its oldest chunk goes (`AudioSource.can_wait`). said: the engine waits.
        heard_in, heard = anyio.create_memory_object_stream[AudioChunk](self._chunks(self._live.listen_buffer_ms))
        said_in, said = anyio.create_memory_object_stream[_Said](self._chunks(self._live.speak_buffer_ms))
        async with heard_in, heard, said_in, said, anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen, heard_in, heard, name="listen")
            tasks.start_soon(self._think, heard, said_in, name="think")
            tasks.start_soon(self._speak, said, name="speak")

    def _chunks(self, ms: int) -> int:
        return max(1, round(ms / 1000 / self._chunk_s))

    # Listening

    async def _listen(
        self, heard_in: MemoryObjectSendStream[AudioChunk], heard: MemoryObjectReceiveStream[AudioChunk]
    ) -> None:
        ear = InputChunker(self._config.grid.heard_samples, self.stats, self._heard_clock)
        async with heard_in:
            with self._listening:
                async for block in self._source.blocks():
                    for chunk in ear.push(block):
                        await self._offer(chunk, heard_in, heard)
            last = ear.flush()
            if last is not None:
                await self._offer(last, heard_in, heard)

    async def _offer(
        self,
        chunk: AudioChunk,
        heard_in: MemoryObjectSendStream[AudioChunk],
        heard: MemoryObjectReceiveStream[AudioChunk],
    ) -> None:
        for listener in self._listeners:
            listener.on_input(chunk.samples[: chunk.valid_samples], chunk.index)
        if self._source.can_wait:
            await heard_in.send(chunk)
            return
        try:
            heard_in.send_nowait(chunk)
        except anyio.WouldBlock:
            heard.receive_nowait()
            self.stats.dropped += 1
            heard_in.send_nowait(chunk)

    # Thinking

    async def _think(
        self, heard: MemoryObjectReceiveStream[AudioChunk], said_in: MemoryObjectSendStream[_Said]
    ) -> None:
        chunk_ticks = self._config.grid.heard_samples * TICKS_PER_HEARD_SAMPLE
        async with said_in:
            async for waiting in heard:
                chunk = self._catch_up(waiting, heard)
                interrupts = self._interrupts
                frames, ticks = await self._mind.step(chunk, self._news())
                for listener in self._listeners:
                    listener.on_step(chunk.index, frames)
                for frame in frames:
                    await self._pass_on(frame, chunk, said_in, cut_off=interrupts != self._interrupts)
                passed = self._clock.now() - chunk.end_tick
                self.stats.stepped += 1
                self.stats.late += passed > chunk_ticks
                self.stats.step.add(ticks)
                self.stats.overhead.add(passed - ticks)

    def _catch_up(self, chunk: AudioChunk, heard: MemoryObjectReceiveStream[AudioChunk]) -> AudioChunk:
        """The chunk to step next: this one, or the newest there is when the session is behind and skips."""
        waiting = heard.statistics().current_buffer_used
        drop, lag = self._backlog.decide(waiting)
        for _ in range(drop):
            chunk = heard.receive_nowait()
        self.stats.dropped += drop
        if lag:
            self._lag(waiting + 1, drop, "backlog")
        return chunk

    def _news(self) -> int | None:
        """The turn id the engine goes on with when the door has cut it off since its last step."""
        if self._told == self._interrupts:
            return None
        self._told = self._interrupts
        self.turns.interrupt(self.turns.latest)
        return self.turns.alive_from

    async def _pass_on(
        self, frame: Frame, chunk: AudioChunk, said_in: MemoryObjectSendStream[_Said], *, cut_off: bool
    ) -> None:
        match frame:
            case AudioOutput():
                if frame.format_error is not None:
                    raise ScaError(
                        f"the engine {self._mind.name} answers chunk {chunk.index} with {frame.format_error}"
                    )
                if self.turns.observe(frame.turn_id) and not cut_off:
                    await said_in.send((frame, chunk.end_tick))
                else:
                    self.stats.stale += 1
            case TurnEnd():
                if self.turns.observe(frame.turn_id) and not cut_off:
                    await said_in.send((frame, chunk.end_tick))
            case Interrupt():
                self._cut(frame)
            case ThoughtPacket():
                for listener in self._listeners:
                    listener.on_packet(frame)
            case ErrorFrame(fatal=True):
                raise ScaError(frame.message)
            case _:
                self._tell(frame)

    # Speaking

    async def _speak(self, said: MemoryObjectReceiveStream[_Said]) -> None:
        async for frame, heard_tick in said:
            if frame.turn_id < self.turns.alive_from:
                self.stats.stale += isinstance(frame, AudioOutput)
            elif isinstance(frame, TurnEnd):
                self._tell(frame)
            else:
                await self._say(frame, heard_tick)

    async def _say(self, frame: AudioOutput, heard_tick: int) -> None:
        start: int | None = None
        with anyio.CancelScope() as self._speaking:
            start = await self._sink.play(frame)
        self._speaking = None
        if start is None:
            self.stats.stale += 1
            return
        self.stats.chunks_out += 1
        self.stats.said_samples += frame.num_samples
        self.stats.latency.add(self._clock.now() - heard_tick)
        for listener in self._listeners:
            listener.on_output(frame, self._heard_clock.spoken_at(start))

    def _cut(self, frame: Interrupt) -> None:
        self.stats.interruptions += 1
        self.turns.interrupt(frame.turn_id)
        if self._speaking is not None:
            self._speaking.cancel()
        self._sink.flush()
        at = self._heard_clock.spoken_at(self._clock.now())
        for listener in self._listeners:
            listener.on_flush(at)
        self._tell(frame)

    def _lag(self, behind: int, dropped: int, reason: Literal["backlog", "deadline"]) -> None:
        self.stats.lags += 1
        self._tell(Lag(self.turns.latest, self.stats.heard_samples, behind, dropped, reason))

    def _tell(self, frame: TurnEnd | Interrupt | Lag | ErrorFrame) -> None:
        for listener in self._listeners:
            listener.on_control(frame)


def _ours(raised: BaseException) -> ScaError | None:
    """The first of our errors, when there is nothing else in the group."""
    if isinstance(raised, ScaError):
        return raised
    if not isinstance(raised, BaseExceptionGroup) or raised.split(ScaError)[1] is not None:
        return None
    return _ours(raised.exceptions[0])
