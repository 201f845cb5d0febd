"""The protocol of vLLM-Omni 0.20 to 0.30 without a duplex deployment: flat events, 16 kHz input, no memory, no cancel.

The server starts to generate with `commit {final: false}` and ends the input with `commit {final: true}`. It defers the
audio to the end of the input, so both are sent when the turn is over, and the audio while the user speaks. Some time
after the end of an answer it discards the input that it has not read, and until then it ignores the start of the next
generation. Each answer therefore has its own connection.
"""

import itertools

from typing_extensions import override

from sca.infer.engines.vllm_omni import protocol
from sca.infer.engines.vllm_omni.dialect import Dialect, Ended, Failed, Signal, Spoken
from sca.infer.engines.vllm_omni.protocol import Event

__all__ = ["FlatDialect"]

_FAILS_BEFORE_THE_END = "processing_error"
"""After an error with this code the server still ends the answer."""


class FlatDialect(Dialect):
    """See the module. The answers have no ids on the wire; they are numbered here, one per request."""

    name = "the flat protocol (vLLM-Omni 0.20 to 0.30)"
    one_answer_per_connection = True

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._response_id: str | None = None  # the answer that the server is generating

    @override
    def append(self, pcm: bytes) -> Event:
        return protocol.append_event(pcm)

    @override
    def request(self) -> list[Event]:
        self._response_id = f"generation_{next(self._numbers)}"
        return [protocol.new_event("input_audio_buffer.commit", final=final) for final in (False, True)]

    @override
    def response_id_of_request(self) -> str | None:
        return self._response_id

    @override
    def discard(self) -> list[Event]:
        return []

    @override
    def cancel(self, response_id: str) -> list[Event]:
        return []

    @override
    def cut(self, response_id: str, item_id: str | None, samples: int, *, is_done: bool) -> list[Event]:
        return []

    @override
    def read(self, event: Event) -> Signal | None:
        match event["type"]:
            case "transcription.delta":
                return Spoken(self._response_id, text=protocol.text_of(event, "delta") or "")
            case "response.output_audio.delta":
                return Spoken(self._response_id, protocol.audio_of_delta(event))
            case "response.output_audio.done":
                return self._end(None)
            case "error":
                line = protocol.error_line(event)
                if self._response_id is None or protocol.error_code(event) == _FAILS_BEFORE_THE_END:
                    return Failed(line, None)
                return self._end(f"reports an error: {line}")
        return None

    def _end(self, problem: str | None) -> Ended:
        response_id, self._response_id = self._response_id, None
        return Ended(response_id, problem)
