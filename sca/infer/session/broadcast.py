"""Deliver the spoken audio of sessions to any number of subscribers: 24 kHz in, 48 kHz int16 out.

Each subscriber has a queue of its own, bounded in ms of audio, so a slow one never delays the others or the session:
its oldest audio is dropped, or it is closed. Everything happens on one event loop; publishing never waits.
"""

from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import anyio
import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.audio.pcm import INT16_MAX, pcm16_bytes, pcm16_samples
from sca.audio.resample import StreamResampler
from sca.infer.frames import AudioOutput, ControlFrame, Interrupt, TurnEnd
from sca.infer.interfaces import BaseListener
from sca.infer.notifier import Notifier
from sca.units import SPOKEN_HZ

__all__ = ["STREAM_HZ", "AudioBroadcast", "BroadcastListener", "BroadcastStats", "Subscription"]

STREAM_HZ = 48_000
"""The rate of delivered audio, which every browser and sound card plays without resampling."""


@dataclass(slots=True)
class BroadcastStats:
    """Counters.

    Attributes:
        published_samples: Samples at 48 kHz that were published.
        dropped_samples: Samples that slow subscribers did not get, of all of them together.
        closed_subscribers: Subscribers that were closed because they were slow.
    """

    published_samples: int = 0
    dropped_samples: int = 0
    closed_subscribers: int = 0


class Subscription:
    """The queue of one subscriber.

    Attributes:
        session_id: The session that it follows now; None until one speaks.
        dropped_samples: Samples that it did not get.
    """

    def __init__(self, session_id: str | None, max_samples: int) -> None:
        self.session_id = session_id
        self.dropped_samples = 0
        self._is_fixed = session_id is not None
        self._max_samples = max_samples
        self._blocks: deque[bytes] = deque()
        self._samples = 0
        self._ended = False
        self._changed = Notifier()

    @property
    def ended(self) -> bool:
        """Whether no more audio follows the queued audio."""
        return self._ended

    async def blocks(self, idle_s: float) -> AsyncIterator[bytes]:
        """Yield the audio, int16 little-endian mono, until the subscription ends.

        Args:
            idle_s: Yield an empty block after this long without audio.
        """
        while True:
            while self._blocks:
                block = self._blocks.popleft()
                self._samples -= len(block) // 2
                yield block
            if self._ended:
                return
            with anyio.move_on_after(idle_s) as waited:
                await self._changed.wait()
            if waited.cancelled_caught:
                yield b""

    def put(self, block: bytes, *, may_drop: bool) -> int:
        """Add audio. If the queue is full, drop the oldest audio, or end the subscription.

        Returns:
            How many samples were dropped.
        """
        self._blocks.append(block)
        self._samples += len(block) // 2
        before = self._samples
        if self._samples > self._max_samples and not may_drop:
            self.flush()
            self.end()
        while self._samples > self._max_samples and len(self._blocks) > 1:
            self._samples -= len(self._blocks.popleft()) // 2
        self._changed.notify_all()
        self.dropped_samples += before - self._samples
        return before - self._samples

    def flush(self) -> None:
        """Discard the queued audio."""
        self._blocks.clear()
        self._samples = 0

    def leave(self) -> None:
        """The session that it follows has ended: follow the next one, or end."""
        if self._is_fixed:
            self.end()
        else:
            self.session_id = None

    def end(self) -> None:
        """End the subscription after the queued audio."""
        self._ended = True
        self._changed.notify_all()


class AudioBroadcast:
    """The audio of sessions and its subscribers.

    Args:
        buffer_ms: The queue of a subscriber, in ms.
        when_slow: What happens if a queue is full: "drop" drops its oldest audio, "close" ends its subscription.

    Attributes:
        stats: The counters.
    """

    def __init__(self, buffer_ms: int = 2000, when_slow: Literal["drop", "close"] = "drop") -> None:
        self._max_samples = buffer_ms * STREAM_HZ // 1000
        self._may_drop = when_slow == "drop"
        self._subscriptions: list[Subscription] = []
        self._resamplers: dict[str, StreamResampler] = {}
        self.stats = BroadcastStats()

    def __len__(self) -> int:
        return len(self._subscriptions)

    @contextmanager
    def subscribe(self, session_id: str | None = None) -> Iterator[Subscription]:
        """Subscribe for the duration of the block.

        Args:
            session_id: The session; None follows the next session that speaks, until it ends, and then another.
        """
        subscription = Subscription(session_id, self._max_samples)
        self._subscriptions.append(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.remove(subscription)

    def publish(self, session_id: str, samples: NDArray[np.float32]) -> None:
        """Deliver audio of a session, float32 `(n,)` at 24 kHz in [-1, 1]."""
        if not self._subscriptions:
            self._resamplers.pop(session_id, None)
            return
        resampler = self._resamplers.setdefault(session_id, StreamResampler(SPOKEN_HZ, STREAM_HZ))
        self._deliver(session_id, resampler.push(samples))

    def end_turn(self, session_id: str) -> None:
        """Deliver what the resampler holds back, because the session stops speaking for now."""
        resampler = self._resamplers.pop(session_id, None)
        if resampler is not None:
            self._deliver(session_id, resampler.flush())

    def flush(self, session_id: str) -> None:
        """Discard the audio of a session that was not delivered, because it was interrupted."""
        self._resamplers.pop(session_id, None)
        for subscription in self._followers(session_id):
            subscription.flush()

    def end_session(self, session_id: str) -> None:
        """End the subscriptions of a session."""
        self.end_turn(session_id)
        for subscription in self._followers(session_id):
            subscription.leave()

    def stop(self) -> None:
        """End all subscriptions."""
        for subscription in self._subscriptions:
            subscription.end()

    def _followers(self, session_id: str) -> list[Subscription]:
        return [one for one in self._subscriptions if one.session_id == session_id]

    def _deliver(self, session_id: str, samples: NDArray[np.float32]) -> None:
        block = pcm16_bytes(np.clip(samples, -1, 1), INT16_MAX)
        if not block:
            return
        self.stats.published_samples += len(samples)
        for subscription in self._subscriptions:
            if subscription.session_id is None:
                subscription.session_id = session_id
            if subscription.session_id == session_id and not subscription.ended:
                self.stats.dropped_samples += subscription.put(block, may_drop=self._may_drop)
                self.stats.closed_subscribers += subscription.ended


class BroadcastListener(BaseListener):
    """Publishes the spoken audio of one session."""

    def __init__(self, broadcast: AudioBroadcast, session_id: str) -> None:
        self._broadcast, self._session_id = broadcast, session_id

    @override
    def on_output(self, frame: AudioOutput, sample: int) -> None:
        if len(self._broadcast):
            self._broadcast.publish(self._session_id, pcm16_samples(frame.audio_bytes))

    @override
    def on_flush(self, sample: int) -> None:
        self._broadcast.flush(self._session_id)

    @override
    def on_control(self, frame: ControlFrame) -> None:
        if isinstance(frame, TurnEnd | Interrupt):
            self._broadcast.end_turn(self._session_id)
