"""A client of `WS /ws/pcm16` that keeps what it sent and counts what it got, so that it can come back when a connection breaks."""

import json
import socket
from contextlib import suppress

from websockets.exceptions import ConnectionClosed

from tests.helpers.patience import PATIENCE_S, connect

__all__ = ["Caller"]


class Caller:
    """Sends with `send`, reads with `read`.

    documents, frames: what came, in order.   code: of the last close, None for a break.
    """

    def __init__(self, server, *, acks=True, **options):
        self.server, self.acks, self.options = server, acks, options
        self.sent, self.received = [], 0
        self.documents, self.frames = [], []
        self.token = self.code = None
        self.ws = self.open()
        self.send({"resume": True})
        self.until("session")

    def open(self, token=None, received=0, **options):
        offers = ["sca.pcm16"] if token is None else ["sca.pcm16", f"sca.resume.{token}.{received}"]
        return connect(self.server.ws, proxy=None, subprotocols=offers, **self.options | options).__enter__()

    def send(self, message):
        """Send, and keep it in case that it does not arrive."""
        self.sent.append(message if isinstance(message, bytes) else json.dumps(message))
        self._put(self.sent[-1])

    def _put(self, message):
        with suppress(ConnectionClosed):
            self.ws.send(message)

    def read(self, timeout=PATIENCE_S):
        """The next message; None when the connection is over."""
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

    def until(self, kind):
        while True:
            message = self.read()
            assert message is not None, f"closed with {self.code} before {kind}"
            if isinstance(message, dict) and message.get("type") == kind:
                return message

    def hang_up(self):
        """Break the connection from this side, without a close."""
        self.ws.socket.shutdown(socket.SHUT_RDWR)

    def resume(self):
        """Come back; what was not read until now on the old connection is not counted."""
        old, self.ws = self.ws, self.open(self.token, self.received)
        resumed = self.until("resumed")
        old.close_socket()
        return resumed

    def finish(self):
        """End, and read all there is, coming back as often as it takes."""
        self.send({"type": "end"})
        while True:
            while self.read() is not None:
                pass
            if self.code is not None:
                return self.code
            self.resume()
