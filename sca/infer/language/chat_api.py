"""A client of servers with the chat API of OpenAI: `POST /v1/chat/completions`, streamed.

    failure                                             exception        exit code
    no server, no answer in time, a broken connection   UpstreamError    6
    401, 403: missing or wrong key                      ConfigError      3
    404: no such endpoint or model                      UpstreamError    6
    429, 5xx (tried again before the first text)        UpstreamError    6
    another status, or something else than the API      UpstreamError    6

A thread reads the response, and the reply takes the pieces from a queue. So limits on time are exact, and `cancel` ends
a wait at once, whatever the network does.
"""

import json
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
from typing_extensions import override

from sca.errors import ScaError, UpstreamError, UsageError
from sca.infer.language.base import LanguageModel, Reply
from sca.infer.language.chat_events import ToolCallParts, WireError, parse_chunk, sse_data, wire_message
from sca.infer.messages import DEFAULT_OPTIONS, Message, ReplyOptions, ToolCall, ToolSchema
from sca.infer.openai_server import Failures, RetryableError, auth_headers, open_client, send_again, split_address

if TYPE_CHECKING:
    from sca.config import LlmConfig

__all__ = ["ChatApi", "ChatServer", "chat_url"]

_ENDPOINT = "/chat/completions"
_MAX_TEXT_CHARS = 1 << 20


def chat_url(base_url: str) -> str:
    """Return the address of the endpoint.

    Args:
        base_url: The address of the server, with or without `/v1` and `/chat/completions`.

    Raises:
        UsageError: It is not an address.
    """
    address = split_address(base_url, _ENDPOINT)
    if address is None:
        raise UsageError(
            f"{base_url!r} is not the address of a language model server", hint="such as http://127.0.0.1:8080/v1"
        )
    return "".join([*address, _ENDPOINT])


@dataclass(frozen=True, slots=True)
class ChatServer:
    """A server.

    Attributes:
        url: The address of the endpoint.
        key: The key that is sent as `Authorization: Bearer …`.
        model: The name of the model; None leaves it to the server.
        context_tokens: The length of the context; None if it is not known.
        section: The section of the settings that has its address and limits, as messages name it.
        connect_s: The longest time for a connection, in seconds.
        headers: More headers of every request.
    """

    url: str
    key: str | None = None
    model: str | None = None
    context_tokens: int | None = None
    section: str = "llm"
    connect_s: float = 5.0
    headers: Mapping[str, str] = field(default_factory=dict)


class ChatApi(LanguageModel):
    """A language model on a server.

    Args:
        server: The server.
        llm: Temperature, length and time limits of an answer.

    Raises:
        ConfigError: The key cannot be sent in an HTTP header.
    """

    def __init__(self, server: ChatServer, llm: "LlmConfig") -> None:
        self._server, self._llm = server, llm
        headers = {"Accept": "text/event-stream, application/json", "Accept-Encoding": "identity"}
        read_s = max(llm.first_token_timeout_s, llm.stall_timeout_s) + 1.0  # the reply gives up first
        self._http = open_client(
            server.url,
            headers | dict(server.headers) | auth_headers(server.key, server.section),
            connect_s=min(llm.first_token_timeout_s, server.connect_s),
            read_s=read_s,
        )

    @property
    @override
    def name(self) -> str:
        where = self._server.url.removesuffix(_ENDPOINT)
        return where if self._server.model is None else f"{self._server.model} at {where}"

    @property
    @override
    def context_tokens(self) -> int | None:
        return self._server.context_tokens

    @override
    def reply(
        self, messages: Sequence[Message], tools: Sequence[ToolSchema] = (), options: ReplyOptions = DEFAULT_OPTIONS
    ) -> Reply:
        body: dict[str, object] = {
            "messages": [wire_message(message) for message in messages],
            "stream": True,
            "temperature": self._llm.temperature,
            "max_tokens": min(options.max_tokens or self._llm.max_tokens, self._llm.max_tokens),
        }
        if self._server.model is not None:
            body["model"] = self._server.model
        if tools:
            body["tools"] = list(tools)
            if options.tool_choice is not None:
                body["tool_choice"] = options.tool_choice
        return _HttpReply(self._http, self._server, json.dumps(body).encode(), self._llm)

    @override
    def close(self) -> None:
        self._http.close()


class _HttpReply(Reply):
    """One request. Items of the queue are pieces, the exception that ended the answer, or None at its end."""

    def __init__(self, http: httpx.Client, server: ChatServer, body: bytes, llm: "LlmConfig") -> None:
        self._http, self._url, self._body, self._llm = http, server.url, body, llm
        self._where, self._section = server.url.removesuffix(_ENDPOINT), server.section
        self._failures = Failures(
            self._where,
            self._section,
            "an answer",
            "has no chat endpoint or no such model",
            f"{self._section}.base_url is the address before /chat/completions, {self._section}.model a model of it",
        )
        self._items: queue.SimpleQueue[str | ToolCall | ScaError | None] = queue.SimpleQueue()
        self._cancelled = threading.Event()
        self._has_text = False
        self._started_s = time.monotonic()
        threading.Thread(target=self._run, name="sca language model", daemon=True).start()

    @override
    def cancel(self) -> None:
        self._cancelled.set()
        self._items.put(None)

    # The reading side

    @override
    def __iter__(self) -> Iterator[str | ToolCall]:
        limit_s, deadline_s = self._llm.first_token_timeout_s, self._started_s + self._llm.answer_timeout_s
        waits_until_s = self._started_s + limit_s
        while not self._cancelled.is_set():
            try:
                item = self._items.get(timeout=max(0.0, min(waits_until_s, deadline_s) - time.monotonic()))
            except queue.Empty:
                self.cancel()
                raise self._timeout(limit_s, is_whole=deadline_s <= waits_until_s) from None
            if isinstance(item, ScaError):
                raise item
            if item is None:
                return
            if not self._cancelled.is_set():
                yield item
            limit_s = self._llm.stall_timeout_s
            waits_until_s = time.monotonic() + limit_s

    def _timeout(self, limit_s: float, *, is_whole: bool) -> UpstreamError:
        if is_whole:
            return UpstreamError(
                f"the answer of {self._where} is not complete after {self._llm.answer_timeout_s:g} s",
                hint=f"{self._section}.answer_timeout_s gives more time; fewer tokens shorten the answer",
            )
        if self._has_text:
            return UpstreamError(
                f"{self._where} stopped in the middle of an answer: nothing arrived for {limit_s:g} s",
                hint=f"{self._section}.stall_timeout_s gives more time",
            )
        return UpstreamError(
            f"{self._where} does not begin an answer within {limit_s:g} s",
            hint=f"{self._section}.first_token_timeout_s gives more time",
        )

    # The thread

    def _run(self) -> None:
        try:
            send_again(self._request, retries=self._llm.retries, wait=self._cancelled.wait)
        except ScaError as error:
            self._items.put(error)
        else:
            self._items.put(None)

    def _request(self) -> None:
        """Send the request and queue the pieces of the answer."""
        headers = {"Content-Type": "application/json"}
        try:
            with self._http.stream("POST", self._url, content=self._body, headers=headers) as response:
                if response.status_code != 200:
                    raise self._failures.refused(response)
                if "json" in response.headers.get("content-type", ""):
                    self._read_whole(response)
                else:
                    self._read_stream(response)
        except httpx.HTTPError as error:
            raise self._failures.broken(error, has_begun=self._has_text) from error
        except RuntimeError as error:  # the client was closed
            raise UpstreamError(f"the connection to {self._where} was closed") from error
        except WireError as error:
            raise UpstreamError(f"{self._where} sent {error}") from error

    def _read_whole(self, response: httpx.Response) -> None:
        """Read the answer of a server that does not stream."""
        body = b""
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > _MAX_TEXT_CHARS:
                raise WireError("more than 1 MiB of text")
        chunk_ = parse_chunk(body.decode(errors="replace"))
        if not chunk_.choices:
            raise WireError("an answer without a choice")
        calls = ToolCallParts()
        self._put(chunk_.delta.content)
        calls.add(chunk_.delta.tool_calls or ())
        self._put_calls(calls)

    def _read_stream(self, response: httpx.Response) -> None:
        calls, complete, length = ToolCallParts(), False, 0
        for data in sse_data(response.iter_bytes()):
            if self._cancelled.is_set():
                return
            if data == "[DONE]":
                complete = True
                break
            chunk = parse_chunk(data)
            self._put(chunk.delta.content)
            calls.add(chunk.delta.tool_calls or ())
            length += len(chunk.delta.content or "")
            complete = complete or chunk.is_last
            if length > _MAX_TEXT_CHARS:
                raise WireError("more than 1 MiB of text")
        if not complete:
            problem = UpstreamError(f"{self._where} closed the connection before the answer was complete")
            raise problem if self._has_text else RetryableError(problem)
        self._put_calls(calls)

    def _put(self, text: str | None) -> None:
        if text:
            self._has_text = True
            self._items.put(text)

    def _put_calls(self, calls: ToolCallParts) -> None:
        for call in calls.calls():
            self._items.put(call)
