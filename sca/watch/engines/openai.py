"""The engine `openai`: a vision model on a server with the chat API of OpenAI, streamed.

A request contains the pictures as JPEG in data URLs, with `detail: low`. With `vision.keep_session` the server holds the
session: each has an id in the header `x-streaming-session`, and a picture is sent once. Failures are those of
`sca.infer.language.chat_api`; a request is sent again before its first text.
"""

import uuid
from collections.abc import Iterator

from typing_extensions import override

from sca.config import LlmConfig, Settings, VisionConfig, secret_text
from sca.errors import ConfigError
from sca.infer.language.base import Reply
from sca.infer.language.chat_api import ChatApi, ChatServer, chat_url
from sca.infer.messages import Message, ReplyOptions
from sca.watch.engines.base import Piece, WatchEngine, WatchEngineInfo, WatchRequest, WatchSession
from sca.watch.engines.pictures import jpeg_of
from sca.watch.engines.prompt import marked_pieces, system_text, user_text

__all__ = ["OpenAiVision", "load"]


def load(settings: Settings) -> "OpenAiVision":
    """Return the engine. The server is contacted with the first request.

    Args:
        settings: The section `vision`.

    Raises:
        ConfigError: `vision.base_url` is not set.
        UsageError: It is not an address.
    """
    vision = settings.vision
    if vision.base_url is None:
        raise ConfigError(
            "the vision engine openai has no server: vision.base_url is not set",
            hint="give --vision-url, such as http://127.0.0.1:8000/v1",
        )
    return OpenAiVision(chat_url(vision.base_url), vision)


class OpenAiVision(WatchEngine):
    """See the module.

    Args:
        url: The address of the endpoint.
        vision: The model, the size of pictures, and the limits of an answer.
    """

    def __init__(self, url: str, vision: VisionConfig) -> None:
        self._url, self._vision = url, vision

    @property
    @override
    def info(self) -> WatchEngineInfo:
        return WatchEngineInfo(
            name="openai",
            summary=f"{self._vision.model or 'The model'} of a server with the chat API of OpenAI",
            device=self._url.removesuffix("/chat/completions"),
            asks=True,
            max_side=self._vision.picture_side,
        )

    @override
    def open(self) -> WatchSession:
        return _OpenAiSession(self._url, self._vision)


class _OpenAiSession(WatchSession):
    def __init__(self, url: str, vision: VisionConfig) -> None:
        self._vision = vision
        headers = {"x-streaming-session": f"sca-{uuid.uuid4().hex}"} if vision.keep_session else {}
        server = ChatServer(
            url,
            secret_text(vision.api_key),
            vision.model,
            section="vision",
            connect_s=vision.connect_timeout_s,
            headers=headers,
        )
        self._api = ChatApi(server, _limits(vision))
        self._reply: Reply | None = None
        self._sent = -1
        self._is_closed = False

    @override
    def answer(self, request: WatchRequest) -> Iterator[Piece]:
        if self._is_closed:
            raise RuntimeError("the session is closed")
        frames = [one for one in request.frames if not self._vision.keep_session or one.index > self._sent]
        pictures = tuple(jpeg_of(one.pixels, self._vision.picture_side) for one in frames)
        messages = [
            Message("system", system_text(request)),
            Message("user", user_text(request), pictures=pictures),
        ]
        reply = self._reply = self._api.reply(messages, options=ReplyOptions(max_tokens=request.max_tokens))
        try:
            for piece in marked_pieces(part for part in reply if isinstance(part, str)):
                self._sent = max(self._sent, request.frames[-1].index)
                yield piece
            self._sent = max(self._sent, request.frames[-1].index)
        finally:
            reply.cancel()
            self._reply = None

    @override
    def cancel(self) -> None:
        reply = self._reply
        if reply is not None:
            reply.cancel()

    @override
    def close(self) -> None:
        self._is_closed = True
        self.cancel()
        self._api.close()


def _limits(vision: VisionConfig) -> LlmConfig:
    return LlmConfig(
        temperature=vision.temperature,
        max_tokens=vision.context_tokens,
        first_token_timeout_s=vision.first_token_timeout_s,
        stall_timeout_s=vision.stall_timeout_s,
        answer_timeout_s=vision.answer_timeout_s,
        retries=vision.retries,
    )
