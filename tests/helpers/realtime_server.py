"""A small server for client tests, with the OpenAI Realtime protocol as in vLLM-Omni's turn-based endpoint.

It validates all events with the protocol's own types (the package openai, which vLLM-Omni uses too), so invalid client
events are answered as there, and invalid events of its own fail the test. `acts` scripts unusual behaviour.
"""

import base64
import contextlib
import json
import threading
from urllib.parse import parse_qs, urlsplit

from openai.types.realtime import RealtimeClientEvent, RealtimeServerEvent
from pydantic import TypeAdapter, ValidationError
from websockets.exceptions import ConnectionClosed

from tests.helpers.socket_server import PIECE, SocketServer

CLIENT, SERVER = TypeAdapter(RealtimeClientEvent), TypeAdapter(RealtimeServerEvent)


class Conversation:
    """One connection. `turns` has the audio of every commit, `played` the truncation in ms of each item id."""

    def __init__(self, server, socket):
        self.server, self.socket = server, socket
        self.query = parse_qs(urlsplit(socket.request.path).query)
        self.config, self.turns, self.played, self.done, self.received = {}, [], {}, [], []
        self.buffer = bytearray()
        self.cancelled = threading.Event()
        self.responding = None
        self.response_id = None
        self._lock = threading.Lock()
        self._count = 0

    def id(self, kind):
        self._count += 1
        return f"{kind}_{self._count}"

    @property
    def stopped(self):
        """The event that ends the response in progress."""
        return self.cancelled

    def drop(self):
        with contextlib.suppress(OSError):
            self.socket.socket.shutdown(2)

    def send(self, type_, **fields):
        event = {"type": type_, "event_id": self.id("evt"), **fields}
        if type_ != "rubbish":
            SERVER.validate_python(event, strict=False)
        if self.server.beta:
            event["type"] = type_.replace("output_audio", "audio")
        with self._lock:
            self.socket.send(json.dumps(event))

    def error(self, message, code, event_id=None):
        self.send(
            "error", error={"type": "invalid_request_error", "message": message, "code": code, "event_id": event_id}
        )

    def run(self):
        self.send("session.created", session={"type": "realtime", "model": "tiny"})
        for message in self.socket:
            try:
                event = CLIENT.validate_json(message)
            except ValidationError as error:
                self.server.problems.append(str(error))
                self.error("Invalid or unrecognized client event", "invalid_event")
                continue
            self.received.append(event.type)
            if not self.server.deaf:
                getattr(self, event.type.replace(".", "_"))(event)

    def session_update(self, event):
        session = event.session.model_dump(exclude_unset=True)
        sound = session.get("audio", {})
        rates = {sound.get(way, {}).get("format", {}).get("rate", 24000) for way in ("input", "output")}
        if rates != {24000}:
            return self.error("Only 24 kHz PCM16 audio is supported", "unsupported_audio_format", event.event_id)
        if session.get("model") == "none":
            return self.error("The model `none` does not exist", "model_not_found", event.event_id)
        self.config = session
        return self.send("session.updated", session=session)

    def input_audio_buffer_append(self, event):
        self.buffer += base64.b64decode(event.audio, validate=True)

    def input_audio_buffer_commit(self, event):
        if not self.buffer:
            return self.error("Input audio buffer is empty", "invalid_request_error", event.event_id)
        self.turns.append(bytes(self.buffer))
        self.buffer.clear()
        return self.send("input_audio_buffer.committed", item_id=self.id("item"), previous_item_id=None)

    def response_create(self, event):
        if self.responding is not None:
            self.cancel()
        act = self.server.acts.pop(0) if self.server.acts else "answer"
        if act == "refuse":
            return self.error("the input is too long", "invalid_request_error", event.event_id)
        self.response_id = self.id("resp")
        self.cancelled = threading.Event()
        self.send("response.created", response=self.response("in_progress"))
        arguments = act, self.response_id, self.cancelled
        self.responding = threading.Thread(target=self.respond, args=arguments, daemon=True)
        self.responding.start()
        return None

    def response_cancel(self, event):
        if self.responding is None or not self.responding.is_alive() or event.response_id != self.response_id:
            return self.error("No active response", "response_cancel_not_active", event.event_id)
        return self.cancel()

    def conversation_item_truncate(self, event):
        self.played[event.item_id] = event.audio_end_ms
        self.send(
            "conversation.item.truncated",
            item_id=event.item_id,
            content_index=event.content_index,
            audio_end_ms=event.audio_end_ms,
        )

    def cancel(self):
        self.cancelled.set()
        self.server.go.release()
        self.responding.join(10)
        self.responding = None

    def response(self, status, **more):
        return {"id": self.response_id, "object": "realtime.response", "status": status, "output": [], **more}

    def respond(self, act, response_id, cancelled):
        try:
            self._respond(act, response_id, cancelled)
        except (ConnectionClosed, OSError):
            pass
        except Exception as error:
            self.server.problems.append(repr(error))

    def _respond(self, act, response_id, cancelled):
        if act == "silent":
            cancelled.wait(60)
            return None
        item = {"id": self.id("item"), "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        place = {"response_id": response_id, "output_index": 0}
        part = place | {"item_id": item["id"], "content_index": 0}
        self.send("response.output_item.added", **place, item=item)
        self.send("response.content_part.added", **part, part={"type": "audio", "transcript": ""})
        sound = self.turns[-1]
        words = f"{len(sound) // 2} samples".split(" ")
        size = len(sound) if act == "once" else PIECE
        pieces = [sound[i : i + size] for i in range(0, len(sound), size)]
        for i, piece in enumerate(pieces):
            if act == "slow":
                self.server.go.acquire()
            if cancelled.is_set():
                break
            if act == "fail" and i == len(pieces) // 2:
                error = {"type": "server_error", "code": None}
                failed = {"type": "failed", "error": error}
                return self.end("failed", status_details=failed)
            if act == "drop" and i == 2:
                return self.socket.socket.shutdown(2)
            if words:
                self.send("response.output_audio_transcript.delta", **part, delta=words.pop(0) + " ")
            delta = "?" if act == "rubbish" and i == 1 else base64.b64encode(piece).decode()
            self.send("response.output_audio.delta", **part, delta=delta)
        if cancelled.is_set():
            details = {"type": "cancelled", "reason": "client_cancelled"}
            return self.end("cancelled", status_details=details)
        self.send("response.output_audio.done", **part)
        self.send("response.output_item.done", **place, item=item | {"status": "completed"})
        return self.end("completed")

    def end(self, status, **more):
        self.done.append(status)
        self.send("response.done", response=self.response(status, **more))


class RealtimeServer(SocketServer):
    """A context manager that listens on a free port of 127.0.0.1. It repeats each turn, with the number of its samples as text.

    Args:
        key: The key that clients must send.
        acts: The behaviour for each `response.create`, then "answer": `answer`, `refuse` (an error event), `fail` (half
            an answer, then failed), `silent` (no answer), `slow` (each piece waits for `go`), `drop` (the connection
            ends after two pieces), `rubbish` (a piece is not base64), `once` (one piece).
        deaf: Whether the server never starts a session.
        beta: Whether it uses the beta names of events.

    Attributes:
        sessions: One `Conversation` per connection.
        admits: Connections wait until it is set.
    """

    ends = (ConnectionClosed,)
    session_class = Conversation

    def __init__(self, key=None, acts=(), deaf=False, beta=False):
        super().__init__(acts)
        self.key, self.deaf, self.beta = key, deaf, beta
        self.refuse_connections = 0
        self.admits = threading.Event()
        self.admits.set()

    def stop(self):
        self.admits.set()
        super().stop()

    def check_request(self, connection, request):
        if (refused := super().check_request(connection, request)) is not None:
            return refused
        self.admits.wait(60)
        if self.refuse_connections:
            self.refuse_connections -= 1
            return connection.respond(503, "full\n")
        if self.key is not None and request.headers.get("Authorization") != f"Bearer {self.key}":
            return connection.respond(401, "no\n")
        return None
