"""Waiting, and clients with timeouts, for a busy machine. The timeouts of the libraries are a few seconds."""

import time
from collections.abc import Callable
from functools import partial

from httpx._config import DEFAULT_TIMEOUT_CONFIG
from websockets.sync import client

__all__ = ["TIMEOUT_S", "connect", "until"]

TIMEOUT_S = 60.0

connect = partial(client.connect, proxy=None, open_timeout=TIMEOUT_S)


def until(holds: Callable[[], object], seconds: float = TIMEOUT_S) -> None:
    """Wait until another thread or process makes a condition true.

    A list that a server fills, a count, or a state must be awaited with this before a test reads it.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"still not true after {seconds:g} s"
        time.sleep(0.005)


for _phase in ("connect", "read", "write", "pool"):  # for all requests without an explicit timeout
    setattr(DEFAULT_TIMEOUT_CONFIG, _phase, TIMEOUT_S)
