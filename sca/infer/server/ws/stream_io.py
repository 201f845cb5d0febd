"""A network connection as a session's source and sink. Bounded in ms of sound both ways; knows no protocol and no socket.

A door puts what it receives into a `NetworkSource`, and sends what it takes out of an `SendQueue`; both make the other side wait.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence

import numpy as np

from sca.config import LiveConfig
from sca.infer.clock import TICKS_PER_HEARD_SAMPLE, TICKS_PER_MS, TICKS_PER_SPOKEN_SAMPLE, Clock
from sca.infer.frames import AudioOutput, Frame
from sca.infer.interfaces import AudioBlock, BaseListener
from sca.infer.notifier import Notifier
from sca.infer.server.ws.send_queue import Message, SendQueue
from sca.infer.session.pacing import Playout
from sca.units import HEARD_HZ, Grid

__all__ = ["NetworkSink", "NetworkSource"]


class NetworkSource(BaseListener):
    """A `Source` that is given sound; also a listener of its session.

    Nothing is heard before a chunk is whole, so sound is handed over by the chunk: what a client's frames cost is to be put here.
    Sound that comes ahead of real time is handed over as fast as the engine steps, so none of it is ever dropped for lag; sound
    that is on time is handed over at once. What waits is at most `live.listen_buffer_ms`: then `put` waits.
    """

    can_wait = True

    def __init__(self, clock: Clock, grid: Grid, live: LiveConfig) -> None:
        self._clock = clock
        self._chunk = grid.heard_samples
        self._room = max(
            2 * self._chunk, live.listen_buffer_ms * HEARD_HZ // 1000
        )  # a whole chunk, and a part of the next
        self._waiting: deque[np.ndarray] = deque()
        self._held = 0
        self._given = 0
        self._origin: int | None = None
        self._full_since: int | None = None
        self._stepped = -1
        self._closed = False
        self._came, self._went, self._due = Notifier(), Notifier(), Notifier()

    @property
    def held_ms(self) -> float:
        """Sound that waits to be heard."""
        return self._held * 1000 / HEARD_HZ

    @property
    def early(self) -> bool:
        """Whether its sound comes faster than real time, by more than jitter explains: it is no microphone, or catches up."""
        return 2 * self._held > self._room or self._ahead(self._room)

    @property
    def missing(self) -> int:
        """Samples until one more chunk is whole; until then there is no hurry to put them."""
        return self._chunk - (self._given + self._held) % self._chunk

    def resume(self) -> None:
        """The client comes back, with what was heard meanwhile: from now on that counts as ahead of real time, not as late."""
        if self._origin is not None:
            self._origin = self._now() - self._given * TICKS_PER_HEARD_SAMPLE

    async def put(self, samples: np.ndarray) -> None:
        """Float32 `(n,)` at 16 kHz, any n. Waits while too much is held; after `close` it is thrown away."""
        if self._origin is None:
            self._origin = self._clock.now()
        for start in range(0, len(samples), self._chunk):
            piece = samples[start : start + self._chunk]
            while self._held + len(piece) > self._room and not self._closed:
                self._full_since = self._now()
                await self._went.wait()
            if self._closed:
                return
            if self._full_since is not None:  # we made the client wait; that does not make it late
                self._origin += self._clock.now() - self._full_since
                self._full_since = None
            self._waiting.append(piece)
            whole = self._whole
            self._held += len(piece)
            if self._whole != whole:
                self._came.notify_all()

    @property
    def _whole(self) -> bool:
        """Whether a chunk, of those the session counts, can be handed over."""
        return self._held >= self._chunk - self._given % self._chunk

    def _take(self) -> np.ndarray:
        """The rest of the chunk that the session waits for, or what there is of it."""
        pieces, size = [], 0
        wanted = self._chunk - self._given % self._chunk
        while self._waiting and size < wanted:
            piece = self._waiting.popleft()
            if size + len(piece) > wanted:
                self._waiting.appendleft(piece[wanted - size :])
                piece = piece[: wanted - size]
            pieces.append(piece)
            size += len(piece)
        self._held -= size
        self._given += size
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def close(self) -> None:
        """Nothing more comes; what is held is still heard."""
        self._closed = True
        self._notify()

    def clear(self) -> None:
        """Forget what is held."""
        self._waiting.clear()
        self._held = 0
        self._notify()

    async def blocks(self) -> AsyncIterator[AudioBlock]:
        """See `Source`."""
        while True:
            while not self._whole and not self._closed:
                await self._came.wait()
            if not self._waiting:
                return
            await self._when_due()
            if not self._waiting:  # cleared meanwhile
                continue
            chunk = self._take()
            self._went.notify_all()
            yield AudioBlock(chunk, self._clock.now())

    async def _when_due(self) -> None:
        # One chunk of slack for jitter. Ahead of that: not before the chunk before the one this piece falls in was stepped.
        while self._ahead(self._chunk) and self._stepped < self._given // self._chunk - 1:
            await self._due.wait()

    def _ahead(self, samples: int) -> bool:
        """Whether what is handed over next would be due, in real time since the first, more than `samples` from now."""
        return (
            self._origin is not None and self._origin + (self._given - samples) * TICKS_PER_HEARD_SAMPLE > self._now()
        )

    def _now(self) -> int:
        """The time that counts: it stands still while there is no room."""
        return self._clock.now() if self._full_since is None else self._full_since

    def on_step(self, chunk_index: int, frames: Sequence[Frame]) -> None:
        """See `SessionListener`."""
        self._stepped = chunk_index
        self._due.notify_all()

    def _notify(self) -> None:
        for change in (self._came, self._went, self._due):
            change.notify_all()


class NetworkSink:
    """A `Sink` that hands sound to an outbox.

    encode: makes the messages of a frame.   silenced: called when what was sent and not heard yet should fall silent.
    may_drop: whether, when the client does not take it fast enough, the oldest sound that was not sent yet goes, rather than that
    the session waits.   dropped: called with how many ms went.
    Sound is sent as soon as it is said: the client plays it, and when is estimated as if it did so without delay of the network.
    """

    def __init__(
        self,
        outbox: SendQueue,
        clock: Clock,
        live: LiveConfig,
        encode: Callable[[AudioOutput], Sequence[Message]],
        *,
        silenced: Callable[[], object] = lambda: None,
        may_drop: Callable[[], bool] = lambda: False,
        dropped: Callable[[float], object] = lambda ms: None,
    ) -> None:
        self._outbox, self._clock, self._encode = outbox, clock, encode
        self._silenced, self._may_drop, self._dropped = silenced, may_drop, dropped
        self._playout = Playout(live.playout_delay_ms * TICKS_PER_MS, live.playout_delay_max_ms * TICKS_PER_MS)

    async def play(self, frame: AudioOutput) -> int:
        """See `Sink`."""
        ticks = frame.num_samples * TICKS_PER_SPOKEN_SAMPLE
        ms = ticks / TICKS_PER_MS
        if self._may_drop():
            dropped_ms = self._outbox.make_room(ms)
            if dropped_ms:
                self._dropped(dropped_ms)
        await self._outbox.room(ms)
        self._outbox.put(*self._encode(frame), ms=ms)
        return self._playout.push(ticks, frame.turn_id, self._clock.now())

    def flush(self) -> None:
        """See `Sink`."""
        self._outbox.drop_sound()
        self._playout.cut(self._clock.now())
        self._silenced()

    async def finish(self, heard_samples: int) -> None:
        """See `Sink`."""
