"""The OpenAI Realtime protocol for turns: vLLM-Omni after 0.30 without a duplex deployment, `sca serve`, and others.

Event names are those of the GA version; the beta names of received events are accepted too. The client detects turns
(`turn_detection: null`).
"""

from typing_extensions import override

from sca.config import VllmConfig
from sca.infer.engines.vllm_omni import protocol
from sca.infer.engines.vllm_omni.dialect import Committed, Dialect, Ended, Failed, Signal, Spoken, Started
from sca.infer.engines.vllm_omni.protocol import Event
from sca.units import SPOKEN_HZ

__all__ = ["OpenAIDialect"]


class OpenAIDialect(Dialect):
    """See the module."""

    name = "the OpenAI Realtime protocol"
    input_hz = SPOKEN_HZ

    @staticmethod
    def opening(prompt: str, vllm: VllmConfig) -> Event:
        """Return the event that configures the session."""
        pcm = {"type": "audio/pcm", "rate": SPOKEN_HZ}
        output: Event = {"format": pcm}
        if vllm.voice:
            output["voice"] = vllm.voice
        session: Event = {
            "type": "realtime",
            "output_modalities": ["audio"],
            "audio": {"input": {"format": pcm, "turn_detection": None}, "output": output},
        }
        if prompt:
            session["instructions"] = prompt
        if vllm.model:
            session["model"] = vllm.model
        return protocol.new_event("session.update", session=session)

    @override
    def append(self, pcm: bytes) -> Event:
        return protocol.append_event(pcm)

    @override
    def request(self) -> list[Event]:
        return [protocol.new_event("input_audio_buffer.commit"), protocol.new_event("response.create")]

    @override
    def discard(self) -> list[Event]:
        return [protocol.new_event("input_audio_buffer.clear")]

    @override
    def cancel(self, response_id: str) -> list[Event]:
        return [protocol.new_event("response.cancel", response_id=response_id)]

    @override
    def cut(self, response_id: str, item_id: str | None, samples: int, *, is_done: bool) -> list[Event]:
        return [
            *([] if is_done else self.cancel(response_id)),
            *self.played(response_id, item_id, samples, is_final=True),
        ]

    @override
    def played(self, response_id: str, item_id: str | None, samples: int, *, is_final: bool) -> list[Event]:
        if not is_final or item_id is None:
            return []
        played_ms = protocol.milliseconds(samples)
        return [
            protocol.new_event("conversation.item.truncate", item_id=item_id, content_index=0, audio_end_ms=played_ms)
        ]

    @override
    def read(self, event: Event) -> Signal | None:
        response_id = protocol.response_id_of(event)
        match event["type"]:
            case "input_audio_buffer.committed":
                return Committed()
            case "response.created":
                return Started(str(response_id))
            case "response.output_item.added":
                return Spoken(response_id, item_id=protocol.text_of(protocol.nested(event, "item"), "id"))
            case "response.output_audio.delta":
                return Spoken(response_id, protocol.audio_of_delta(event))
            case "response.output_audio_transcript.delta" | "response.output_text.delta":
                return Spoken(response_id, text=protocol.text_of(event, "delta") or "")
            case "response.done":
                return _ended(response_id, protocol.nested(event, "response"))
            case "error":
                ours = protocol.text_of(protocol.nested(event, "error"), "event_id") or protocol.text_of(
                    event, "event_id"
                )
                return Failed(protocol.error_line(event), ours)
        return None


def _ended(response_id: str | None, response: Event) -> Ended:
    status = response.get("status")
    if status in ("failed", "incomplete"):
        details = protocol.nested(response, "status_details")
        reason = protocol.error_line(details) if "error" in details else str(details.get("reason") or "no reason given")
        return Ended(response_id, f"did not finish the answer: {reason}")
    return Ended(response_id, is_cut=status == "cancelled")
