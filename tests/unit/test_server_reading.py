"""When the server stops reading from a WebSocket whose messages nobody takes, and when it goes on."""

import asyncio

import pytest

from sca.infer.server.heartbeat import websocket_protocol

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
        await asyncio.wait_for(accepted.wait(), 5)
        try:
            await use(protocol, wire, protocol.receive)
        finally:
            over.set()
            await asyncio.gather(*state.tasks)
            protocol.connection_lost(None)

    asyncio.run(main())


def test_sound_that_is_read_at_once_never_stops_the_reading():
    async def use(protocol, wire, take):
        for _ in range(50):
            protocol.data_received(message(640))
            assert len((await take())["bytes"]) == 640
        assert (wire.paused, wire.resumed) == (0, 0)

    visit(use)


def test_reading_stops_when_a_few_messages_wait_and_goes_on_when_they_are_taken():
    async def use(protocol, wire, take):
        sent = 0
        while not wire.paused:
            protocol.data_received(message(640))
            sent += 1
            assert sent < 20
        assert protocol.queue.qsize() == sent > 1
        for _ in range(sent):
            assert wire.resumed == 0
            await take()
        assert (wire.paused, wire.resumed) == (1, 1)

    visit(use)


@pytest.mark.parametrize("size", [4097, 100_000])
def test_a_large_message_stops_it_by_itself(size):
    async def use(protocol, wire, take):
        protocol.data_received(message(size))
        assert wire.paused == 1
        assert len((await take())["bytes"]) == size
        assert wire.resumed == 1

    visit(use)
