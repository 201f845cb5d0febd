"""TCP and TLS connections whose operations end at a common deadline.

The timeouts of HTTP clients limit one operation of a socket each, so a peer that sends a byte now and then is waited for
without end. Here each operation gets the time that is left until the deadline.
"""

import socket
import ssl
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import suppress
from ipaddress import ip_address

import httpcore
from typing_extensions import override

__all__ = ["DeadlineBackend"]

_SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


class DeadlineBackend(httpcore.NetworkBackend):
    """Opens connections for httpcore. All its connections have the same deadline.

    Attributes:
        deadline_s: When operations end, on `time.monotonic`.
    """

    def __init__(self) -> None:
        self.deadline_s = 0.0
        self._backend = httpcore.SyncBackend()

    def left_s(self) -> float:
        """Return the time that is left.

        Raises:
            TimeoutError: None is left.
        """
        left_s = self.deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s

    @override
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[_SocketOption] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = OSError(f"{host} has no address")
        for address in self._addresses(host, port):
            try:
                stream = self._backend.connect_tcp(address, port, self.left_s(), local_address, socket_options)
            except httpcore.ConnectError as error:
                failure = error
            else:
                return _DeadlineStream(stream, self)
        raise failure

    def _addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host. Looking them up cannot be limited, so a thread does it."""
        with suppress(ValueError):
            return [str(ip_address(host))]
        found: Future[list[str]] = Future()

        def look_up() -> None:
            try:
                infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                found.set_result([str(info[4][0]) for info in infos])
            except (OSError, UnicodeError) as error:
                found.set_exception(httpcore.ConnectError(getattr(error, "strerror", None) or str(error)))
            except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
                found.set_exception(error)

        threading.Thread(target=look_up, name="look up", daemon=True).start()
        return found.result(self.left_s())


class _DeadlineStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, backend: DeadlineBackend) -> None:
        self._stream, self._backend = stream, backend

    @override
    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._backend.left_s())

    @override
    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # Not `self._stream.write`, which begins its timeout anew with every piece that the peer takes.
        connection: socket.socket = self._stream.get_extra_info("socket")
        rest = memoryview(buffer)
        while rest:
            connection.settimeout(self._backend.left_s())
            try:
                rest = rest[connection.send(rest) :]
            except TimeoutError:
                raise
            except OSError as error:
                raise httpcore.WriteError(error) from error

    @override
    def close(self) -> None:
        self._stream.close()

    @override
    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, self._backend.left_s())
        return _DeadlineStream(stream, self._backend)

    @override
    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)
