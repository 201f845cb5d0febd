"""What a WebSocket holds that nobody took yet: when the server stops reading and goes on, and sound that is put together."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sca.infer.server.transport.receive_buffer import ReceiveBuffer, receive_buffer_of
from sca.infer.server.transport.websocket_protocol import websocket_protocol

HELLO = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Wire(asyncio.Transport):
    """Counts how often reading was stopped and begun again."""

    def __init__(self):
        super().__init__()
        self.paused = self.resumed = 0

    def get_extra_info(self, name, default=None):
        return default

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def is_closing(self):
        return False

    def write(self, data):
        pass

    def close(self):
        pass

    def pause_reading(self):
        self.paused += 1

    def resume_reading(self):
        self.resumed += 1


def message(size):
    head = bytes([0x82, 128 | size]) if size < 126 else b"\x82\xff" + size.to_bytes(8, "big")
    return head + bytes(4 + size)


def visit(use):
    """`use(protocol, wire, take)` within an accepted connection; `await take()` is what the application reads next."""
    from uvicorn import Config
    from uvicorn.server import ServerState

    async def main():
        accepted, over = asyncio.Event(), asyncio.Event()

        async def app(scope, receive, send):
            assert (await receive())["type"] == "websocket.connect"
            await send({"type": "websocket.accept"})
            accepted.set()
            await over.wait()

        config = Config(app, ws=websocket_protocol(), log_config=None, lifespan="off", ws_ping_interval=None)
        config.load()
        state = ServerState()
        protocol, wire = config.ws_protocol_class(config=config, server_state=state, app_state={}), Wire()
        protocol.connection_made(wire)
        protocol.data_received(HELLO)
        await asyncio.wait_for(accepted.wait(), 60)
        try:
            await use(protocol, wire, protocol.receive)
        finally:
            over.set()
            await asyncio.gather(*state.tasks)
            protocol.connection_lost(None)

    asyncio.run(main())


def text(words):
    return bytes([0x81, 128 | len(words)]) + bytes(4) + words.encode()


def test_sound_that_is_read_at_once_never_stops_the_reading():
    async def use(protocol, wire, take):
        for _ in range(100):
            protocol.data_received(message(640))
            assert len((await take())["bytes"]) == 640
        assert (wire.paused, wire.resumed) == (0, 0)

    visit(use)


@pytest.mark.parametrize("size", [1, 640, 100_000])
def test_reading_stops_when_much_waits_and_goes_on_when_it_is_taken(size):
    async def use(protocol, wire, take):
        sent = 0
        while not wire.paused:
            protocol.data_received(message(size))
            sent += 1
            assert sent < 400
        assert protocol.queue.qsize() == sent
        for _ in range(sent):
            assert wire.resumed == 0
            await take()
        assert (wire.paused, wire.resumed) == (1, 1)

    visit(use)


def test_sound_is_put_together_until_there_is_as_much_as_is_waited_for():
    async def use(protocol, wire, take):
        receive_buffer_of(protocol.scope).wanted_bytes = 1600
        for _ in range(6):
            protocol.data_received(message(640))
        assert protocol.queue.qsize() == 2
        assert [(len(one["bytes"]), one["messages"]) for one in (await take(), await take())] == [(1920, 3), (1920, 3)]

    visit(use)


def test_other_messages_and_the_end_let_what_was_said_before_them_through():
    async def use(protocol, wire, take):
        receive_buffer_of(protocol.scope).wanted_bytes = 10_000
        protocol.data_received(message(640) + text("stop") + message(2))
        assert len((await take())["bytes"]) == 640
        assert (await take())["text"] == "stop"
        assert protocol.queue.empty()
        protocol.data_received(bytes([0x88, 0x82]) + bytes(4) + (1000).to_bytes(2, "big"))
        assert len((await take())["bytes"]) == 2
        assert await take() == {"type": "websocket.disconnect", "code": 1000, "reason": ""}

    visit(use)


@given(sizes=st.lists(st.integers(0, 3000), max_size=40), wanted=st.lists(st.integers(0, 9000), min_size=1, max_size=5))
def test_every_byte_and_every_message_comes_through_in_order(sizes, wanted):
    """However much is waited for, and whenever that changes."""

    async def main():
        inbox, sent, came, messages = ReceiveBuffer(), bytearray(), bytearray(), 0
        for i, size in enumerate(sizes):
            inbox.wanted_bytes = wanted[i % len(wanted)]
            piece = bytes([i]) * size
            sent += piece
            inbox.put_nowait({"type": "websocket.receive", "bytes": piece})
        inbox.put_nowait({"type": "websocket.disconnect"})
        while (event := inbox.get_nowait())["type"] == "websocket.receive":
            came += event["bytes"]
            messages += event["messages"]
        assert (came, messages, inbox.empty()) == (sent, len(sizes), True)
        assert inbox.unread_bytes == 0

    asyncio.run(main())
