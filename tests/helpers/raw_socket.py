"""HTTP and WebSocket clients at the level of bytes, which can break every rule."""

import base64
import os
import socket
from contextlib import suppress

from tests.helpers.timeouts import TIMEOUT_S


def handshake(path="ws/pcm16", **headers):
    key = base64.b64encode(os.urandom(16)).decode()
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return (
        f"GET /{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{lines}\r\n"
    ).encode()


def frame(payload, first=0x82):
    """Return a WebSocket frame of a client, with a mask of zeros. first: FIN, RSV bits and the opcode."""
    size = len(payload)
    if size < 126:
        head = bytes([128 | size])
    elif size < 1 << 16:
        head = b"\xfe" + size.to_bytes(2, "big")
    else:
        head = b"\xff" + size.to_bytes(8, "big")
    return bytes([first]) + head + bytes(4) + payload


def read_all(raw):
    """Read from a socket until the other side closes it, and respond to a close frame."""
    got = b""
    raw.settimeout(TIMEOUT_S)
    with suppress(ConnectionResetError, BrokenPipeError):
        while piece := raw.recv(1 << 16):
            got += piece
            at = got.rfind(b"\x88")
            if at >= 0 and len(got) == at + 2 + got[at + 1]:
                raw.sendall(frame(got[at + 2 :], 0x88))
    return got


def close_code(data):
    """Return the code of the close frame at the end."""
    at = data.rindex(b"\x88")
    return int.from_bytes(data[at + 2 : at + 4], "big")


def open_socket(server, path="ws/pcm16"):
    raw = socket.create_connection(("127.0.0.1", server.port))
    raw.sendall(handshake(path))
    got = b""
    while b"\r\n\r\n" not in got:
        piece = raw.recv(1 << 16)
        assert piece, got
        got += piece
    assert got.startswith(b"HTTP/1.1 101")
    return raw
