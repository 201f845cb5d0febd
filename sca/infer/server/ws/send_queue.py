"""Messages on their way to a client, in order and bounded in ms of sound. Knows no protocol and no socket."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sca.infer.notifier import Notifier

__all__ = ["Message", "SendQueue"]

Message = str | bytes
_MOST_MESSAGES = 256


@dataclass(slots=True)
class _Post:
    """Messages that belong together.   ms: of sound in them.   lost_ms: of sound that was dropped here instead."""

    messages: tuple[Message, ...]
    ms: float = 0.0
    lost_ms: float = 0.0


class SendQueue:
    """`put` never waits; who makes messages waits with `room`, or drops with `make_room`.

    lost: makes the messages that stand where sound was dropped, from how many ms.
    """

    def __init__(self, most_ms: float, lost: Callable[[float], Sequence[Message]] = lambda ms: ()) -> None:
        self._most_ms, self._lost = most_ms, lost
        self._posts: deque[_Post] = deque()
        self._begun: deque[Message] = deque()  # the rest of a post whose first message was taken: it goes in any case
        self._gap: _Post | None = None
        self._held_ms = 0.0
        self._closed = False
        self._changed = Notifier()

    @property
    def held_ms(self) -> float:
        """Sound that was not taken yet."""
        return self._held_ms

    def __len__(self) -> int:
        return len(self._posts)

    def put(self, *messages: Message, ms: float = 0.0) -> None:
        """Add messages that belong together and hold `ms` of sound. After `close` they are thrown away."""
        if not self._closed:
            self._posts.append(_Post(messages, ms))
            self._held_ms += ms
            self._changed.notify_all()

    async def room(self, ms: float = 0.0) -> None:
        """Wait until `ms` of sound more may be put."""
        while not self._closed and self._posts and not self._fits(ms):
            await self._changed.wait()

    def _fits(self, ms: float) -> bool:
        return self._held_ms + ms <= self._most_ms and len(self._posts) < _MOST_MESSAGES

    def make_room(self, ms: float) -> float:
        """Drop sound, the oldest first, until `ms` more may be put; returns how many ms. A message says so where it was."""
        dropped = 0.0
        kept: deque[_Post] = deque()
        for post in self._posts:
            if post.ms == 0 or self._held_ms + ms <= self._most_ms:
                kept.append(post)
                continue
            if self._gap is None:
                self._gap = _Post(())
                kept.append(self._gap)
            self._gap.lost_ms += post.ms
            self._held_ms -= post.ms
            dropped += post.ms
        self._posts = kept
        return dropped

    def drop_sound(self) -> float:
        """Forget the sound that was not sent yet, because it was cut off; returns how many ms."""
        dropped, self._held_ms = self._held_ms, 0.0
        self._posts = deque(one for one in self._posts if one.ms == 0)
        self._changed.notify_all()
        return dropped

    def close(self) -> None:
        """Nothing more comes; what is there is still taken."""
        self._closed = True
        self._changed.notify_all()

    async def take(self) -> Message | None:
        """The next message, as soon as there is one; None at the end. Cancelled, it has taken nothing."""
        while not self._begun:
            while not self._posts and not self._closed:
                await self._changed.wait()
            if not self._posts:
                return None
            post = self._posts.popleft()
            if post is self._gap:
                self._gap = None
                post.messages = tuple(self._lost(post.lost_ms))
            self._held_ms = max(0.0, self._held_ms - post.ms)
            self._begun.extend(post.messages)
            self._changed.notify_all()
        return self._begun.popleft()
