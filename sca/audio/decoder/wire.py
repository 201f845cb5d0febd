"""The messages between a decoder process and the process that uses it.

A message is a kind, a length and a payload: JSON, or samples as they are in memory. Neither side unpickles anything, and the
receiver checks kinds and lengths, because what decodes the media of others may be under their control.

    asks                answers
    REQUEST json        ANSWER json | ERROR json
    START block size    FINDINGS json, BLOCK samples, … END | ERROR json
    NEXT                (`NEXT_BLOCKS` more may be sent)
    CLOSE               CLOSED
"""

import json
import os
import struct
from collections.abc import Callable, Mapping

__all__ = [
    "ANSWER",
    "BLOCK",
    "BLOCK_SAMPLES",
    "CLOSE",
    "CLOSED",
    "END",
    "ERROR",
    "FINDINGS",
    "MAX_BLOCK_BYTES",
    "NEXT",
    "NEXT_BLOCKS",
    "READ_AHEAD_BLOCKS",
    "REQUEST",
    "START",
    "BrokenWireError",
    "Payload",
    "parsed",
    "receive",
    "send",
    "send_json",
]

REQUEST, START, NEXT, CLOSE = b"R", b"S", b"N", b"C"
ANSWER, ERROR, FINDINGS, BLOCK, END, CLOSED = b"a", b"e", b"f", b"b", b"z", b"c"

NEXT_BLOCKS = 8
READ_AHEAD_BLOCKS = 2 * NEXT_BLOCKS
"""Blocks that are sent before the first ones are acknowledged: the decoder works while its blocks are used."""
BLOCK_SAMPLES = 1 << 13
"""Samples of a block, about: what both processes copy stays in the cache of the processor."""
MAX_BLOCK_BYTES = 4 << 20
_MAX_BYTES = 64 << 20
_HEADER = struct.Struct("<cI")

Payload = bytes | bytearray | memoryview


class BrokenWireError(Exception):
    """A message is cut, too long or malformed."""


def send(file: int, kind: bytes, payload: Payload = b"") -> None:
    """Write a message.

    Args:
        file: The descriptor.
        kind: One byte.
        payload: What follows.
    """
    view = memoryview(payload).cast("B") if len(payload) else memoryview(b"")
    header = _HEADER.pack(kind, len(view))
    # Windows has no writev
    sent = (os.writev(file, [header, view]) if hasattr(os, "writev") else os.write(file, header)) - _HEADER.size
    while sent < len(view):
        sent += os.write(file, view[sent:])


def send_json(file: int, kind: bytes, value: Mapping[str, object]) -> None:
    """Write a message with a JSON object."""
    send(file, kind, json.dumps(value).encode())


def receive(file: int, wait: Callable[[], None] = lambda: None) -> tuple[bytes, bytearray] | None:
    """Read a message.

    Args:
        file: The descriptor.
        wait: Called before each reading; an exception that it raises leaves the message unread.

    Returns:
        The kind and the payload; None at the end of the stream.

    Raises:
        BrokenWireError: The stream ends inside of the message, or the message is too long.
    """
    header = _read(file, _HEADER.size, wait)
    if not header:
        return None
    if len(header) < _HEADER.size:
        raise BrokenWireError
    kind, length = _HEADER.unpack(header)
    if length > (MAX_BLOCK_BYTES if kind == BLOCK else _MAX_BYTES):
        raise BrokenWireError
    payload = _read(file, length, wait)
    if len(payload) < length:
        raise BrokenWireError
    return kind, payload


def _read(file: int, length: int, wait: Callable[[], None]) -> bytearray:
    """Read so many bytes; fewer at the end of the stream."""
    data, done = bytearray(length), 0
    view = memoryview(data)
    while done < length:
        wait()
        count = _read_into(file, view[done:])
        if count == 0:
            return data[:done]
        done += count
    return data


def _read_into(file: int, view: memoryview) -> int:
    if hasattr(os, "readv"):
        return os.readv(file, [view])
    data = os.read(file, len(view))  # Windows
    view[: len(data)] = data
    return len(data)


def parsed(payload: Payload) -> dict[str, object]:
    """Return the JSON object in a message.

    Raises:
        BrokenWireError: It is none.
    """
    try:
        value = json.loads(bytes(payload))
    except (ValueError, RecursionError) as error:
        raise BrokenWireError from error
    if not isinstance(value, dict):
        raise BrokenWireError
    return value
