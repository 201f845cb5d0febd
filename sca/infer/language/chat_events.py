"""The wire format of the chat API: requests, server-sent events, and the chunks of an answer.

Servers add fields of their own, so unknown fields are ignored. Source: the OpenAI API reference, chat completions.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from sca.infer.messages import Message, ToolCall
from sca.infer.openai_server import error_message, shortened

__all__ = ["ChatChunk", "ToolCallParts", "WireError", "parse_chunk", "sse_data", "wire_message"]

_MAX_EVENT_BYTES = 1 << 20


class WireError(Exception):
    """A response is not in the format of the chat API; the message describes it."""


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Function(_Wire):
    name: str | None = None
    arguments: str | None = None


class _ToolCallDelta(_Wire):
    index: int = 0
    id: str | None = None
    function: _Function = _Function()


class _Delta(_Wire):
    content: str | None = None
    tool_calls: tuple[_ToolCallDelta, ...] | None = None


class _Choice(_Wire):
    delta: _Delta = _Delta()
    message: _Delta | None = None
    finish_reason: str | None = None


class ChatChunk(_Wire):
    """A chunk of an answer, or a whole answer of a server that does not stream."""

    choices: tuple[_Choice, ...] = ()
    error: object = None

    @property
    def delta(self) -> _Delta:
        """What the chunk adds."""
        if not self.choices:
            return _Delta()
        return self.choices[0].message or self.choices[0].delta

    @property
    def is_last(self) -> bool:
        """Whether the answer is complete."""
        return bool(self.choices) and self.choices[0].finish_reason is not None


class ToolCallParts:
    """Tool calls that arrive in parts."""

    def __init__(self) -> None:
        self._parts: dict[int, tuple[str, str, str]] = {}

    def add(self, deltas: Sequence[_ToolCallDelta]) -> None:
        """Add the parts of a chunk."""
        for number, delta in enumerate(deltas):
            index = delta.index or (number if len(deltas) > 1 else 0)
            call_id, name, arguments = self._parts.get(index, ("", "", ""))
            function = delta.function
            self._parts[index] = (
                call_id or delta.id or "",
                name + (function.name or ""),
                arguments + (function.arguments or ""),
            )

    def calls(self) -> list[ToolCall]:
        """Return the calls in order."""
        return [ToolCall(*parts) for _, parts in sorted(self._parts.items()) if parts[1]]


def wire_message(message: Message) -> dict[str, object]:
    """Return a message in the JSON format of the API."""
    content: object = message.text
    if message.pictures:
        content = [*(_wire_picture(one) for one in message.pictures), {"type": "text", "text": message.text}]
    wire: dict[str, object] = {"role": message.role, "content": content}
    if message.tool_calls:
        wire["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        wire["tool_call_id"] = message.tool_call_id
    return wire


def _wire_picture(jpeg: bytes) -> dict[str, object]:
    url = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"
    return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}


def sse_data(chunks: Iterable[bytes]) -> Iterator[str]:
    """Yield the data of server-sent events, from the bytes of a response in pieces of any size.

    Raises:
        WireError: An event is larger than 1 MiB.
    """
    rest, data = b"", list[str]()
    for chunk in chunks:
        *lines, rest = (rest + chunk).replace(b"\r\n", b"\n").split(b"\n")
        if len(rest) > _MAX_EVENT_BYTES:
            raise WireError("an event of more than 1 MiB")
        for line in lines:
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" ").rstrip(b"\r").decode(errors="replace"))
            elif not line.strip() and data:
                yield "\n".join(data)
                data.clear()
    if rest.startswith(b"data:"):  # a connection that broke inside an event
        data.append(rest[5:].removeprefix(b" ").decode(errors="replace"))
    if data:
        yield "\n".join(data)


def parse_chunk(text: str) -> ChatChunk:
    """Read a chunk.

    Raises:
        WireError: It is not JSON, not a chunk, or an error of the server.
    """
    try:
        chunk = ChatChunk.model_validate(json.loads(text))
    except ValidationError as error:
        raise WireError(f"something else than a chunk of an answer: {shortened(text)}") from error
    except (ValueError, RecursionError) as error:
        raise WireError(f"JSON that is cut off or damaged: {shortened(text)}") from error
    if chunk.error is not None:
        raise WireError(f"an error: {error_message(chunk.error)}")
    return chunk
