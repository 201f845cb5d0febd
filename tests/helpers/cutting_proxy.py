"""A proxy that cuts connections in the middle of an answer, or lets them go dead without closing them."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass
class CuttingProxy:
    """The state of the proxy.

    Attributes:
        url: Its address.
        cuts: How many connections it will still cut.
        after_bytes: Bytes of answers on a connection after which it is cut.
        cut: How many connections it has cut.
        holes: How often the line went dead: connections that were open then stay open, and nothing passes on them.
    """

    url: str = ""
    cuts: int = 0
    after_bytes: int = 50_000
    cut: int = 0
    holes: int = 0


@contextmanager
def cutting_proxy(target: str) -> Iterator[CuttingProxy]:
    """Start a proxy of a server.

    Args:
        target: The address of the server.
    """
    proxy = CuttingProxy()
    where = urlsplit(target)
    listener = socket.create_server(("127.0.0.1", 0))
    proxy.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    lock = threading.Lock()
    opened: list[socket.socket] = []

    def serve(client: socket.socket) -> None:
        server = socket.create_connection((where.hostname, where.port))
        opened.extend((client, server))
        born = proxy.holes
        threading.Thread(target=copy_requests, args=(client, server, born), daemon=True).start()
        sent = 0
        with suppress(OSError):
            while data := server.recv(16_384):
                if proxy.holes != born:
                    return
                with lock:
                    if proxy.cuts and sent + len(data) > proxy.after_bytes:
                        proxy.cuts -= 1
                        proxy.cut += 1
                        break
                client.sendall(data)
                sent += len(data)
        close(client, server)

    def copy_requests(client: socket.socket, server: socket.socket, born: int) -> None:
        with suppress(OSError):
            while data := client.recv(16_384):
                if proxy.holes != born:
                    return
                server.sendall(data)
        close(client, server)

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield proxy
    finally:
        listener.close()
        close(*opened)


def close(*sockets: socket.socket) -> None:
    for one in sockets:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
