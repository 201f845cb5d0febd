"""One live session: input, engine and output run concurrently in one task group, connected by bounded streams.

    source → _read_input ─(chunks)→ _run_engine: features and engine step in the device worker ─(output)→ _write_output
    → sink

The loop only moves frames. `sca.infer.session.pacing` decides when audio is played and which turns are stale.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Literal

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from sca.config import LiveConfig
from sca.errors import ScaError
from sca.infer.clock import TICKS_PER_HEARD_SAMPLE, Clock, LoopClock
from sca.infer.device_worker import DeviceWorker, ThreadWorker
from sca.infer.engine import Engine, SessionConfig
from sca.infer.frames import (
    AudioOutput,
    ControlFrame,
    ErrorFrame,
    Frame,
    Interrupt,
    Lag,
    ThoughtPacket,
    TurnEnd,
    UserText,
    WrittenEnd,
    WrittenText,
)
from sca.infer.interfaces import AudioSink, AudioSource, SessionListener
from sca.infer.notifier import Notifier
from sca.infer.session.engine_runner import EngineRunner
from sca.infer.session.input_chunker import AudioChunk, InputChunker
from sca.infer.session.pacing import BacklogPolicy, SampleClock, TurnTracker
from sca.infer.session.played import PlayedTurn, PlayoutLog
from sca.infer.session.stats import SessionStats
from sca.infer.session.step_batcher import StepBatcher

__all__ = ["LiveSession"]

Output = tuple[AudioOutput | TurnEnd, int]
"""A frame, and the end tick of the input chunk that it answers."""


class LiveSession:
    """A full-duplex session between an audio source, an engine and an audio sink.

    Create it inside a running event loop, then await `run`. All other methods may be called at any time on the event
    loop. `sca.run_engine` is a shortcut for audio in memory.

    Args:
        engine: The engine.
        source: The input.
        sink: The output.
        clock: The session clock, shared with source and sink; None creates a `LoopClock`.
        worker: The worker of the engine's device; None creates a thread for this session.
        config: Session id, grid and prompt.
        live: Buffer sizes, deadlines and the lag policy.
        listeners: Receive the events of the session.
        batcher: Steps the session together with other sessions of the engine.

    Attributes:
        stats: The counters so far.
        turns: Which turns are alive.

    Example:
        A session over an array, in simulated time:

        ```python
        import numpy as np

        import sca
        from sca.infer.clock import LoopClock, simulate
        from sca.infer.device_worker import InlineWorker
        from sca.infer.runners.array import ArraySink, ArraySource

        engine = sca.load_engine("parrot")
        samples = np.zeros(32_000, np.float32)  # 2 s at 16 kHz


        async def main() -> np.ndarray:
            clock = LoopClock()
            source, sink = ArraySource(samples, clock), ArraySink(clock)
            session = sca.LiveSession(engine, source, sink, clock=clock, worker=InlineWorker())
            stats = await session.run()
            assert stats.stepped == 7  # chunks of 0.32 s
            return sink.samples


        assert simulate(main).shape == (48_000,)  # 2 s at 24 kHz
        ```
    """

    def __init__(
        self,
        engine: Engine,
        source: AudioSource,
        sink: AudioSink,
        *,
        clock: Clock | None = None,
        worker: DeviceWorker | None = None,
        config: SessionConfig | None = None,
        live: LiveConfig | None = None,
        listeners: Sequence[SessionListener] = (),
        batcher: StepBatcher | None = None,
    ) -> None:
        self._source, self._sink, self._listeners = source, sink, listeners
        self._clock = LoopClock() if clock is None else clock
        self._config = SessionConfig() if config is None else config
        self._live = LiveConfig() if live is None else live
        self._resources = ExitStack()
        if worker is None:
            worker = ThreadWorker(engine.info.device)
            self._resources.callback(worker.close)
        self._chunk_s = float(self._config.grid.chunk_s)
        self.stats, self.turns, self._sample_clock = SessionStats(), TurnTracker(), SampleClock()
        self._input_scope = anyio.CancelScope()
        self._play_scope: anyio.CancelScope | None = None
        self._interrupts = 0  # requested by the client
        self._acknowledged_interrupts = 0  # of these, the ones that the engine has received
        self._playout_log = PlayoutLog()
        self._cut_turns: list[PlayedTurn] = []  # since the last step
        self._unplayed = 0  # frames of audio that the engine has returned and that are not handed to the sink
        self._all_played = Notifier()
        self._chunk_ticks = self._config.grid.heard_samples * TICKS_PER_HEARD_SAMPLE
        most = min(self._live.lag_chunks, self._chunks(self._live.listen_buffer_ms) - 1)
        self._backlog = BacklogPolicy(most, self._live.lag_policy, self._chunk_ticks)
        on_deadline_missed = partial(self._report_lag, 1, 0, "deadline")
        self._runner = EngineRunner(engine, worker, self._config, self._live, on_deadline_missed, batcher)

    async def run(self) -> SessionStats:
        """Run until the source ends or `stop` is called.

        Returns:
            The counters of the session.

        Raises:
            ScaError: The first error of the source, the engine or the sink. Listeners receive it as an `ErrorFrame`
                before.
        """
        with self._resources:
            try:
                async with self._runner:
                    await self._run_tasks()
                    await self._sink.finish(self.stats.heard_samples)
            except (ScaError, BaseExceptionGroup) as raised:
                error = _first_sca_error(raised)
                if error is None:
                    raise
                self._notify(ErrorFrame(self.turns.latest, self.stats.heard_samples, error.message))
                raise error from error.__cause__
        return self.stats

    def interrupt(self, by: Literal["listener", "door"] = "door") -> None:
        """Interrupt the current answer: the output stops now, and the engine is interrupted before its next step.

        Args:
            by: See `Interrupt`.
        """
        self._interrupts += 1
        self._flush_output(Interrupt(self.turns.latest, self.stats.heard_samples, by))

    def set_played(self, turn_id: int, samples: int) -> None:
        """Report to the engine how much of a turn was played, if the client knows it better than the sink.

        Args:
            turn_id: The turn.
            samples: Samples at 24 kHz since its start.
        """
        self._cut_turns.append(PlayedTurn(turn_id, samples))

    async def wait_until_played(self) -> None:
        """Wait until the sink has all audio of the steps so far."""
        while self._unplayed:
            await self._all_played.wait()

    def stop(self) -> None:
        """End the session as if the source had ended."""
        self._input_scope.cancel()

    async def _run_tasks(self) -> None:
        # Buffer sizes are ms of audio. A full chunk buffer makes the source wait or drops its oldest chunk
        # (`AudioSource.can_wait`); a full output buffer makes the engine wait.
        chunks_in, chunks = anyio.create_memory_object_stream[AudioChunk](self._chunks(self._live.listen_buffer_ms))
        output_in, output = anyio.create_memory_object_stream[Output](self._chunks(self._live.speak_buffer_ms))
        async with chunks_in, chunks, output_in, output, anyio.create_task_group() as tasks:
            tasks.start_soon(self._read_input, chunks_in, chunks, name="input")
            tasks.start_soon(self._run_engine, chunks, output_in, name="engine")
            tasks.start_soon(self._write_output, output, name="output")

    def _chunks(self, ms: int) -> int:
        return max(1, round(ms / 1000 / self._chunk_s))

    # Input

    async def _read_input(
        self, chunks_in: MemoryObjectSendStream[AudioChunk], chunks: MemoryObjectReceiveStream[AudioChunk]
    ) -> None:
        chunker = InputChunker(self._config.grid.heard_samples, self.stats, self._sample_clock)
        async with chunks_in:
            with self._input_scope:
                async for block in self._source.blocks():
                    for chunk in chunker.push(block):
                        await self._enqueue(chunk, chunks_in, chunks)
            last = chunker.flush()
            if last is not None:
                await self._enqueue(last, chunks_in, chunks)

    async def _enqueue(
        self,
        chunk: AudioChunk,
        chunks_in: MemoryObjectSendStream[AudioChunk],
        chunks: MemoryObjectReceiveStream[AudioChunk],
    ) -> None:
        for listener in self._listeners:
            listener.on_input(chunk.samples[: chunk.valid_samples], chunk.index)
        if self._source.can_wait:
            await chunks_in.send(chunk)
            return
        try:
            chunks_in.send_nowait(chunk)
        except anyio.WouldBlock:
            chunks.receive_nowait()
            self.stats.dropped += 1
            chunks_in.send_nowait(chunk)

    # Engine

    async def _run_engine(
        self, chunks: MemoryObjectReceiveStream[AudioChunk], output_in: MemoryObjectSendStream[Output]
    ) -> None:
        async with output_in:
            async for oldest in chunks:
                began = self._clock.now()
                chunk = self._skip_backlog(oldest, chunks)
                interrupts = self._interrupts
                interrupt, played = self._take_interrupt(), tuple(self._cut_turns)
                self._cut_turns.clear()
                frames, ticks = await self._runner.step(chunk, interrupt, played)
                for listener in self._listeners:
                    listener.on_step(chunk.index, frames)
                for frame in frames:
                    await self._dispatch(frame, chunk, output_in, interrupted=interrupts != self._interrupts)
                self._backlog.add_step(self._clock.now() - began)
                elapsed = self._clock.now() - chunk.end_tick
                self.stats.stepped += 1
                self.stats.late += elapsed > self._chunk_ticks
                self.stats.step.add(ticks)
                self.stats.overhead.add(elapsed - ticks)

    def _skip_backlog(self, chunk: AudioChunk, chunks: MemoryObjectReceiveStream[AudioChunk]) -> AudioChunk:
        """Return the chunk to step next: this one, or the newest one if the backlog policy drops the older ones."""
        waiting = chunks.statistics().current_buffer_used
        drop, lag = self._backlog.decide(waiting)
        signals = chunk.signals
        for _ in range(drop):
            chunk = chunks.receive_nowait()
            signals += chunk.signals
        if len(signals) > len(chunk.signals):  # what was decided in dropped chunks still holds
            chunk = replace(chunk, signals=signals)
        self.stats.dropped += drop
        if lag:
            self._report_lag(waiting + 1, drop, "backlog")
        return chunk

    def _take_interrupt(self) -> int | None:
        """Return the turn id with which the engine continues if the client has interrupted since the last step, else None."""
        if self._acknowledged_interrupts == self._interrupts:
            return None
        self._acknowledged_interrupts = self._interrupts
        self.turns.interrupt(self.turns.latest)
        return self.turns.alive_from

    async def _dispatch(
        self, frame: Frame, chunk: AudioChunk, output_in: MemoryObjectSendStream[Output], *, interrupted: bool
    ) -> None:
        match frame:
            case AudioOutput():
                if frame.format_error is not None:
                    raise ScaError(
                        f"the engine {self._runner.name} answers chunk {chunk.index} with {frame.format_error}"
                    )
                self.stats.said_non_finite += frame.non_finite
                if self.turns.observe(frame.turn_id) and not interrupted:
                    await self._queue_output(frame, chunk, output_in)
                else:
                    self.stats.stale += 1
            case TurnEnd():
                if self.turns.observe(frame.turn_id) and not interrupted:
                    await self._queue_output(frame, chunk, output_in)
            case Interrupt():
                self._flush_output(frame)
            case ThoughtPacket():
                for listener in self._listeners:
                    listener.on_packet(frame)
            case UserText():
                for listener in self._listeners:
                    listener.on_user_text(frame)
            case WrittenText() | WrittenEnd():
                for listener in self._listeners:
                    listener.on_written(frame)
            case ErrorFrame(fatal=True):
                raise ScaError(frame.message)
            case _:
                self._notify(frame)

    async def _queue_output(
        self, frame: AudioOutput | TurnEnd, chunk: AudioChunk, output_in: MemoryObjectSendStream[Output]
    ) -> None:
        self._unplayed += 1
        await output_in.send((frame, chunk.end_tick))

    # Output

    async def _write_output(self, output: MemoryObjectReceiveStream[Output]) -> None:
        async for frame, input_tick in output:
            if frame.turn_id < self.turns.alive_from:
                self.stats.stale += isinstance(frame, AudioOutput)
            elif isinstance(frame, TurnEnd):
                self._notify(frame)
            else:
                await self._play(frame, input_tick)
            self._unplayed -= 1
            if not self._unplayed:
                self._all_played.notify_all()

    async def _play(self, frame: AudioOutput, input_tick: int) -> None:
        start: int | None = None
        with anyio.CancelScope() as self._play_scope:
            start = await self._sink.play(frame)
        self._play_scope = None
        if start is None:  # cancelled by an interrupt
            self.stats.stale += 1
            return
        self._playout_log.add(frame.turn_id, start, frame.num_samples)
        self.stats.chunks_out += 1
        self.stats.said_samples += frame.num_samples
        self.stats.latency.add(self._clock.now() - input_tick)
        for listener in self._listeners:
            listener.on_output(frame, self._sample_clock.spoken_at(start))

    def _flush_output(self, frame: Interrupt) -> None:
        self.stats.interruptions += 1
        self.turns.interrupt(frame.turn_id)
        if self._play_scope is not None:
            self._play_scope.cancel()
        self._sink.flush()
        now = self._clock.now()
        self._cut_turns.append(self._playout_log.cut(frame.turn_id, now))
        at = self._sample_clock.spoken_at(now)
        for listener in self._listeners:
            listener.on_flush(at)
        self._notify(frame)

    def _report_lag(self, behind: int, dropped: int, reason: Literal["backlog", "deadline"]) -> None:
        self.stats.lags += 1
        self._notify(Lag(self.turns.latest, self.stats.heard_samples, behind, dropped, reason))

    def _notify(self, frame: ControlFrame) -> None:
        for listener in self._listeners:
            listener.on_control(frame)


def _first_sca_error(raised: BaseException) -> ScaError | None:
    """Return the first `ScaError` of an exception group that contains nothing else."""
    if isinstance(raised, ScaError):
        return raised
    if not isinstance(raised, BaseExceptionGroup) or raised.split(ScaError)[1] is not None:
        return None
    return _first_sca_error(raised.exceptions[0])
