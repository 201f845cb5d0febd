"""The start of a session: which protocol the server speaks, and the events that configure it.

The first message of the server decides. `session.created` with a `session` is OpenAI Realtime; `session.created` with
only `id` and `created` is the flat protocol of vLLM-Omni 0.20 to 0.30. A duplex server of vLLM-Omni 0.30 says nothing
until it has our `session.update`, and then sends `session.created` with `capabilities`. Anything else is refused.
"""

import base64
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sca.config import VllmConfig
from sca.errors import ConfigError, UpstreamError
from sca.infer.engines.vllm_omni import protocol
from sca.infer.engines.vllm_omni.dialect import Dialect
from sca.infer.engines.vllm_omni.duplex import DuplexDialect
from sca.infer.engines.vllm_omni.flat import FlatDialect
from sca.infer.engines.vllm_omni.openai_realtime import OpenAIDialect
from sca.infer.engines.vllm_omni.protocol import Event
from sca.textutil import first_line

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

__all__ = ["SUPPORTED", "Handshake", "OpenAgainError", "read_ref_audio"]

log = logging.getLogger(__name__)

T = TypeVar("T")

SUPPORTED = "vLLM-Omni 0.20 or later, or a server of the OpenAI Realtime protocol, is needed"

_GREETING_S = 0.5
"""Servers that start a session by themselves say so when they accept the connection. A duplex server says nothing.

A greeting that is later than this costs another connection.
"""

_MOST_REF_AUDIO = 8 << 20
_WAITS_FOR_TURNS = "invalid_duplex_runtime_config"
_RESUME_LATER = "runtime_resume_failed"

_HINTS = {
    "ref_audio_required": "set vllm.ref_audio to a WAV file of the voice, a few seconds of speech",
    "multi_api_duplex_unsupported": "start the server with one API worker (--api-server-count 1)",
    "resource_exhausted": "duplex_session.max_sessions of the server's deployment limits its sessions; try again later",
    "unsupported": "the model of that server, or its stage configuration, has no realtime endpoint",
}


class OpenAgainError(Exception):
    """The server refused the first form of the session; another connection tries the second."""


def read_ref_audio(path: Path) -> str:
    """Return an audio file as a data URL.

    Raises:
        ConfigError: It cannot be read, is not a WAV file, or is too large.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"vllm.ref_audio cannot be read: {path}: {error.strerror or error}") from error
    if data[:4] != b"RIFF" or len(data) > _MOST_REF_AUDIO:
        raise ConfigError(
            f"vllm.ref_audio should be a WAV file of at most {_MOST_REF_AUDIO >> 20} MB, got {path} ({len(data)} bytes)",
            hint="a few seconds of speech of the voice are enough",
        )
    return f"data:audio/wav;base64,{base64.b64encode(data).decode('ascii')}"


class Handshake:
    """Starts the sessions of one conversation, one per connection.

    Args:
        where: The server, for messages.
        prompt: The system prompt.
        vllm: The settings.
    """

    def __init__(self, where: str, prompt: str, vllm: VllmConfig) -> None:
        self._where, self._prompt, self._vllm = where, prompt, vllm
        self._ref_audio = None if vllm.ref_audio is None else read_ref_audio(vllm.ref_audio)
        self._model_takes_turns = True  # asked for first; a model that waits for turns refuses it
        self._greeting_s = _GREETING_S
        self._has_warned = False

    def start(self, socket: "ClientConnection") -> Dialect:
        """Find the protocol and start a session.

        Raises:
            OpenAgainError: The session must be started in another form, on another connection.
            UpstreamError: The server refuses the session, does not answer, or has an unknown protocol.
        """
        return self._guarded(lambda: self._start(_Exchange(socket, self._vllm.connect_timeout_s)))

    def resume(self, socket: "ClientConnection", dialect: DuplexDialect, resume: Event) -> list[Event] | None:
        """Continue a session on another connection.

        Args:
            socket: The connection.
            dialect: The session.
            resume: Its `resume_event`.

        Returns:
            The events that were missed; None if the session does not exist any more.

        Raises:
            UpstreamError: The server does not answer.
        """
        return self._guarded(lambda: self._resume(_Exchange(socket, self._vllm.connect_timeout_s), dialect, resume))

    def _guarded(self, work: Callable[[], T]) -> T:
        from websockets.exceptions import ConnectionClosed

        try:
            return work()
        except TimeoutError as error:
            raise UpstreamError(
                f"{self._where} does not start a session within {self._vllm.connect_timeout_s:g} s", hint=SUPPORTED
            ) from error
        except protocol.ProtocolError as error:
            raise UpstreamError(f"{self._where} sent {error}", hint=SUPPORTED) from error
        except ConnectionClosed as error:
            raise UpstreamError(f"{self._where} closed the connection: {first_line(error)}", hint=SUPPORTED) from error

    def _start(self, exchange: "_Exchange") -> Dialect:
        try:
            greeting = exchange.receive(self._greeting_s)
        except TimeoutError:
            return self._start_duplex(exchange)
        if greeting["type"] == "error":
            raise self._refusal(greeting)
        if greeting["type"] != "session.created":
            raise UpstreamError(
                f"{self._where} speaks an unknown protocol: its first message is {str(greeting['type'])[:60]!r}",
                hint=SUPPORTED,
            )
        if protocol.nested(greeting, "session"):
            return self._start_openai(exchange)
        return self._start_flat(exchange)

    def _start_openai(self, exchange: "_Exchange") -> Dialect:
        exchange.send(OpenAIDialect.opening(self._prompt, self._vllm))
        while (event := exchange.receive())["type"] != "session.updated":
            if event["type"] == "error":
                raise self._refusal(event)
        return OpenAIDialect()

    def _start_flat(self, exchange: "_Exchange") -> Dialect:
        unused = [name for name, value in (("prompt", self._prompt), ("vllm.voice", self._vllm.voice)) if value]
        if unused and not self._has_warned:
            self._has_warned = True
            log.warning(
                "%s speaks %s, which has no place for %s; it is not used",
                self._where,
                FlatDialect.name,
                " and ".join(unused),
            )
        exchange.send(protocol.new_event("session.update", model=self._vllm.model or ""))
        # The server does not answer this, unless it refuses it. It answers every unknown type with an error.
        exchange.send(protocol.new_event("session.heartbeat"))
        while True:
            event = exchange.receive()
            if event["type"] == "error":
                if protocol.error_code(event) == "unknown_event":
                    return FlatDialect()
                raise self._refusal(event)

    def _start_duplex(self, exchange: "_Exchange") -> Dialect:
        self._greeting_s = 0.0  # known from now on, also for later connections
        exchange.send(
            DuplexDialect.duplex_opening(
                self._prompt, self._vllm, self._ref_audio, model_takes_turns=self._model_takes_turns
            )
        )
        while (event := exchange.receive())["type"] != "session.created":
            if event["type"] == "error":
                if self._model_takes_turns and protocol.error_code(event) == _WAITS_FOR_TURNS:
                    self._model_takes_turns = False
                    raise OpenAgainError
                raise self._refusal(event)
        if "incarnation" in event or "incarnation" in protocol.nested(event, "session"):
            raise UpstreamError(
                f"{self._where} speaks the experimental duplex protocol of vLLM-Omni 0.26 to 0.28",
                hint="duplex needs vLLM-Omni 0.30; without ?duplex=1 in the address, 0.26 to 0.28 answer turns",
            )
        if not protocol.nested(protocol.nested(event, "session"), "capabilities"):
            self._greeting_s = self._vllm.connect_timeout_s  # the greeting was late
            raise OpenAgainError
        return DuplexDialect(event)

    def _resume(self, exchange: "_Exchange", dialect: DuplexDialect, resume: Event) -> list[Event] | None:
        exchange.send(resume)
        missed: list[Event] = []
        while (event := exchange.receive())["type"] != "session.resumed":
            if event["type"] == "session.resync_required":
                return None
            if event["type"] == "error":
                if protocol.error_code(event) == _RESUME_LATER:
                    raise self._refusal(event)
                return None
        dialect.resumed(event)
        # The missed events follow. The server reads our next event after it has sent them.
        exchange.send(protocol.new_event("session.heartbeat"))
        while (event := exchange.receive())["type"] != "session.heartbeat_ack":
            missed.append(event)
        missed.append(event)
        return missed

    def _refusal(self, event: Event) -> UpstreamError:
        hint = _HINTS.get(
            protocol.error_code(event) or "", "set vllm.model and vllm.voice to values that the server supports"
        )
        return UpstreamError(f"{self._where} refuses the session: {protocol.error_line(event)}", hint=hint)


class _Exchange:
    """Sends and receives events until a deadline.

    Args:
        socket: The connection.
        timeout_s: The time for all of them.
    """

    def __init__(self, socket: "ClientConnection", timeout_s: float) -> None:
        self._socket = socket
        self._deadline_s = time.monotonic() + timeout_s

    def send(self, event: Event) -> None:
        self._socket.send(json.dumps(event))

    def receive(self, most_s: float = float("inf")) -> Event:
        """Return the next event.

        Raises:
            TimeoutError: None was received within `most_s`, or before the deadline.
            ProtocolError: A message is not an event.
        """
        left_s = max(0.0, self._deadline_s - time.monotonic())
        return protocol.parse_event(self._socket.recv(min(left_s, most_s)))
