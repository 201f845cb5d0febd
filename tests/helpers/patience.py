"""Clients that wait as long as a busy machine needs, where those of the libraries give up after seconds."""

from functools import partial

from httpx._config import DEFAULT_TIMEOUT_CONFIG
from websockets.sync import client

__all__ = ["PATIENCE_S", "connect"]

PATIENCE_S = 60.0

connect = partial(client.connect, proxy=None, open_timeout=PATIENCE_S)

for _wait in ("connect", "read", "write", "pool"):  # of every request that names no timeout
    setattr(DEFAULT_TIMEOUT_CONFIG, _wait, PATIENCE_S)
