"""A client of `WS /ws/pcm16` that keeps sent messages and counts received ones, to resume after a broken connection."""

import json
import socket
from contextlib import suppress

from websockets.exceptions import ConnectionClosed

from tests.helpers.timeouts import TIMEOUT_S, connect

__all__ = ["ResumableClient"]


class ResumableClient:
    """A client with one session.

    Attributes:
        documents: The received JSON documents, in order.
        frames: The received binary messages, in order.
        code: The code of the last close; None if the connection broke.
    """

    def __init__(self, server, *, acks=True, **options):
        self.server, self.acks, self.options = server, acks, options
        self.sent, self.received = [], 0
        self.documents, self.frames = [], []
        self.token = self.code = None
        self.ws = self.open()
        self.send({"resume": True})
        self.read_until("session")

    def open(self, token=None, received=0, **options):
        subprotocols = ["sca.pcm16"] if token is None else ["sca.pcm16", f"sca.resume.{token}.{received}"]
        return connect(self.server.ws, proxy=None, subprotocols=subprotocols, **self.options | options).__enter__()

    def send(self, message):
        """Send a message and keep it in case it does not arrive."""
        self.sent.append(message if isinstance(message, bytes) else json.dumps(message))
        self._put(self.sent[-1])

    def _put(self, message):
        with suppress(ConnectionClosed):
            self.ws.send(message)

    def read(self, timeout=TIMEOUT_S):
        """Return the next message; None when the connection is closed or broken."""
        try:
            message = self.ws.recv(timeout=timeout)
        except ConnectionClosed as closed:
            self.code = closed.rcvd.code if closed.rcvd else None
            return None
        if isinstance(message, bytes):
            self.received += 1
            self.frames.append(message)
            return message
        document = json.loads(message)
        if document.get("type") == "resumed":
            self.token = document["resume_token"]
            for missing in self.sent[document["received"] :]:
                self._put(missing)
            return document
        self.received += 1
        self.documents.append(document)
        if document.get("type") == "session":
            self.token = document["resume_token"]
        if self.acks and (self.received % 5 == 0 or document.get("type") == "bye"):
            self.send({"type": "ack", "received": self.received})
        return document

    def read_until(self, kind):
        """Return the next document of a type."""
        while True:
            message = self.read()
            assert message is not None, f"closed with {self.code} before {kind}"
            if isinstance(message, dict) and message.get("type") == kind:
                return message

    def break_connection(self):
        """Break the connection from this side, without a close message."""
        self.ws.socket.shutdown(socket.SHUT_RDWR)

    def resume(self):
        """Resume on a new connection. Unread messages of the old one are not counted as received."""
        old, self.ws = self.ws, self.open(self.token, self.received)
        resumed = self.read_until("resumed")
        old.close_socket()
        return resumed

    def finish(self):
        """End the session, read the remaining messages, resume if necessary, and return the close code."""
        self.send({"type": "end"})
        while True:
            while self.read() is not None:
                pass
            if self.code is not None:
                return self.code
            self.resume()
