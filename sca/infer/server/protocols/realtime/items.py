"""The items of a conversation in the Realtime protocol: those that clients create, turns of the user, and responses.

Events are passed to a `send` function.
"""

import json
import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sca.infer.messages import Message, ToolCall
from sca.infer.server.core.limits import shortened
from sca.infer.server.protocols.realtime.events import Event, RealtimeError

__all__ = ["ClientItem", "ConversationItems", "Item", "Send", "new_item_id", "read_item", "user_item"]

Item = dict[str, object]
"""An item as a JSON object of the protocol."""

Send = Callable[[Event], None]

_MAX_ITEMS = 1000
_MAX_BYTES = 8 << 20
_MAX_UNTRANSCRIBED = 16
_ROLES = ("user", "assistant", "system")
_TYPES = ("message", "function_call", "function_call_output")
_FOREIGN_TYPES = ("mcp_call", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response", "item_reference")
_TRANSCRIBED = "conversation.item.input_audio_transcription"


def new_item_id() -> str:
    """Return a new item id."""
    return f"item_{secrets.token_hex(12)}"


def user_item(item_id: str) -> Item:
    """Return the item of a turn of the user."""
    return {
        "id": item_id,
        "object": "realtime.item",
        "type": "message",
        "role": "user",
        "status": "completed",
        "content": [{"type": "input_audio", "transcript": None}],
    }


@dataclass(frozen=True, slots=True)
class ClientItem:
    """An item that a client created.

    Attributes:
        item: The item, with an id.
        message: Its text as a message; None if it has none.
        unsupported: What of it is left out, for a warning.
    """

    item: Item
    message: Message | None
    unsupported: tuple[str, ...] = ()


def read_item(given: object, param: str = "item") -> ClientItem:
    """Read an item of a client, GA or beta.

    Args:
        given: The item, as received.
        param: Its place in the event.

    Raises:
        RealtimeError: It is not valid.
    """
    if not isinstance(given, Mapping):
        raise RealtimeError("the item must be an object", "missing_required_parameter", param)
    kind, item_id = given.get("type"), given.get("id")
    if kind not in (*_TYPES, *_FOREIGN_TYPES):
        raise RealtimeError(f"the types of items are {', '.join(_TYPES)}", param=f"{param}.type")
    if item_id is not None and (not isinstance(item_id, str) or not 0 < len(item_id) <= 128):
        raise RealtimeError("an id is a string of at most 128 characters", param=f"{param}.id")
    item = {**given, "id": item_id or new_item_id(), "object": "realtime.item", "status": "completed"}
    if item.get("role") == "developer":
        item["role"] = "system"
    match kind:
        case "message":
            return _read_message(item, param)
        case "function_call":
            name, arguments, call_id = (_text(item, key, param) for key in ("name", "arguments", "call_id"))
            return ClientItem(item, Message("assistant", "", (ToolCall(call_id, name, arguments),)))
        case "function_call_output":
            return ClientItem(item, Message("tool", _text(item, "output", param), (), _text(item, "call_id", param)))
        case _:
            return ClientItem(item, None, (f"items of type {kind}",))


def _read_message(item: Item, param: str) -> ClientItem:
    role, content = item.get("role"), item.get("content")
    if role not in _ROLES:
        raise RealtimeError(f"the roles are {', '.join(_ROLES)}", param=f"{param}.role")
    if not isinstance(content, list) or not all(isinstance(part, Mapping) for part in content):
        raise RealtimeError("the content is a list of objects", param=f"{param}.content")
    texts, unsupported = list[str](), set[str]()
    for number, part in enumerate(content):
        text = part.get("text", part.get("transcript"))
        if isinstance(text, str):
            texts.append(text)
        elif part.get("type") in ("input_text", "output_text", "text"):
            raise RealtimeError("the text must be a string", param=f"{param}.content[{number}].text")
        else:
            unsupported.add(f"content of type {str(part.get('type'))[:40]}")
    text = "\n".join(texts)
    left_out = (shortened(", ".join(sorted(unsupported))),) if unsupported else ()
    return ClientItem(item, _MESSAGES[role](text) if text else None, left_out)


_MESSAGES: dict[str, Callable[[str], Message]] = {
    "user": lambda text: Message("user", text),
    "assistant": lambda text: Message("assistant", text),
    "system": lambda text: Message("system", text),
}


def _text(item: Item, key: str, param: str) -> str:
    value = item.get(key)
    if not isinstance(value, str):
        raise RealtimeError(f"{key} must be a string", "missing_required_parameter", f"{param}.{key}")
    return value


@dataclass(slots=True)
class _Spoken:
    """What is known about the sound of an item: its length, and the turn of the engine."""

    ms: float = 0.0
    turn_id: int | None = None


@dataclass(slots=True)
class _Partial:
    """The text of a turn of the user so far, as far as it was sent."""

    item_id: str
    text: str = field(default="")


class ConversationItems:
    """The latest items of the conversation: at most a thousand, and 8 MiB of those that the client created."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._items: dict[str, Item] = {}
        self._sizes: dict[str, int] = {}
        self._spoken: dict[str, _Spoken] = {}
        self._untranscribed: deque[str] = deque(maxlen=_MAX_UNTRANSCRIBED)
        self._transcript: str | None = None  # of a turn whose item is not there yet
        self._partial: _Partial | None = None
        self._last_id: str | None = None

    @property
    def awaits_transcript(self) -> bool:
        """Whether a turn of the user has no text yet."""
        return bool(self._untranscribed)

    def add(self, item: Item) -> str | None:
        """Add an item and send an event for it. Returns the id of the item before it.

        Raises:
            RealtimeError: There is an item with its id.
        """
        item_id = str(item["id"])
        if item_id in self._items:
            raise RealtimeError("the conversation has an item with this id", "item_create_duplicate_item_id", "item.id")
        previous, self._last_id = self._last_id, item_id
        self._items[item_id] = item
        self._sizes[item_id] = len(json.dumps(item))
        while len(self._items) > _MAX_ITEMS or (len(self._items) > 1 and sum(self._sizes.values()) > _MAX_BYTES):
            self._forget(next(iter(self._items)))
        self._send({"type": "conversation.item.added", "previous_item_id": previous, "item": item})
        return previous

    def add_complete(self, item: Item) -> None:
        """Add an item that does not change."""
        self.complete(item, self.add(item))

    def add_user_item(self, item_id: str) -> None:
        """Add the complete item of a turn of the user."""
        self.add_complete(user_item(item_id))
        self._untranscribed.append(item_id)
        if self._transcript is not None:
            text, self._transcript = self._transcript, None
            self.transcribe(text)

    def transcribe(self, text: str) -> None:
        """Set the text of the turns since the last call, and send the event for their last item.

        The engine may know it before the item is there; then it is sent with the item.
        """
        self._partial = None
        if not self._untranscribed:
            self._transcript = text
            return
        item_id = self._untranscribed.pop()
        self._untranscribed.clear()
        if item_id in self._items:
            self._items[item_id]["content"] = [{"type": "input_audio", "transcript": text}]
        self._send(
            {
                "type": f"{_TRANSCRIBED}.completed",
                "item_id": item_id,
                "content_index": 0,
                "transcript": text,
            }
        )

    def transcribe_partly(self, text: str, next_id: str) -> None:
        """Send what a longer text of the turn in progress adds. A text that is no continuation sends nothing.

        Args:
            text: The text of the turn so far.
            next_id: The id that the item of the turn will have, if it is not there yet.
        """
        item_id = self._untranscribed[-1] if self._untranscribed else next_id
        if self._partial is None or self._partial.item_id != item_id:
            self._partial = _Partial(item_id)
        if not text.startswith(self._partial.text) or text == self._partial.text:
            return
        added, self._partial.text = text[len(self._partial.text) :], text
        self._send({"type": f"{_TRANSCRIBED}.delta", "item_id": item_id, "content_index": 0, "delta": added})

    def set_turn(self, item_id: str, turn_id: int) -> None:
        """Note which turn of the engine an item is."""
        self._sound(item_id).turn_id = turn_id

    def _sound(self, item_id: str) -> _Spoken:
        return self._spoken.setdefault(item_id, _Spoken())

    def complete(self, item: Item, previous_id: str | None) -> None:
        """Send the event that an item is complete.

        Args:
            item: The item.
            previous_id: The id of the item before it.
        """
        self._send({"type": "conversation.item.done", "previous_item_id": previous_id, "item": item})

    def count_audio(self, item_id: str, ms: float) -> None:
        """Count audio of an item that was sent."""
        self._sound(item_id).ms += ms

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
        item = self._get(item_id, "item_truncate_invalid_item_id")
        if item.get("role") != "assistant":
            raise RealtimeError("only items of the assistant can be truncated", param="item_id")
        if content_index != 0:
            raise RealtimeError("items have one content part, 0", param="content_index")
        if not isinstance(audio_end_ms, int) or isinstance(audio_end_ms, bool) or audio_end_ms < 0:
            raise RealtimeError("audio_end_ms must be a whole number of ms", param="audio_end_ms")
        spoken = self._sound(str(item["id"]))
        if audio_end_ms > spoken.ms:
            raise RealtimeError(f"the item is only {spoken.ms:.0f} ms long", param="audio_end_ms")
        spoken.ms = float(audio_end_ms)
        item["content"] = [{"type": "output_audio"}]
        place = {"item_id": item["id"], "content_index": 0, "audio_end_ms": audio_end_ms}
        self._send({"type": "conversation.item.truncated", **place})
        return spoken.turn_id

    def retrieve(self, item_id: object) -> None:
        """Send an item to the client."""
        item = self._get(item_id, "item_retrieve_invalid_item_id")
        self._send({"type": "conversation.item.retrieved", "item": item})

    def delete(self, item_id: object) -> None:
        """Delete an item."""
        deleted = str(self._get(item_id, "item_delete_invalid_item_id")["id"])
        self._forget(deleted)
        if deleted == self._last_id:
            self._last_id = next(reversed(self._items), None)
        self._send({"type": "conversation.item.deleted", "item_id": deleted})

    def _forget(self, item_id: str) -> None:
        del self._items[item_id], self._sizes[item_id]
        self._spoken.pop(item_id, None)

    def messages(self, references: Sequence[object], param: str) -> tuple[tuple[Message, ...], list[str]]:
        """Return the messages of a list of items, which may refer to items of the conversation, and what is left out.

        Args:
            references: The items, as received.
            param: Their place in the event.

        Raises:
            RealtimeError: An item is not valid, or does not exist.
        """
        messages, unsupported = list[Message](), set[str]()
        for number, given in enumerate(references):
            if isinstance(given, Mapping) and given.get("type") == "item_reference":
                given = self._get(given.get("id"), "item_not_found")
            read = read_item(given, f"{param}[{number}]")
            messages += [] if read.message is None else [read.message]
            unsupported |= set(read.unsupported)
        return tuple(messages), sorted(unsupported)

    def _get(self, item_id: object, code: str) -> Item:
        item = self._items.get(item_id) if isinstance(item_id, str) else None
        if item is None:
            raise RealtimeError("the conversation has no such item", code, "item_id")
        return item
