"""The audio source and sink of a session over a network, each bounded in ms of audio.

A connection puts received audio into a `NetworkSource` and sends what it takes out of a `SendQueue`. Both make the
faster side wait.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.config import LiveConfig
from sca.infer.clock import TICKS_PER_HEARD_SAMPLE, TICKS_PER_MS, TICKS_PER_SPOKEN_SAMPLE, Clock
from sca.infer.frames import AudioOutput, Frame, Signal
from sca.infer.interfaces import AudioBlock, BaseListener
from sca.infer.notifier import Notifier
from sca.infer.server.ws.send_queue import Message, SendQueue
from sca.infer.session.pacing import Playout
from sca.units import HEARD_HZ, Grid

__all__ = ["NetworkSink", "NetworkSource"]


class NetworkSource(BaseListener):
    """An `AudioSource` that is fed with `put`. It is also a listener of its session.

    Audio is delivered in whole chunks, because a session can use nothing less. Audio that is ahead of real time is
    delivered as fast as the engine steps, so that none of it is dropped for lag; audio that is on time is delivered at
    once. At most `live.listen_buffer_ms` are buffered; then `put` waits.
    """

    can_wait = True

    def __init__(self, clock: Clock, grid: Grid, live: LiveConfig) -> None:
        self._clock = clock
        self._chunk = grid.heard_samples
        # At least a whole chunk and a part of the next one.
        self._max_samples = max(2 * self._chunk, live.listen_buffer_ms * HEARD_HZ // 1000)
        self._pieces: deque[NDArray[np.float32]] = deque()
        self._buffered = 0
        self._delivered = 0
        self._origin_tick: int | None = None
        self._full_since_tick: int | None = None
        self._last_step = -1
        self._signals: dict[int, list[Signal]] = {}  # by the chunk with which they are delivered
        self._added: dict[int, int] = {}  # samples of added silence, by chunk
        self._closed = False
        self._chunk_ready, self._room_freed, self._step_done = Notifier(), Notifier(), Notifier()

    @property
    def buffered_ms(self) -> float:
        """The audio that has not been delivered, in ms."""
        return self._buffered * 1000 / HEARD_HZ

    @property
    def early(self) -> bool:
        """Whether the audio arrives faster than real time by more than jitter: a file, or a client that catches up."""
        return 2 * self._buffered > self._max_samples or self._is_ahead(self._max_samples)

    @property
    def missing_samples(self) -> int:
        """How many samples complete the next chunk. Calling `put` with fewer has no effect on the session."""
        return self._chunk - (self._delivered + self._buffered) % self._chunk

    @property
    def chunks(self) -> int:
        """How many whole chunks have been put."""
        return (self._delivered + self._buffered) // self._chunk

    @property
    def all_stepped(self) -> bool:
        """Whether the engine has stepped all whole chunks that have been put."""
        return self._last_step >= self.chunks - 1

    async def wait_for_step(self) -> None:
        """Wait for the next step of the engine."""
        await self._step_done.wait()

    def signal(self, *signals: Signal) -> None:
        """Deliver signals with the chunk that the next sample belongs to."""
        self._signals.setdefault(self.chunks, []).extend(signals)

    @property
    def has_signals(self) -> bool:
        """Whether signals wait for their chunk."""
        return any(self._signals.values())

    def withdraw(self, kind: str) -> None:
        """Remove the signals of a kind that have not been delivered."""
        for signals in self._signals.values():
            signals[:] = [signal for signal in signals if signal.kind != kind]

    async def put_silence(self) -> None:
        """Fill the current chunk with silence, which is not sound of the user; or add a chunk of silence."""
        chunk, missing = self.chunks, self.missing_samples
        self._added[chunk] = missing
        await self.put(np.zeros(missing, np.float32))

    def resume(self) -> None:
        """Note that the client reconnected. The audio that it recorded meanwhile counts as ahead of time, not as late."""
        if self._origin_tick is not None:
            self._origin_tick = self._now() - self._delivered * TICKS_PER_HEARD_SAMPLE

    async def put(self, samples: NDArray[np.float32]) -> None:
        """Add audio; wait while the buffer is full. After `close` it is discarded.

        Args:
            samples: Float32 `(n,)` at 16 kHz, of any length.
        """
        if self._origin_tick is None:
            self._origin_tick = self._clock.now()
        for start in range(0, len(samples), self._chunk):
            piece = samples[start : start + self._chunk]
            while self._buffered + len(piece) > self._max_samples and not self._closed:
                self._full_since_tick = self._now()
                await self._room_freed.wait()
            if self._closed:
                return
            if self._full_since_tick is not None:
                # The client had to wait for us, which does not make its audio late.
                self._origin_tick += self._clock.now() - self._full_since_tick
                self._full_since_tick = None
            self._pieces.append(piece)
            was_complete = self._chunk_complete
            self._buffered += len(piece)
            if self._chunk_complete != was_complete:
                self._chunk_ready.notify_all()

    @property
    def _chunk_complete(self) -> bool:
        """Whether the rest of the chunk that the session needs next is buffered."""
        return self._buffered >= self._chunk - self._delivered % self._chunk

    def _take(self) -> NDArray[np.float32]:
        """Remove the rest of the chunk that the session needs next, or as much of it as is buffered."""
        pieces, size = [], 0
        wanted = self._chunk - self._delivered % self._chunk
        while self._pieces and size < wanted:
            piece = self._pieces.popleft()
            if size + len(piece) > wanted:
                self._pieces.appendleft(piece[wanted - size :])
                piece = piece[: wanted - size]
            pieces.append(piece)
            size += len(piece)
        self._buffered -= size
        self._delivered += size
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def close(self) -> None:
        """Accept no more audio. Buffered audio is still delivered."""
        self._closed = True
        self._notify_all()

    def clear(self) -> None:
        """Discard the buffered audio."""
        self._pieces.clear()
        self._buffered = 0
        self._notify_all()

    async def blocks(self) -> AsyncIterator[AudioBlock]:
        """Yield chunks until the source is closed and empty. Implements `AudioSource`."""
        while True:
            while not self._chunk_complete and not self._closed:
                await self._chunk_ready.wait()
            if not self._pieces:
                return
            await self._wait_until_due()
            if not self._pieces:  # cleared while waiting
                continue
            index = self._delivered // self._chunk
            chunk = self._take()
            self._room_freed.notify_all()
            signals = tuple(self._signals.pop(index, ()))
            yield AudioBlock(chunk, self._clock.now(), self._added.pop(index, 0), signals)

    async def _wait_until_due(self) -> None:
        # One chunk of slack for jitter. Audio further ahead waits for the step of the chunk before it.
        while self._is_ahead(self._chunk) and self._last_step < self._delivered // self._chunk - 1:
            await self._step_done.wait()

    def _is_ahead(self, samples: int) -> bool:
        """Return whether the next audio is due more than `samples` from now, in real time since the first."""
        if self._origin_tick is None:
            return False
        return self._origin_tick + (self._delivered - samples) * TICKS_PER_HEARD_SAMPLE > self._now()

    def _now(self) -> int:
        """Return the current tick. It does not advance while the buffer is full."""
        return self._clock.now() if self._full_since_tick is None else self._full_since_tick

    @override
    def on_step(self, chunk_index: int, frames: Sequence[Frame]) -> None:
        self._last_step = chunk_index
        self._step_done.notify_all()

    def _notify_all(self) -> None:
        for notifier in (self._chunk_ready, self._room_freed, self._step_done):
            notifier.notify_all()


class NetworkSink:
    """An `AudioSink` that puts audio into a `SendQueue`.

    Audio is sent as soon as the engine produces it. The client plays it; the estimate of when assumes a network without
    delay.
    """

    def __init__(
        self,
        queue: SendQueue,
        clock: Clock,
        live: LiveConfig,
        encode: Callable[[AudioOutput], Sequence[Message]],
        *,
        on_flush: Callable[[], object] = lambda: None,
        may_drop: Callable[[], bool] = lambda: False,
        on_dropped: Callable[[float], object] = lambda ms: None,
    ) -> None:
        """Create a sink.

        Args:
            queue: The queue of the connection.
            clock: The clock of the session.
            live: The settings of the live loop.
            encode: Returns the messages of a frame.
            on_flush: Called when the client should stop playing what it has received.
            may_drop: Returns whether the oldest unsent audio is dropped when the client reads too slowly. If not, the
                session waits.
            on_dropped: Called with the dropped audio in ms.
        """
        self._queue, self._clock, self._encode = queue, clock, encode
        self._on_flush, self._may_drop, self._on_dropped = on_flush, may_drop, on_dropped
        self._playout = Playout(live.playout_delay_ms * TICKS_PER_MS, live.playout_delay_max_ms * TICKS_PER_MS)

    async def play(self, frame: AudioOutput) -> int:
        """Queue a frame and return the tick at which the client plays it. Implements `AudioSink`."""
        ticks = frame.num_samples * TICKS_PER_SPOKEN_SAMPLE
        ms = ticks / TICKS_PER_MS
        if self._may_drop():
            dropped_ms = self._queue.drop_oldest(ms)
            if dropped_ms:
                self._on_dropped(dropped_ms)
        await self._queue.wait_for_room(ms)
        self._queue.put(*self._encode(frame), ms=ms)
        return self._playout.push(ticks, frame.turn_id, self._clock.now())

    def flush(self) -> None:
        """Discard unsent audio. Implements `AudioSink`."""
        self._queue.discard_audio()
        self._playout.cut(self._clock.now())
        self._on_flush()

    async def finish(self, heard_samples: int) -> None:
        """Do nothing: the connection sends the rest of the queue. Implements `AudioSink`."""
