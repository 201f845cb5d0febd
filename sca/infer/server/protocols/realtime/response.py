"""A turn of the engine as a response of the Realtime protocol, and the items of the conversation.

Events are passed to a `send` function.
"""

import base64
import secrets
from collections import deque
from collections.abc import Callable
from typing import Literal, TypedDict

from sca.infer.server.protocols.realtime.events import Event, RealtimeError
from sca.infer.server.ws.audio_codec import WireAudioFormat, WireEncoder
from sca.units import SPOKEN_HZ

__all__ = ["ConversationItem", "ConversationItems", "Response", "new_item_id", "user_item"]

Send = Callable[[Event], None]
_MAX_ITEMS = 1000
_MAX_UNTRANSCRIBED = 16


class ConversationItem(TypedDict):
    """A message of the conversation, in the protocol's JSON format."""

    content: list[dict[str, object]]
    id: str
    object: Literal["realtime.item"]
    type: Literal["message"]
    role: Literal["user", "assistant"]
    status: Literal["in_progress", "completed", "incomplete"]


def new_item_id() -> str:
    """Return a new item id."""
    return f"item_{secrets.token_hex(12)}"


def user_item(item_id: str) -> ConversationItem:
    """Return the item of a turn of the user."""
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "role": "user",
        "status": "completed",
        "content": [{"type": "input_audio", "transcript": None}],
    }


class ConversationItems:
    """The latest thousand items of the conversation."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._items: dict[str, ConversationItem] = {}
        self._audio_ms: dict[str, float] = {}
        self._turn_ids: dict[str, int] = {}
        self._untranscribed: deque[str] = deque(maxlen=_MAX_UNTRANSCRIBED)
        self._transcript: str | None = None  # of a turn whose item is not there yet
        self._last_id: str | None = None

    def add(self, item: ConversationItem) -> str | None:
        """Add an item and send an event for it. Returns the id of the item before it."""
        previous, self._last_id = self._last_id, item["id"]
        self._items[item["id"]] = item
        if len(self._items) > _MAX_ITEMS:
            oldest = next(iter(self._items))
            del self._items[oldest]
            self._audio_ms.pop(oldest, None)
            self._turn_ids.pop(oldest, None)
        self._send({"type": "conversation.item.added", "previous_item_id": previous, "item": item})
        return previous

    def add_user_item(self, item_id: str) -> None:
        """Add the complete item of a turn of the user."""
        item = user_item(item_id)
        self.complete(item, self.add(item))
        self._untranscribed.append(item_id)
        if self._transcript is not None:
            text, self._transcript = self._transcript, None
            self.transcribe(text)

    def transcribe(self, text: str) -> None:
        """Set the text of the turns since the last call, and send the event for their last item.

        The engine may know it before the item is there; then it is sent with the item.
        """
        if not self._untranscribed:
            self._transcript = text
            return
        item_id = self._untranscribed.pop()
        self._untranscribed.clear()
        if item_id in self._items:
            self._items[item_id]["content"] = [{"type": "input_audio", "transcript": text}]
        kind = "conversation.item.input_audio_transcription.completed"
        self._send({"type": kind, "item_id": item_id, "content_index": 0, "transcript": text})

    def set_turn(self, item_id: str, turn_id: int) -> None:
        """Note which turn of the engine an item is."""
        self._turn_ids[item_id] = turn_id

    def complete(self, item: ConversationItem, previous_id: str | None) -> None:
        """Send the event that an item is complete.

        Args:
            item: The item.
            previous_id: The id of the item before it.
        """
        self._send({"type": "conversation.item.done", "previous_item_id": previous_id, "item": item})

    def count_audio(self, item_id: str, ms: float) -> None:
        """Count audio of an item that was sent."""
        self._audio_ms[item_id] = self._audio_ms.get(item_id, 0.0) + ms

    def truncate(self, item_id: object, content_index: object, audio_end_ms: object) -> int | None:
        """Shorten a response to what the user heard. Its transcript is removed, because its words have no times.

        Args:
            item_id: The item of the response, as received.
            content_index: The content part, as received; must be 0.
            audio_end_ms: The new length, as received.

        Returns:
            The turn of the engine, if it is known.

        Raises:
            RealtimeError: An argument is not valid.
        """
        item = self._get(item_id)
        if item["role"] != "assistant":
            raise RealtimeError("only items of the assistant can be truncated", param="item_id")
        if content_index != 0:
            raise RealtimeError("items have one content part, 0", param="content_index")
        if not isinstance(audio_end_ms, int) or isinstance(audio_end_ms, bool) or audio_end_ms < 0:
            raise RealtimeError("audio_end_ms must be a whole number of ms", param="audio_end_ms")
        audio_ms = self._audio_ms.get(item["id"], 0.0)
        if audio_end_ms > audio_ms:
            raise RealtimeError(f"the item is only {audio_ms:.0f} ms long", param="audio_end_ms")
        self._audio_ms[item["id"]] = float(audio_end_ms)
        item["content"] = [{"type": "output_audio"}]
        self._send(
            {
                "type": "conversation.item.truncated",
                "item_id": item["id"],
                "content_index": 0,
                "audio_end_ms": audio_end_ms,
            }
        )
        return self._turn_ids.get(item["id"])

    def retrieve(self, item_id: object) -> None:
        """Send an item to the client."""
        self._send({"type": "conversation.item.retrieved", "item": self._get(item_id)})

    def delete(self, item_id: object) -> None:
        """Delete an item. The engine's own memory of the conversation does not change."""
        item = self._get(item_id)
        del self._items[item["id"]]
        self._audio_ms.pop(item["id"], None)
        self._turn_ids.pop(item["id"], None)
        self._send({"type": "conversation.item.deleted", "item_id": item["id"]})

    def _get(self, item_id: object) -> ConversationItem:
        item = self._items.get(item_id) if isinstance(item_id, str) else None
        if item is None:
            raise RealtimeError("the conversation has no such item", "item_not_found", "item_id")
        return item


class Response:
    """One response, from `response.created`, which is sent at once, to `finish`.

    Attributes:
        id: The id of the response.
        turn_id: The engine's turn; None until the engine speaks.
    """

    def __init__(self, send: Send, items: ConversationItems, audio_format: WireAudioFormat) -> None:
        self._send, self._items = send, items
        self._encoder = WireEncoder(audio_format)
        self._item: ConversationItem | None = None
        self._previous_id: str | None = None
        self._transcript = ""
        self.turn_id: int | None = None
        self.id = f"resp_{secrets.token_hex(12)}"
        send({"type": "response.created", "response": self._document("in_progress")})

    def add_audio(self, audio_bytes: bytes, text: str, turn_id: int) -> Event | None:
        """Add a frame of the response. All of its events are sent, except that of the audio.

        Args:
            audio_bytes: Int16 little-endian at 24 kHz.
            text: Its words.
            turn_id: The engine's turn.

        Returns:
            The event of the audio, for the caller to send; None if the encoder has not produced any audio yet.
        """
        item = self._item
        if item is None:
            self.turn_id = turn_id
            item = self._start_item()
            self._items.set_turn(item["id"], turn_id)
        if text:
            self._transcript += text
            self._send_part(item, "response.output_audio_transcript.delta", delta=text)
        self._items.count_audio(item["id"], len(audio_bytes) / 2 * 1000 / SPOKEN_HZ)
        return self._audio_event(item, self._encoder.push(audio_bytes))

    def finish(
        self,
        status: Literal["completed", "cancelled", "failed"],
        reason: Literal["turn_detected", "client_cancelled"] | None = None,
        error: dict[str, str] | None = None,
    ) -> None:
        """Send the events that end the response.

        Args:
            status: How it ended.
            reason: Why it was cancelled.
            error: Why it failed.
        """
        item = self._item
        if item is not None:
            rest = self._audio_event(item, self._encoder.flush()) if status == "completed" else None
            if rest is not None:
                self._send(rest)
            self._finish_item(item, "completed" if status == "completed" else "incomplete")
        details: Event | None = None
        if status != "completed":
            details = {"type": status, "reason": reason, "error": error}
        self._send({"type": "response.done", "response": self._document(status, details)})

    def _start_item(self) -> ConversationItem:
        item: ConversationItem = {
            "id": new_item_id(),
            "object": "realtime.item",
            "type": "message",
            "role": "assistant",
            "status": "in_progress",
            "content": [],
        }
        self._item = item
        self._send({"type": "response.output_item.added", "response_id": self.id, "output_index": 0, "item": item})
        self._previous_id = self._items.add(item)
        self._send_part(item, "response.content_part.added", part={"type": "audio", "transcript": ""})
        return item

    def _finish_item(self, item: ConversationItem, status: Literal["completed", "incomplete"]) -> None:
        self._send_part(item, "response.output_audio.done")
        self._send_part(item, "response.output_audio_transcript.done", transcript=self._transcript)
        self._send_part(item, "response.content_part.done", part={"type": "audio", "transcript": self._transcript})
        item["status"] = status
        item["content"] = [{"type": "output_audio", "transcript": self._transcript}]
        self._send({"type": "response.output_item.done", "response_id": self.id, "output_index": 0, "item": item})
        self._items.complete(item, self._previous_id)

    def _audio_event(self, item: ConversationItem, data: bytes) -> Event | None:
        if not data:
            return None
        return self._part_event(item, "response.output_audio.delta", delta=base64.b64encode(data).decode())

    def _send_part(self, item: ConversationItem, kind: str, **fields: object) -> None:
        self._send(self._part_event(item, kind, **fields))

    def _part_event(self, item: ConversationItem, kind: str, **fields: object) -> Event:
        """Return an event about the content part of the item."""
        part = {"response_id": self.id, "item_id": item["id"], "output_index": 0, "content_index": 0}
        return {"type": kind, **part, **fields}

    def _document(self, status: str, details: Event | None = None) -> Event:
        return {
            "id": self.id,
            "object": "realtime.response",
            "status": status,
            "status_details": details,
            "output": [] if self._item is None else [self._item],
            "output_modalities": ["audio"],
            "metadata": None,
            "usage": None,
        }
