"""A response of the Realtime protocol, spoken or written, with the function calls after it.

Events are passed to a `send` function.
"""

import base64
from collections.abc import Sequence
from typing import Literal

from sca.infer.messages import ToolCall
from sca.infer.server.protocols.realtime.events import Event
from sca.infer.server.protocols.realtime.items import ConversationItems, Item, Send, new_item_id
from sca.infer.server.protocols.realtime.response_request import ResponseRequest
from sca.infer.server.ws.audio_codec import WireEncoder
from sca.units import SPOKEN_HZ

__all__ = ["Response"]

_Status = Literal["completed", "incomplete"]


class Response:
    """One response, from `response.created`, which is sent at once, to `finish`.

    Args:
        send: Sends an event.
        items: The conversation.
        request: What was requested.
        voice: The name of the voice.

    Attributes:
        request: What was requested.
        turn_id: The engine's turn; None until the engine speaks.
    """

    def __init__(self, send: Send, items: ConversationItems, request: ResponseRequest, voice: str) -> None:
        self._send, self._items, self.request, self._voice = send, items, request, voice
        self._encoder = WireEncoder(request.output_format)
        self._item: Item | None = None
        self._previous_id: str | None = None
        self._output: list[Item] = []
        self._text = ""
        self.turn_id: int | None = None
        send({"type": "response.created", "response": self._document("in_progress")})

    @property
    def id(self) -> str:
        """The id of the response."""
        return self.request.answer.id

    @property
    def item_id(self) -> str | None:
        """The id of its message; None without one."""
        return None if self._item is None else str(self._item["id"])

    @property
    def has_begun(self) -> bool:
        """Whether it has a message."""
        return self._item is not None

    @property
    def _is_spoken(self) -> bool:
        return self.request.answer.is_spoken

    def add_audio(self, audio_bytes: bytes, text: str, turn_id: int) -> Event | None:
        """Add a frame of the response. All of its events are sent, except that of the audio.

        Args:
            audio_bytes: Int16 little-endian at 24 kHz.
            text: Its words.
            turn_id: The engine's turn.

        Returns:
            The event of the audio, for the caller to send; None if the encoder has not produced any audio yet.
        """
        item = self._started_item()
        if self.turn_id is None:
            self.turn_id = turn_id
            self._items.set_turn(str(item["id"]), turn_id)
        if text:
            self._text += text
            self._send_part(item, "response.output_audio_transcript.delta", delta=text)
        self._items.count_audio(str(item["id"]), len(audio_bytes) / 2 * 1000 / SPOKEN_HZ)
        return self._audio_event(item, self._encoder.push(audio_bytes))

    def add_text(self, text: str) -> None:
        """Add text of a written response."""
        item = self._started_item()
        self._text += text
        self._send_part(item, "response.output_text.delta", delta=text)

    def end(self, error: str | None, calls: Sequence[ToolCall]) -> None:
        """Send the events that end the response.

        Args:
            error: Why it failed, as one line; None if it is complete.
            calls: The functions that the client has to call.
        """
        if error is None:
            self.finish("completed", calls=calls)
        else:
            self.finish("failed", error={"type": "server_error", "code": "engine_failed", "message": error})

    def finish(
        self,
        status: Literal["completed", "cancelled", "failed"],
        reason: Literal["turn_detected", "client_cancelled"] | None = None,
        error: dict[str, str] | None = None,
        calls: Sequence[ToolCall] = (),
    ) -> None:
        """Send the events that end the response.

        Args:
            status: How it ended.
            reason: Why it was cancelled.
            error: Why it failed.
            calls: The functions that the client has to call.
        """
        item = self._item
        if item is not None:
            rest = self._audio_event(item, self._encoder.flush()) if status == "completed" else None
            if rest is not None:
                self._send(rest)
            self._finish_message(item, "completed" if status == "completed" else "incomplete")
        for call in calls:
            self._add_call(call)
        details: Event | None = None
        if status != "completed":
            details = {"type": status, "reason": reason, "error": error}
        self._send({"type": "response.done", "response": self._document(status, details)})

    # Items

    def _started_item(self) -> Item:
        """Return the message, which is added to the conversation at its first use."""
        if self._item is None:
            role = {"type": "message", "role": "assistant", "content": []}
            self._item = self._add_item({**_new_item(), **role})
            self._send_part(self._item, "response.content_part.added", part=self._part(""))
        return self._item

    def _add_item(self, item: Item) -> Item:
        self._output.append(item)
        place = {"response_id": self.id, "output_index": len(self._output) - 1}
        self._send({"type": "response.output_item.added", **place, "item": dict(item)})
        if self.request.answer.in_conversation:
            self._previous_id = self._items.add(item)
        return item

    def _finish_item(self, item: Item, status: _Status) -> None:
        item["status"] = status
        place = {"response_id": self.id, "output_index": self._output.index(item)}
        self._send({"type": "response.output_item.done", **place, "item": item})
        if self.request.answer.in_conversation:
            self._items.complete(item, self._previous_id)

    def _finish_message(self, item: Item, status: _Status) -> None:
        if self._is_spoken:
            self._send_part(item, "response.output_audio.done")
            self._send_part(item, "response.output_audio_transcript.done", transcript=self._text)
            item["content"] = [{"type": "output_audio", "transcript": self._text}]
        else:
            self._send_part(item, "response.output_text.done", text=self._text)
            item["content"] = [{"type": "output_text", "text": self._text}]
        self._send_part(item, "response.content_part.done", part=self._part(self._text))
        self._finish_item(item, status)

    def _part(self, text: str) -> Event:
        return {"type": "audio", "transcript": text} if self._is_spoken else {"type": "text", "text": text}

    def _add_call(self, call: ToolCall) -> None:
        named = {"type": "function_call", "call_id": call.id, "name": call.name}
        item = self._add_item({**_new_item(), **named, "arguments": ""})
        place = {
            "response_id": self.id,
            "item_id": item["id"],
            "output_index": len(self._output) - 1,
            "call_id": call.id,
        }
        self._send({"type": "response.function_call_arguments.delta", **place, "delta": call.arguments})
        done = {"name": call.name, "arguments": call.arguments}
        self._send({"type": "response.function_call_arguments.done", **place, **done})
        item["arguments"] = call.arguments
        self._finish_item(item, "completed")

    # Events

    def _audio_event(self, item: Item, data: bytes) -> Event | None:
        if not data:
            return None
        return self._part_event(item, "response.output_audio.delta", delta=base64.b64encode(data).decode())

    def _send_part(self, item: Item, kind: str, **fields: object) -> None:
        self._send(self._part_event(item, kind, **fields))

    def _part_event(self, item: Item, kind: str, **fields: object) -> Event:
        """Return an event about the content part of the message."""
        part = {"response_id": self.id, "item_id": item["id"], "output_index": 0, "content_index": 0}
        return {"type": kind, **part, **fields}

    def _document(self, status: str, details: Event | None = None) -> Event:
        request = self.request
        output_format = {"pcm": {"type": "audio/pcm", "rate": 24_000}}.get(
            request.output_format, {"type": f"audio/{request.output_format}"}
        )
        return {
            "id": self.id,
            "object": "realtime.response",
            "status": status,
            "status_details": details,
            "output": self._output,
            "conversation_id": "conv_default" if request.answer.in_conversation else None,
            "output_modalities": ["audio"] if self._is_spoken else ["text"],
            "max_output_tokens": "inf" if request.max_tokens is None else request.max_tokens,
            "audio": {"output": {"format": output_format, "voice": self._voice}},
            "metadata": request.metadata,
            "usage": None,
        }


def _new_item() -> Item:
    return {"id": new_item_id(), "object": "realtime.item", "status": "in_progress"}
