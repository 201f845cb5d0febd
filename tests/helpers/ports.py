"""Ports of this machine for tests that cannot let the system choose one at the moment of listening."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["refusing_port", "reserved_port"]


@contextmanager
def refusing_port() -> Iterator[int]:
    """Yield a port that refuses connections: it is bound for the duration of the block, and nothing listens there."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@contextmanager
def reserved_port() -> Iterator[int]:
    """Yield a port at which a test can start a server repeatedly; no other test gets it for the duration of the block.

    It is below the range from which systems assign free ports: from 32768 on Linux, 49152 elsewhere. The UDP port of the
    same number, which no test uses otherwise, reserves it among the processes of the tests.
    """
    for port in range(20_000 + os.getpid() % 10_000, 32_768):
        with socket.socket(type=socket.SOCK_DGRAM) as claim, socket.socket() as probe:
            try:
                claim.bind(("127.0.0.1", port))
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            probe.close()
            yield port
            return
    raise AssertionError("no port is free")
