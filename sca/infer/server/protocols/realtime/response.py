"""A turn of the engine as a response of the realtime protocol: its events in order, and the items of the conversation.

Knows no socket: events go to `send`, which takes a document. Sound is counted in ms that were sent.
"""

import base64
import secrets
from collections.abc import Callable
from typing import Any, Literal

from sca.infer.server.protocols.realtime.events import RealtimeError
from sca.infer.server.ws.audio_codec import WireAudioFormat, WireEncoder
from sca.units import SPOKEN_HZ

__all__ = ["Items", "Response"]

Send = Callable[[dict[str, Any]], None]
_MOST_ITEMS = 1000


class Items:
    """The conversation, the latest thousand items of it. Each is a document as clients see it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._items: dict[str, dict[str, Any]] = {}
        self._said_ms: dict[str, float] = {}
        self._last: str | None = None

    def add(self, item: dict[str, Any]) -> str | None:
        """Note a new item and tell of it; returns the id of the one before."""
        before, self._last = self._last, item["id"]
        self._items[item["id"]] = item
        if len(self._items) > _MOST_ITEMS:
            oldest = next(iter(self._items))
            del self._items[oldest]
            self._said_ms.pop(oldest, None)
        self._send({"type": "conversation.item.added", "previous_item_id": before, "item": item})
        return before

    def done(self, item: dict[str, Any], before: str | None) -> None:
        """Tell that an item is as it stays."""
        self._send({"type": "conversation.item.done", "previous_item_id": before, "item": item})

    def said(self, item_id: str, ms: float) -> None:
        """So much sound of an item was sent."""
        self._said_ms[item_id] = self._said_ms.get(item_id, 0.0) + ms

    def truncate(self, item_id: object, content_index: object, audio_end_ms: object) -> None:
        """Keep what was heard of an answer; what was said in it is then not known word by word, so its transcript goes."""
        item = self._get(item_id)
        if item["role"] != "assistant":
            raise RealtimeError("only what the assistant said can be truncated", param="item_id")
        if content_index != 0:
            raise RealtimeError("items have one content part, 0", param="content_index")
        if not isinstance(audio_end_ms, int) or isinstance(audio_end_ms, bool) or audio_end_ms < 0:
            raise RealtimeError("audio_end_ms is a whole number of ms", param="audio_end_ms")
        said_ms = self._said_ms.get(item["id"], 0.0)
        if audio_end_ms > said_ms:
            raise RealtimeError(f"the item is only {said_ms:.0f} ms long", param="audio_end_ms")
        self._said_ms[item["id"]] = float(audio_end_ms)
        item["content"] = [{"type": "output_audio"}]
        self._send(
            {
                "type": "conversation.item.truncated",
                "item_id": item["id"],
                "content_index": 0,
                "audio_end_ms": audio_end_ms,
            }
        )

    def retrieve(self, item_id: object) -> None:
        """Tell what an item is."""
        self._send({"type": "conversation.item.retrieved", "item": self._get(item_id)})

    def delete(self, item_id: object) -> None:
        """Forget an item. The engine's own memory of what it heard and said stays."""
        item = self._get(item_id)
        del self._items[item["id"]]
        self._said_ms.pop(item["id"], None)
        self._send({"type": "conversation.item.deleted", "item_id": item["id"]})

    def _get(self, item_id: object) -> dict[str, Any]:
        item = self._items.get(item_id) if isinstance(item_id, str) else None
        if item is None:
            raise RealtimeError("there is no such item in this conversation", "item_not_found", "item_id")
        return item


class Response:
    """One response, from `response.created` (told at once) to `finish`.

    turn_id: the engine's turn, None until it says something.
    """

    def __init__(self, send: Send, items: Items, said: WireAudioFormat) -> None:
        self._send, self._items = send, items
        self._wire = WireEncoder(said)
        self._item: dict[str, Any] | None = None
        self._before: str | None = None
        self._transcript = ""
        self.turn_id: int | None = None
        self.id = f"resp_{secrets.token_hex(12)}"
        send({"type": "response.created", "response": self._document("in_progress")})

    def say(self, audio_bytes: bytes, text: str, turn_id: int) -> dict[str, Any] | None:
        """A frame of the answer: int16 little-endian at 24 kHz, and what is said in it. Returns the event of its sound, to be sent
        by the caller; the others are sent.
        """
        if self._item is None:
            self.turn_id = turn_id
            self._begin()
        if text:
            self._transcript += text
            self._tell("response.output_audio_transcript.delta", delta=text)
        self._items.said(self._item_id, len(audio_bytes) / 2 * 1000 / SPOKEN_HZ)
        return self._delta(self._wire.push(audio_bytes))

    def finish(
        self,
        status: Literal["completed", "cancelled", "failed"],
        reason: Literal["turn_detected", "client_cancelled"] | None = None,
        error: dict[str, str] | None = None,
    ) -> None:
        """Tell how it ended."""
        if self._item is not None:
            rest = self._delta(self._wire.flush()) if status == "completed" else None
            if rest is not None:
                self._send(rest)
            self._end("completed" if status == "completed" else "incomplete")
        details: dict[str, Any] | None = None
        if status != "completed":
            details = {"type": status, "reason": reason, "error": error}
        self._send({"type": "response.done", "response": self._document(status, details)})

    def _begin(self) -> None:
        item = {"id": f"item_{secrets.token_hex(12)}", "object": "realtime.item", "type": "message", "role": "assistant",
                "status": "in_progress", "content": []}  # fmt: skip
        self._item = item
        self._send({"type": "response.output_item.added", "response_id": self.id, "output_index": 0, "item": item})
        self._before = self._items.add(item)
        self._tell("response.content_part.added", part={"type": "audio", "transcript": ""})

    def _end(self, status: str) -> None:
        assert self._item is not None
        self._tell("response.output_audio.done")
        self._tell("response.output_audio_transcript.done", transcript=self._transcript)
        self._tell("response.content_part.done", part={"type": "audio", "transcript": self._transcript})
        self._item["status"] = status
        self._item["content"] = [{"type": "output_audio", "transcript": self._transcript}]
        self._send({"type": "response.output_item.done", "response_id": self.id, "output_index": 0, "item": self._item})
        self._items.done(self._item, self._before)

    @property
    def _item_id(self) -> str:
        assert self._item is not None
        item_id: str = self._item["id"]
        return item_id

    def _delta(self, data: bytes) -> dict[str, Any] | None:
        return self._event("response.output_audio.delta", delta=base64.b64encode(data).decode()) if data else None

    def _tell(self, kind: str, **values: Any) -> None:
        self._send(self._event(kind, **values))

    def _event(self, kind: str, **values: Any) -> dict[str, Any]:
        place = {"response_id": self.id, "item_id": self._item_id, "output_index": 0, "content_index": 0}
        return {"type": kind, **place, **values}

    def _document(self, status: str, details: dict[str, Any] | None = None) -> dict[str, Any]:
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
