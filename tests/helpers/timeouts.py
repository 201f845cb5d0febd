"""Clients with timeouts for a busy machine. Those of the libraries are a few seconds."""

from functools import partial

from httpx._config import DEFAULT_TIMEOUT_CONFIG
from websockets.sync import client

__all__ = ["TIMEOUT_S", "connect"]

TIMEOUT_S = 60.0

connect = partial(client.connect, proxy=None, open_timeout=TIMEOUT_S)

for _phase in ("connect", "read", "write", "pool"):  # for all requests without an explicit timeout
    setattr(DEFAULT_TIMEOUT_CONFIG, _phase, TIMEOUT_S)
