"""Clients with timeouts that are long enough for a busy machine; the defaults of the libraries are a few seconds."""

from functools import partial

from httpx._config import DEFAULT_TIMEOUT_CONFIG
from websockets.sync import client

__all__ = ["PATIENCE_S", "connect"]

PATIENCE_S = 60.0

connect = partial(client.connect, proxy=None, open_timeout=PATIENCE_S)

for _wait in ("connect", "read", "write", "pool"):  # for requests without a timeout of their own
    setattr(DEFAULT_TIMEOUT_CONFIG, _wait, PATIENCE_S)
