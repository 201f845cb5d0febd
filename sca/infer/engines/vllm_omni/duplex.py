"""The duplex protocol of vLLM-Omni 0.30: the names of OpenAI Realtime, a model that may take turns, and a session that resumes.

The server counts audio that it has sent and that was not reported as played (`playback.ack`) as an answer in progress,
and remembers of an answer only what was reported.
"""

from typing_extensions import override

from sca.config import VllmConfig
from sca.infer.engines.vllm_omni import protocol
from sca.infer.engines.vllm_omni.dialect import Listened, Signal
from sca.infer.engines.vllm_omni.openai_realtime import OpenAIDialect
from sca.infer.engines.vllm_omni.protocol import Event
from sca.units import HEARD_HZ, SPOKEN_HZ

__all__ = ["DuplexDialect"]

_ACKNOWLEDGE_EVERY = 16
"""The server stores sent events until they are acknowledged, and gives up resumption when its store is full."""


class DuplexDialect(OpenAIDialect):
    """See the module.

    Args:
        created: The event `session.created`.

    Attributes:
        session_id: The id that the server has given.
    """

    name = "the duplex protocol (vLLM-Omni 0.30)"
    input_hz = HEARD_HZ

    def __init__(self, created: Event) -> None:
        session = protocol.nested(created, "session")
        capabilities = protocol.nested(session, "capabilities")
        self.session_id = protocol.text_of(session, "id")
        self.model_takes_turns = capabilities.get("implementation_level") == "model_native_duplex"
        self.can_interrupt = not self.model_takes_turns or capabilities.get("supports_barge_in") is True
        self.heartbeat = protocol.new_event("session.heartbeat")
        # Without it a server that could resume the session keeps it, and its place, for half a minute.
        self.goodbye = (protocol.new_event("session.close", reason="client_close"),)
        self._resume_token = protocol.text_of(created, "resume_token")
        self._last_sequence = _sequence_of(created) or 0
        self._acknowledged = self._last_sequence

    @staticmethod
    def duplex_opening(prompt: str, vllm: VllmConfig, ref_audio: str | None, *, model_takes_turns: bool) -> Event:
        """Return the event that opens a session.

        Args:
            prompt: The system prompt.
            vllm: The model and the voice.
            ref_audio: A recording of the voice as a data URL.
            model_takes_turns: Whether to ask for answers that the model starts. Models that need the turns of the
                client refuse this.
        """
        session: Event = {
            "modalities": ["audio", "text"],
            "input_audio_format": "pcm16",
            "output_audio_format": "pcm16",
            "sample_rate_hz": HEARD_HZ,
            "audio": {"input": {"sample_rate_hz": HEARD_HZ}, "output": {"sample_rate_hz": SPOKEN_HZ}},
            "turn_detection": None,
            "overlap_policy": "listen_only",
            "playback_commit_policy": "ack_only",
            "extra_body": {"auto_response": model_takes_turns},
        }
        given = {"model": vllm.model, "voice": vllm.voice, "instructions": prompt, "ref_audio": ref_audio}
        session |= {key: value for key, value in given.items() if value}
        return protocol.new_event("session.update", session=session)

    @override
    def append(self, pcm: bytes) -> Event:
        event = super().append(pcm) | {"format": "pcm16", "sample_rate_hz": HEARD_HZ}
        # The parts of a turn are speech, also its pauses: a server that waits for turns drops chunks that it calls silence.
        return event if self.model_takes_turns else event | {"is_speech": True}

    @override
    def request(self) -> list[Event]:
        return [protocol.new_event("input_audio_buffer.commit", final=True, response_create=True)]

    @override
    def cut(self, response_id: str, item_id: str | None, samples: int, *, is_done: bool) -> list[Event]:
        return [
            *self.played(response_id, item_id, samples, is_final=True),
            # This also stops an answer that is being generated, and unlike `barge_in` it keeps the input.
            protocol.new_event("output_audio_buffer.clear", response_id=response_id),
        ]

    @override
    def played(self, response_id: str, item_id: str | None, samples: int, *, is_final: bool) -> list[Event]:
        played_ms = protocol.milliseconds(samples)
        event = protocol.new_event("playback.ack", response_id=response_id, played_ms=played_ms, committed_ms=played_ms)
        return [event | {"truncate": True} if is_final else event]

    @override
    def read(self, event: Event) -> Signal | None:
        if event["type"] == "response.listen":
            return Listened(protocol.response_id_of(event))
        return super().read(event)

    @override
    def receive(self, event: Event) -> tuple[bool, list[Event]]:
        if event["type"] == "session.resync_required":
            self._resume_token = None
        sequence = _sequence_of(event)
        if sequence is None:
            return True, []
        if sequence <= self._last_sequence:
            return False, []  # replayed by a resumption
        self._last_sequence = sequence
        if sequence - self._acknowledged < _ACKNOWLEDGE_EVERY:
            return True, []
        self._acknowledged = sequence
        return True, [protocol.new_event("session.event_ack", server_event_seq=sequence)]

    @override
    def end_of_session(self, event: Event) -> str | None:
        kind = str(event["type"])
        if kind not in ("session.closed", "session.expired", "session.replaced"):
            return None
        self._resume_token = None
        return f"{kind}: {event.get('reason') or 'no reason given'}"

    @override
    def resume_event(self) -> Event | None:
        if self._resume_token is None or self.session_id is None:
            return None
        return protocol.new_event(
            "session.resume",
            session_id=self.session_id,
            resume_token=self._resume_token,
            last_received_server_event_seq=self._last_sequence,
        )

    def resumed(self, event: Event) -> None:
        """Process `session.resumed`, which has the token of the next resumption."""
        self._resume_token = protocol.text_of(event, "resume_token")

    def forget(self) -> None:
        """Process that the server does not have the session any more."""
        self._resume_token = None


def _sequence_of(event: Event) -> int | None:
    sequence = event.get("server_event_seq")
    return sequence if isinstance(sequence, int) else None
