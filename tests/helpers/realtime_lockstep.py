"""Sessions of a server in simulated time: a client that sends messages at given times, and the messages that it gets."""

import base64
import json

import anyio

from sca.config import load_settings
from sca.infer.clock import simulate
from sca.infer.device_worker import InlineWorker
from sca.infer.engines.parrot import ParrotEngine
from sca.infer.server.core.state import ServerContext
from sca.infer.server.protocols.realtime.session import RealtimeConnection

WITH_TIMES = ("audio_start_ms", "audio_end_ms")


class SimulatedSocket:
    """A client's WebSocket. It disconnects after its last message and a pause.

    Args:
        messages: Pairs of a time in seconds and a message; times do not decrease.
        tail_s: The pause.
    """

    def __init__(self, messages, tail_s):
        self.scope = {"type": "websocket", "subprotocols": [], "headers": []}
        self.headers, self.sent = {}, []
        self._messages, self._tail_s = iter(messages), tail_s

    async def receive(self):
        at_s, message = next(self._messages, (None, None))
        if message is None:
            await anyio.sleep(self._tail_s)
            return {"type": "websocket.disconnect", "code": 1000}
        await anyio.sleep(max(0.0, at_s - anyio.current_time()))
        content = {"bytes": message} if isinstance(message, bytes) else {"text": json.dumps(message)}
        return {"type": "websocket.receive", **content}

    async def send_text(self, text):
        self.sent.append((anyio.current_time(), json.loads(text)))

    async def send_bytes(self, data):
        self.sent.append((anyio.current_time(), data))

    async def close(self, code, reason):
        pass


def append_event(data):
    return {"type": "input_audio_buffer.append", "audio": base64.b64encode(data).decode()}


def hold(messages, *, engine=None, connect=RealtimeConnection, tail_s=20.0, step_ms=5.0, turns=None, **overrides):
    """Hold a session; return the messages of the server with their times in seconds.

    Args:
        messages: See `SimulatedSocket`.
        engine: The engine; None is a parrot.
        connect: The connection of the protocol.
        tail_s: See `SimulatedSocket`.
        step_ms: The duration of a step.
        turns: Makes turn detectors, as `ServerContext.turn_detectors`.
        **overrides: Settings, with `__` for the dot.
    """

    async def main():
        settings = load_settings(overrides={k.replace("__", "."): v for k, v in overrides.items()}, env={})
        context = ServerContext(ParrotEngine() if engine is None else engine, settings)
        context._worker, context.turn_detectors = InlineWorker(step_ms), turns
        socket = SimulatedSocket(messages, tail_s)
        with context.sessions.acquire("realtime", {}) as slot:
            await connect(context, socket, slot).run()
        return socket.sent

    return simulate(main)


def outline(sent):
    """Return the events without ids and times of arrival, and the spoken audio; deltas of one response are one."""
    kinds, audio = [], b""
    for _, event in sent:
        kind = event["type"]
        if kind == "response.output_audio.delta":
            audio += base64.b64decode(event["delta"])
        response = event.get("response", {})
        entry = (kind, *(event.get(name) for name in WITH_TIMES), event.get("delta") if "transcript" in kind else None)
        entry += (response.get("status"), (response.get("status_details") or {}).get("reason"))
        if not kinds or kinds[-1] != entry or "delta" not in kind:
            kinds.append(entry)
    return kinds, audio
