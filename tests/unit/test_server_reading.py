"""The receive buffer of a WebSocket: when reading pauses and resumes, and how messages are joined."""

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


class FakeTransport(asyncio.Transport):
    """A transport that counts how often reading was paused and resumed."""

    def __init__(self):
        super().__init__()
        self.paused = self.resumed = self.unsent = 0
        self.written, self.aborted = [], False

    def get_extra_info(self, name, default=None):
        return default

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def is_closing(self):
        return self.aborted

    def write(self, data):
        self.written.append(data)

    def abort(self):
        self.aborted = True

    def get_write_buffer_size(self):
        return self.unsent

    def close(self):
        pass

    def pause_reading(self):
        self.paused += 1

    def resume_reading(self):
        self.resumed += 1


def message(size):
    head = bytes([0x82, 128 | size]) if size < 126 else b"\x82\xff" + size.to_bytes(8, "big")
    return head + bytes(4 + size)


def with_connection(use):
    """Call `use(protocol, transport, receive)` within an accepted connection.

    `await receive()` returns the next ASGI event.
    """
    from uvicorn import Config
    from uvicorn.server import ServerState

    async def main():
        accepted, over = asyncio.Event(), asyncio.Event()

        async def app(scope, receive, send):
            assert (await receive())["type"] == "websocket.connect"
            await send({"type": "websocket.accept"})
            accepted.set()
            await over.wait()

        config = Config(
            app, ws=websocket_protocol(), log_config=None, lifespan="off", ws_ping_interval=None, ws_ping_timeout=0.01
        )
        config.load()
        state = ServerState()
        protocol, transport = config.ws_protocol_class(config=config, server_state=state, app_state={}), FakeTransport()
        protocol.connection_made(transport)
        protocol.data_received(HELLO)
        await asyncio.wait_for(accepted.wait(), 60)
        try:
            await use(protocol, transport, protocol.receive)
        finally:
            over.set()
            await asyncio.gather(*state.tasks)
            protocol.connection_lost(None)

    asyncio.run(main())


def text_frame(text):
    return bytes([0x81, 128 | len(text)]) + bytes(4) + text.encode()


def test_messages_read_at_once_do_not_pause_reading():
    async def use(protocol, transport, receive):
        for _ in range(100):
            protocol.data_received(message(640))
            assert len((await receive())["bytes"]) == 640
        assert (transport.paused, transport.resumed) == (0, 0)

    with_connection(use)


@pytest.mark.parametrize("size", [1, 640, 100_000])
def test_reading_pauses_while_much_is_unread(size):
    async def use(protocol, transport, receive):
        sent = 0
        while not transport.paused:
            protocol.data_received(message(size))
            sent += 1
            assert sent < 400
        assert protocol.queue.qsize() == sent
        for _ in range(sent):
            assert transport.resumed == 0
            await receive()
        assert (transport.paused, transport.resumed) == (1, 1)

    with_connection(use)


def test_joins_binary_messages_to_the_wanted_size():
    async def use(protocol, transport, receive):
        receive_buffer_of(protocol.scope).wanted_bytes = 1600
        for _ in range(6):
            protocol.data_received(message(640))
        assert protocol.queue.qsize() == 2
        assert [(len(event["bytes"]), event["messages"]) for event in (await receive(), await receive())] == [
            (1920, 3),
            (1920, 3),
        ]

    with_connection(use)


def test_other_events_pass_on_joined_messages():
    async def use(protocol, transport, receive):
        receive_buffer_of(protocol.scope).wanted_bytes = 10_000
        protocol.data_received(message(640) + text_frame("stop") + message(2))
        assert len((await receive())["bytes"]) == 640
        assert (await receive())["text"] == "stop"
        assert protocol.queue.empty()
        protocol.data_received(bytes([0x88, 0x82]) + bytes(4) + (1000).to_bytes(2, "big"))
        assert len((await receive())["bytes"]) == 2
        assert await receive() == {"type": "websocket.disconnect", "code": 1000, "reason": ""}

    with_connection(use)


@given(sizes=st.lists(st.integers(0, 3000), max_size=40), wanted=st.lists(st.integers(0, 9000), min_size=1, max_size=5))
def test_loses_no_byte_and_no_message(sizes, wanted):
    """For any wanted size, and any change of it."""

    async def main():
        buffer, sent, received, messages = ReceiveBuffer(), bytearray(), bytearray(), 0
        for i, size in enumerate(sizes):
            buffer.wanted_bytes = wanted[i % len(wanted)]
            piece = bytes([i]) * size
            sent += piece
            buffer.put_nowait({"type": "websocket.receive", "bytes": piece})
        buffer.put_nowait({"type": "websocket.disconnect"})
        while (event := buffer.get_nowait())["type"] == "websocket.receive":
            received += event["bytes"]
            messages += event["messages"]
        assert (received, messages, buffer.empty()) == (sent, len(sizes), True)
        assert buffer.unread_bytes == 0

    asyncio.run(main())


PING, PONG = bytes([0x89, 0x80]) + bytes(4), bytes([0x8A, 0x80]) + bytes(4)


def test_pings_are_not_answered_while_the_client_does_not_read():
    async def use(protocol, transport, receive):
        transport.written.clear()
        protocol.data_received(PING)
        assert transport.written == [b"\x8a\x00"]
        protocol.pause_writing()
        protocol.data_received(50 * PING)
        assert transport.written == [b"\x8a\x00"]
        protocol.resume_writing()
        protocol.data_received(PING)
        assert transport.written == 2 * [b"\x8a\x00"]

    with_connection(use)


@pytest.mark.parametrize("frame", [PING, PONG])
def test_floods_of_pings_and_pongs_end_the_connection(frame):
    async def use(protocol, transport, receive):
        protocol.data_received(100 * frame)
        assert not transport.aborted
        protocol.data_received(frame)
        assert transport.aborted

    with_connection(use)


def test_client_that_reads_nothing_is_disconnected():
    async def use(protocol, transport, receive):
        transport.unsent = 1000
        protocol.pause_writing()
        transport.unsent = 999  # it has read something
        while protocol._write_deadline._unsent_bytes != 999:
            assert not transport.aborted
            await asyncio.sleep(0.001)
        while not transport.aborted:
            await asyncio.sleep(0.001)

    with_connection(use)


def test_tiny_messages_are_passed_on_in_bounded_numbers():
    async def use(protocol, transport, receive):
        receive_buffer_of(protocol.scope).wanted_bytes = 10_000
        protocol.data_received(message(0) * 3000)
        assert [(await receive())["messages"] for _ in range(2)] == [1024, 1024]

    with_connection(use)
