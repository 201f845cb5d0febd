"""A queue of messages to a client, in order and bounded in ms of audio and in bytes."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sca.infer.notifier import Notifier

__all__ = ["MAX_UNSENT_BYTES", "Message", "SendQueue", "message_bytes"]

Message = str | bytes

MAX_UNSENT_BYTES = 4 << 20
"""The largest size of the messages in a queue, besides its audio. Beyond it, the client is disconnected."""

_ROOM_BYTES = 1 << 20
_AUDIO_BYTES_PER_MS = 128  # 24 kHz in base64 and JSON are 64, and more with short frames
_MAX_GROUPS = 256
_OVERHEAD_BYTES = 64  # of a message, in addition to its content


def message_bytes(message: Message) -> int:
    """Return the size of a message in memory, or slightly more."""
    return _OVERHEAD_BYTES + len(message) * (1 if isinstance(message, bytes) or message.isascii() else 4)


@dataclass(slots=True)
class _MessageGroup:
    """Messages that are sent together.

    Attributes:
        messages: The messages.
        ms: The audio in them.
        size: Their size in bytes.
        dropped_ms: The audio that was dropped at this place in the queue.
    """

    messages: tuple[Message, ...]
    ms: float = 0.0
    size: int = 0
    dropped_ms: float = 0.0


class SendQueue:
    """Messages between a session and the socket that sends them.

    `put` never waits. Producers wait with `wait_for_room`, or make room with `drop_oldest`. Beyond `MAX_UNSENT_BYTES`, all
    messages are discarded.
    """

    def __init__(
        self,
        max_ms: float,
        gap_messages: Callable[[float], Sequence[Message]] = lambda ms: (),
        on_overflow: Callable[[], object] = lambda: None,
    ) -> None:
        """Create an empty queue.

        Args:
            max_ms: The limit of audio in the queue.
            gap_messages: Returns the messages that replace dropped audio, given its duration in ms.
            on_overflow: Called once, when the queue is too large and has been discarded and closed.
        """
        self._max_ms, self._gap_messages, self._on_overflow = max_ms, gap_messages, on_overflow
        self._audio_bytes = int(max_ms * _AUDIO_BYTES_PER_MS)
        self._bytes = 0
        self._groups: deque[_MessageGroup] = deque()
        self._started: deque[Message] = deque()  # the rest of a group whose first message was taken; never dropped
        self._gap: _MessageGroup | None = None
        self._audio_ms = 0.0
        self._closed = False
        self._changed = Notifier()

    @property
    def audio_ms(self) -> float:
        """The audio in the queue, in ms."""
        return self._audio_ms

    def __len__(self) -> int:
        return len(self._groups)

    def put(self, *messages: Message, ms: float = 0.0) -> None:
        """Add messages that belong together. After `close` they are discarded.

        Args:
            *messages: The messages.
            ms: The audio in them.
        """
        if self._closed:
            return
        group = _MessageGroup(messages, ms, sum(map(message_bytes, messages)))
        self._groups.append(group)
        self._audio_ms += ms
        self._bytes += group.size
        if self._bytes > MAX_UNSENT_BYTES + self._audio_bytes:
            self._groups.clear()
            self._started.clear()
            self._audio_ms, self._bytes = 0.0, 0
            self.close()
            self._on_overflow()
        self._changed.notify_all()

    async def wait_for_room(self, ms: float = 0.0) -> None:
        """Wait until `ms` more audio fits into the queue."""
        while not self._closed and self._groups and not self._fits(ms):
            await self._changed.wait()

    def _fits(self, ms: float) -> bool:
        has_room = self._bytes <= _ROOM_BYTES + self._audio_bytes and len(self._groups) < _MAX_GROUPS
        return has_room and self._audio_ms + ms <= self._max_ms

    def drop_oldest(self, ms: float) -> float:
        """Drop audio, the oldest first, until `ms` more fits. The messages of `gap_messages` take its place.

        Returns:
            The dropped audio in ms.
        """
        dropped = 0.0
        kept: deque[_MessageGroup] = deque()
        for group in self._groups:
            if group.ms == 0 or self._audio_ms + ms <= self._max_ms:
                kept.append(group)
                continue
            if self._gap is None:
                self._gap = _MessageGroup(())
                kept.append(self._gap)
            self._gap.dropped_ms += group.ms
            self._audio_ms -= group.ms
            self._bytes -= group.size
            dropped += group.ms
        self._groups = kept
        return dropped

    def discard_audio(self) -> float:
        """Remove all audio, because its turn was interrupted. Returns the removed audio in ms."""
        dropped, self._audio_ms = self._audio_ms, 0.0
        self._groups = deque(group for group in self._groups if group.ms == 0)
        self._bytes = sum(group.size for group in self._groups) + sum(map(message_bytes, self._started))
        self._changed.notify_all()
        return dropped

    def close(self) -> None:
        """Accept no more messages. Those in the queue can still be taken."""
        self._closed = True
        self._changed.notify_all()

    async def take(self) -> Message | None:
        """Wait for the next message and remove it.

        None once the queue is closed and empty. Cancelling loses no message.
        """
        while not self._started:
            while not self._groups and not self._closed:
                await self._changed.wait()
            if not self._groups:
                return None
            group = self._groups.popleft()
            if group is self._gap:
                self._gap = None
                group.messages = tuple(self._gap_messages(group.dropped_ms))
                self._bytes += sum(map(message_bytes, group.messages))
            self._audio_ms = max(0.0, self._audio_ms - group.ms)
            self._started.extend(group.messages)
            self._changed.notify_all()
        message = self._started.popleft()
        self._bytes -= message_bytes(message)
        return message
