"""A server for client tests with the duplex protocol of vLLM-Omni 0.30.

Written after the wheel 0.30.0: vllm_omni/entrypoints/duplex/{serving,realtime_input,session_attachment}.py (handshake,
resume, journal), vllm_omni/protocol/{realtime,duplex}/events.py (the events), vllm_omni/engine/duplex/session/
{runner,overlap_policy,playback_ledger}.py (commits, playback, cancel), and the plugins of MiniCPM-o 4.5
(`takes_turns`: the model decides, needs `ref_audio`) and Qwen3-Omni (the client commits, refuses `auto_response`).
"""

import base64
import contextlib
import itertools
import threading

from tests.helpers.socket_server import SocketServer, SocketSession, encoded, loudness, pieces_of, spoken_again

UNIT = 2 * 16_000
"""Bytes of one unit of the model that takes turns, 1 s."""
_RATE = 48
"""Bytes per ms at 24 kHz."""


class DuplexState:
    """One session of the server, on any number of connections."""

    def __init__(self, server, number):
        self.server, self.id, self.tokens = server, f"duplex-{number}", itertools.count(1)
        self.token = f"rt_{number}_0"
        self.connection = None
        self.journal, self.sequence, self.acknowledged = [], 0, 0
        self.config, self.turns, self.acks, self.heard = {}, [], [], bytearray()
        self.buffer, self.unit, self.speech = bytearray(), bytearray(), bytearray()
        self.responses, self.active, self.cancelled = {}, None, threading.Event()
        self.is_deferred, self.is_closed, self.done, self.cleared = False, False, [], []
        self.lock = threading.RLock()

    def emit(self, kind, **fields):
        with self.lock:
            self.sequence += 1
            event = {"type": kind, "event_id": f"event_{self.sequence}", "server_event_seq": self.sequence, **fields}
            self.journal.append(event)
            with contextlib.suppress(Exception):  # without a connection it stays in the journal
                self.connection.write(event)

    def rotate(self):
        self.token = f"rt_{self.id}_{next(self.tokens)}"
        return self.token

    def document(self):
        level = "model_native_duplex" if self.server.takes_turns else "turn_based_duplex"
        capabilities = {
            "implementation_level": level,
            "supports_barge_in": self.server.can_interrupt,
            "supports_session_resume": self.server.can_resume,
            "supports_input_append": True,
            "chunk_period_ms": 1000,
        }
        return {"object": "realtime.session", "id": self.id, "capabilities": capabilities, **self.config}

    # Input

    def error(self, code, line, event=None):
        self.emit("error", error={"type": "invalid_request_error", "code": code, "message": line,
                                  "event_id": (event or {}).get("event_id")})  # fmt: skip

    def handle(self, event):
        with self.lock:
            handler = {
                "input_audio_buffer.append": self.append,
                "input_audio_buffer.commit": self.commit,
                "input_audio_buffer.clear": self.clear_input,
                "output_audio_buffer.clear": self.clear_output,
                "response.cancel": self.clear_output,
                "playback.ack": self.playback,
                "session.heartbeat": lambda _: self.emit("session.heartbeat_ack", session_id=self.id),
                "session.event_ack": self.acknowledge,
                "session.close": self.close,
            }.get(event["type"])
            if handler is None:
                self.server.problems.append(f"unknown event {event['type']}")
            else:
                handler(event)

    def append(self, event):
        if (event["format"], event["sample_rate_hz"]) != ("pcm16", 16_000):
            self.server.problems.append(f"audio in another format: {event['format']} {event['sample_rate_hz']}")
        pcm = base64.b64decode(event["audio"], validate=True)
        self.heard += pcm
        if self.server.takes_turns:
            self.unit += pcm
            while len(self.unit) >= UNIT:
                self.decide(bytes(self.unit[:UNIT]))
                del self.unit[:UNIT]
        elif event.get("is_speech") or loudness(pcm) >= 0.003:
            self.buffer += pcm
        else:
            self.emit("response.listen", session_id=self.id, epoch=0, response={"status": "listening"})

    def decide(self, unit):
        """Listen while there is speech, answer after it."""
        if loudness(unit) >= 0.01 or not self.speech or self.active is not None:
            self.speech += unit if loudness(unit) >= 0.01 else b""
            return self.emit("response.listen", session_id=self.id, epoch=0, response={"status": "listening"})
        turn = bytes(self.speech)
        self.speech.clear()
        return self.respond(turn)

    def commit(self, event):
        if not self.buffer:
            return self.error("input_audio_buffer_empty", "the buffer is empty", event)
        self.emit("input_audio_buffer.committed", item_id=f"item_user_{len(self.turns)}", event={})
        if self.active is not None or self.unplayed_ms() > 0:
            self.is_deferred = True  # until the client has played or cleared what it was sent
            return None
        return self.answer_buffer()

    def answer_buffer(self):
        turn = bytes(self.buffer)
        self.buffer.clear()
        self.respond(turn)

    def unplayed_ms(self):
        return max((sent - played for sent, played in self.responses.values()), default=0)

    def clear_input(self, event):
        self.buffer.clear()
        self.emit("input_audio_buffer.cleared")

    def playback(self, event):
        response_id, played = event["response_id"], event["played_ms"]
        if response_id not in self.responses:
            return self.error("playback_item_not_found", "no such response", event)
        self.acks.append((response_id, played, event.get("truncate", False)))
        sent, _ = self.responses[response_id]
        self.responses[response_id] = (sent, played)
        self.emit("playback.acknowledged", event={"played_ms": played, "truncate": event.get("truncate", False)})
        return self.answer_deferred()

    def answer_deferred(self):
        if self.is_deferred and self.active is None and self.unplayed_ms() <= 0:
            self.is_deferred = False
            self.answer_buffer()

    def clear_output(self, event):
        response_id = event["response_id"]
        self.cleared.append(response_id)
        self.cancelled.set()
        self.server.go.release()
        self.responses[response_id] = (0, 0)
        self.emit("output_audio_buffer.cleared", response_id=response_id)
        if self.active == response_id:
            self.end("cancelled", {"type": "cancelled", "reason": "client_cancelled"})
        self.answer_deferred()

    def acknowledge(self, event):
        sequence = event["server_event_seq"]
        if not self.acknowledged < sequence <= self.sequence:
            self.server.problems.append(f"acknowledged {sequence} after {self.acknowledged} of {self.sequence}")
        self.acknowledged = sequence
        self.journal = [one for one in self.journal if one["server_event_seq"] > sequence]

    def close(self, event):
        self.is_closed = True
        self.cancelled.set()
        self.emit("session.closed", session_id=self.id, reason=event["reason"], event={})

    # Output

    def respond(self, turn):
        self.turns.append(turn)
        response_id = f"resp_{len(self.turns)}"
        self.active, self.cancelled = response_id, threading.Event()
        self.responses[response_id] = (0, 0)
        arguments = self.server.next_act(), turn, response_id, self.cancelled
        threading.Thread(target=self.speak, args=arguments, daemon=True).start()

    def speak(self, act, turn, response_id, cancelled):
        try:
            self._speak(act, turn, response_id, cancelled)
        except Exception as error:
            self.server.problems.append(repr(error))

    def _speak(self, act, turn, response_id, cancelled):
        place = {"response_id": response_id, "item_id": f"item_{response_id}", "output_index": 0, "content_index": 0}
        response = {"id": response_id, "object": "realtime.response", "status": "in_progress", "output": []}
        item = {"id": place["item_id"], "type": "message", "role": "assistant", "status": "in_progress", "content": []}
        self.emit("response.created", response_id=response_id, response=response)
        if act == "listen":
            self.emit("response.listen", response_id=response_id, session_id=self.id, epoch=0,
                      response={"id": response_id, "status": "listening"})  # fmt: skip
            return self.end("completed")
        self.emit("conversation.item.added", previous_item_id=None, item=item)
        self.emit("response.output_item.added", response_id=response_id, output_index=0, item=item)
        if not self.connection.wait(act, cancelled):
            return None
        self.emit("response.speak", **place, metadata={"model_speak": True})
        words = f"{len(turn) // 2} samples"
        for i, piece in enumerate(pieces_of(spoken_again(turn))):
            if act == "slow":
                self.server.go.acquire()
            if act == "drop" and i == 2:
                self.connection.drop()
            if act == "die" and i == 2:
                self.is_closed = True  # and no session that could be resumed
                return self.connection.drop()
            with self.lock:
                if cancelled.is_set():
                    return None
                sent, played = self.responses[response_id]
                self.responses[response_id] = (sent + len(piece) // _RATE, played)
                self.emit("response.output_audio.delta", **place, delta=encoded(piece), format="pcm16",
                          sample_rate_hz=24_000, metadata={"epoch": 0, "model_speak": True})  # fmt: skip
                self.emit("response.output_audio_transcript.delta", **place, delta=words if i == 0 else "")
        with self.lock:
            if not cancelled.is_set():
                self.emit("response.output_audio.done", **place)
                self.end("completed")
        return None

    def end(self, status, details=None):
        response_id, self.active = self.active, None
        self.done.append((response_id, status))
        response = {"id": response_id, "object": "realtime.response", "status": status, "status_details": details}
        self.emit("response.done", response_id=response_id, response=response)
        self.emit("rate_limits.updated", rate_limits=[])


class DuplexSession(SocketSession):
    """One connection. `state` is the session of the server on it; None if it was refused."""

    state = None

    def run(self):
        first = self.read(self.socket.recv(10))
        state = self.resume(first) if first["type"] == "session.resume" else self.open(first)
        if state is None:
            return
        self.state = state
        for message in self.socket:
            event = self.read(message)
            self.state.handle(event)
            if self.state.is_closed:
                return

    def refuse(self, code, line):
        self.write({"type": "error", "event_id": "event_0",
                    "error": {"type": "invalid_request_error", "code": code, "message": line}})  # fmt: skip

    def open(self, event):
        config, server = event["session"], self.server
        if config["extra_body"]["auto_response"] and not server.takes_turns:
            return self.refuse("invalid_duplex_runtime_config", "Qwen requires server VAD or explicit commits")
        if server.needs_ref_audio and not config.get("ref_audio", "").startswith("data:audio/wav;base64,"):
            return self.refuse("ref_audio_required", "MiniCPM-o duplex audio output requires ref_audio")
        state = DuplexState(server, len(server.states))
        server.states.append(state)
        state.config, state.connection = config, self
        created = {"attachment_generation": 1, "resume_token": state.token} if server.can_resume else {}
        self.write({"type": "session.created", "event_id": "event_0", "session": state.document(), **created})
        state.emit("session.updated", session=state.document())
        return state

    def resume(self, event):
        state = next((one for one in self.server.states if one.id == event["session_id"]), None)
        if state is None or state.is_closed:
            return self.refuse("session_resume_expired", f"Unknown or expired duplex session: {event['session_id']}")
        if event["resume_token"] != state.token:
            return self.refuse("invalid_resume_token", "Invalid duplex session resume token")
        with state.lock:
            state.connection = self
            self.write({"type": "session.resumed", "event_id": "event_0", "session_id": state.id,
                        "session": state.document(), "attachment_generation": 2, "resume_token": state.rotate()})  # fmt: skip
            for one in state.journal:
                if one["server_event_seq"] > event["last_received_server_event_seq"]:
                    self.write(one)
        return state


class DuplexServer(SocketServer):
    """See the module.

    Args:
        takes_turns: Whether the model decides when it speaks.
        can_interrupt: Whether the server has `supports_barge_in`.
        can_resume: Whether it has `supports_session_resume`.
        needs_ref_audio: Whether a session needs a recording of the voice.
        acts: See `SocketServer`; `drop`: the connection breaks, and the answer goes on in the journal; `listen`: the
            model listens instead of answering.

    Attributes:
        states: The sessions, as `DuplexState`s.
    """

    session_class = DuplexSession

    def __init__(self, takes_turns=False, can_interrupt=True, can_resume=True, needs_ref_audio=False, acts=()):
        super().__init__(acts)
        self.takes_turns, self.can_interrupt, self.can_resume = takes_turns, can_interrupt, can_resume
        self.needs_ref_audio = needs_ref_audio
        self.states = []
