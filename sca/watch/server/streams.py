"""The endless responses of the server: events, pictures and speech. Each reader is served alone, and a slow one misses some."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from sca.audio.pcm import pcm16_bytes
from sca.infer.server.core.errors import RequestRejectedError
from sca.watch.frames import JpegFrame
from sca.watch.server.host import STREAM_HZ, Session, WatchHost

__all__ = ["BOUNDARY", "Places", "events", "pictures", "speech"]

BOUNDARY = "sca-picture"
_KEEP_ALIVE_S = 15.0
_IDLE_S = 0.1
_MOST_WAIT_S, _LEAST_WAIT_S = 0.05, 0.002
_BLOCK_S = 0.05
_BEHIND_S = 1.0
"""A listener that is this far behind continues at now."""


class Places:
    """The open streams, which are limited."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.taken = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Take a place.

        Raises:
            RequestRejectedError: There is none (503).
        """
        self.check()
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1

    def check(self) -> None:
        """Raise the error of `one`, before a response has begun."""
        if self.taken >= self._most:
            raise RequestRejectedError(503, f"{self._most} streams are open, and that is the limit", retry_after_s=1)


async def events(host: WatchHost, last_id: str | None, *, with_sound: bool) -> AsyncIterator[bytes]:
    """Yield server-sent events: first `status`, then everything that happens.

    Args:
        host: The session.
        last_id: The last event that the client has; the events after it follow, as far as they are held.
        with_sound: Whether there are `sound` events with the samples of the speech.
    """
    number = host.feed.number_of(last_id)
    with host.feed.reader() as changed:
        yield f"event: status\ndata: {json.dumps(host.status())}\n\n".encode()
        while not host.is_closed:
            changed.clear()
            for entry in host.feed.after(number):
                number = entry.number
                if with_sound or entry.name != "sound":
                    yield f"id: {host.feed.id_of(entry)}\nevent: {entry.name}\ndata: {entry.data}\n\n".encode()
            try:
                async with asyncio.timeout(_KEEP_ALIVE_S):
                    await changed.wait()
            except TimeoutError:
                yield b": keep-alive\n\n"


async def pictures(host: WatchHost) -> AsyncIterator[bytes]:
    """Yield the shown pictures as parts of a multipart stream, over all sessions.

    A client that reads slowly gets the picture of the moment when it has read the last one.
    """
    yield f"--{BOUNDARY}\r\n".encode()
    session: Session | None = None
    index = -1
    while not host.is_closed:
        if host.session is not session:
            session, index = host.session, -1
        now_us = host.clock()
        found = None if session is None else session.shown(now_us)
        if found is None:
            await asyncio.sleep(_IDLE_S)
            continue
        frame, next_us = found
        if frame.index > index:
            index = frame.index
            yield _part(frame, now_us)
        if next_us is None:
            await asyncio.sleep(_MOST_WAIT_S / 2)
        else:
            await asyncio.sleep(min(_MOST_WAIT_S, max(_LEAST_WAIT_S, (next_us - host.clock()) / 1e6)))


def _part(frame: JpegFrame, now_us: int) -> bytes:
    head = (
        f"Content-Type: image/jpeg\r\nContent-Length: {len(frame.data)}\r\nX-Time-Us: {frame.time_us}\r\n"
        f"X-Index: {frame.index}\r\nX-Show-Us: {now_us}\r\n\r\n"
    )
    # The boundary comes with its picture: browsers show a part when they have read the next boundary.
    return head.encode() + frame.data + f"\r\n--{BOUNDARY}\r\n".encode()


async def speech(host: WatchHost, session: Session) -> AsyncIterator[bytes]:
    """Yield a WAV file without an end: the speech of a session from now on, at the time at which it is to be heard."""
    track = session.track
    assert track is not None
    yield _wav_head(STREAM_HZ)
    place = host.clock() * STREAM_HZ // 1_000_000
    while not host.is_closed and not session.is_over:
        now = host.clock() * STREAM_HZ // 1_000_000
        if now - place > _BEHIND_S * STREAM_HZ:
            place = now
        if now > place:
            samples = track.read(place, now - place)
            place = now
            yield pcm16_bytes(samples)
        await asyncio.sleep(_BLOCK_S)


def _wav_head(rate_hz: int) -> bytes:
    """Return the header of a WAV file of unknown length: int16, mono."""
    unknown = 0xFFFFFFFF
    format_ = struct.pack("<IHHIIHH", 16, 1, 1, rate_hz, 2 * rate_hz, 2, 16)
    return b"RIFF" + struct.pack("<I", unknown) + b"WAVEfmt " + format_ + b"data" + struct.pack("<I", unknown)
