"""The engine `vllm-omni`: the video chat of a vLLM-Omni server, over its WebSocket `/v1/video/chat/stream`.

A session of the server is configured once, receives pictures as they come, and answers a query with text and, with
`vision.own_voice`, speech at 24 kHz. The protocol has no message that ends an answer, and none that marks the end of an
answer without sound. So `cancel` closes the connection, which stops the generation; the next request opens another one.

Source: vllm_omni/entrypoints/openai/{serving_video_stream,video_stream_base}.py of the wheel 0.30.0.
"""

import base64
import contextlib
import io
import json
import socket as sockets
import threading
import time
import wave
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from typing_extensions import override

from sca.audio.pcm import pcm16_samples
from sca.config import Settings, VisionConfig
from sca.errors import ConfigError, UpstreamError
from sca.infer.engines.vllm_omni.dial import DialWords, connected
from sca.infer.openai_server import RetryableError, send_again, shortened, split_address
from sca.textutil import first_line
from sca.watch.engines.base import AudioPiece, Piece, WatchEngine, WatchEngineInfo, WatchRequest, WatchSession
from sca.watch.engines.pictures import jpeg_of
from sca.watch.engines.prompt import MarkedAnswer, system_text, user_text

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

__all__ = ["VllmOmniVision", "load"]

_PATH = "/video/chat/stream"
_WORDS = DialWords(
    "a video chat endpoint", f"/v1{_PATH} from 0.20 on, for models that see", "--vision-url", "SCA_VISION_API_KEY"
)
_SERVER_IDLE_S = 45.0
"""The server ends a session after 60 s without a message."""
_NO_SOUND_S = 2.0
"""After the text, sound follows at once or not at all."""
_LEAST_FRAMES, _MOST_FRAMES = 4, 128


def load(settings: Settings) -> "VllmOmniVision":
    """Return the engine. The server is contacted with the first request.

    Args:
        settings: The section `vision`.

    Raises:
        ConfigError: `vision.base_url` is missing or is not the address of a server.
    """
    given = settings.vision.base_url
    hint = "give --vision-url http://HOST:PORT, the address that `vllm serve … --omni` listens on"
    if given is None:
        raise ConfigError("the vision engine vllm-omni has no server: vision.base_url is not set", hint=hint)
    address = split_address(given.replace("ws", "http", 1) if given.startswith("ws") else given, _PATH)
    if address is None:
        raise ConfigError(f"vision.base_url should be the address of a server, got {given!r}", hint=hint)
    parts = urlsplit(address[0])
    path = f"{address[1]}{_PATH}"
    return VllmOmniVision(
        urlunsplit(("wss" if parts.scheme == "https" else "ws", parts.netloc, path, "", "")), settings.vision
    )


class VllmOmniVision(WatchEngine):
    """See the module.

    Args:
        url: The URL of the WebSocket.
        vision: The model, whether it speaks, the size of pictures, and the limits of an answer.
    """

    def __init__(self, url: str, vision: VisionConfig) -> None:
        self._url, self._vision = url, vision

    @property
    @override
    def info(self) -> WatchEngineInfo:
        return WatchEngineInfo(
            name="vllm-omni",
            summary=f"{self._vision.model or 'The model'} of a vLLM-Omni server, by its video chat",
            device=self._url,
            speaks=self._vision.own_voice,
            asks=True,
            max_side=self._vision.picture_side,
        )

    @override
    def open(self) -> WatchSession:
        return _VllmOmniSession(self._url, self._vision)


class _VllmOmniSession(WatchSession):
    def __init__(self, url: str, vision: VisionConfig) -> None:
        self._url, self._vision = url, vision
        self._opened = contextlib.ExitStack()
        self._socket: ClientConnection | None = None
        self._system, self._sent, self._used_s = "", -1, 0.0
        self._cancelled = threading.Event()
        self._is_closed = False

    @override
    def answer(self, request: WatchRequest) -> Iterator[Piece]:
        if self._is_closed:
            raise RuntimeError("the session is closed")
        self._cancelled.clear()
        is_complete = False
        try:
            send_again(lambda: self._begin(request), retries=self._vision.retries, wait=self._cancelled.wait)
            yield from self._pieces()
            is_complete = not self._cancelled.is_set()
        finally:
            if not is_complete:
                self._disconnect()

    @override
    def cancel(self) -> None:
        self._cancelled.set()
        socket = self._socket
        if socket is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sockets.SHUT_RDWR)

    @override
    def close(self) -> None:
        self._is_closed = True
        self.cancel()
        self._disconnect()

    # The connection

    def _begin(self, request: WatchRequest) -> None:
        """Send what is new, and wait until the answer begins."""
        try:
            socket = self._connection(request)
            for frame in request.frames:
                if frame.index > self._sent:
                    data = base64.b64encode(jpeg_of(frame.pixels, self._vision.picture_side)).decode("ascii")
                    self._send(
                        socket, "video.frame", data=data, frame_id=str(frame.index), pts_ms=frame.time_us // 1000
                    )
                    self._sent = frame.index
            self._send(socket, "video.query", text=user_text(request))
            ends_s = time.monotonic() + self._vision.first_token_timeout_s
            while not self._cancelled.is_set():
                if self._receive(ends_s).get("type") == "response.start":
                    return
        except UpstreamError as error:
            self._disconnect()
            if not self._cancelled.is_set():
                raise RetryableError(error) from error

    def _connection(self, request: WatchRequest) -> "ClientConnection":
        """Return the connection with the session of this system prompt; open another one if necessary."""
        system = system_text(request)
        if self._socket is not None and (system != self._system or time.monotonic() - self._used_s > _SERVER_IDLE_S):
            self._disconnect()
        if self._socket is None:
            socket = self._opened.enter_context(connected(self._url, self._vision, _WORDS))
            frames = min(max(_LEAST_FRAMES, len(request.frames)), _MOST_FRAMES)
            sampling = {"temperature": self._vision.temperature, "max_tokens": request.max_tokens}
            config: dict[str, object] = {
                "modalities": ["text", "audio"] if self._vision.own_voice else ["text"],
                "num_frames": frames,
                "max_frames": frames,
                "system_prompt": system,
                "enable_frame_filter": False,
                "sampling_params_list": [sampling],  # of the first stage; the server fills in the others
            }
            if self._vision.model is not None:
                config["model"] = self._vision.model
            self._send(socket, "session.config", **config)
            self._socket, self._system = socket, system
        return self._socket

    def _disconnect(self) -> None:
        self._socket, self._sent = None, -1
        with contextlib.suppress(Exception):
            self._opened.close()
        self._opened = contextlib.ExitStack()

    def _send(self, socket: "ClientConnection", kind: str, **fields: object) -> None:
        from websockets.exceptions import ConnectionClosed

        try:
            socket.send(json.dumps({"type": kind, **fields}))
        except (ConnectionClosed, OSError) as error:
            raise UpstreamError(f"the connection to {self._url} broke: {first_line(error)}") from error
        self._used_s = time.monotonic()

    def _receive(self, ends_s: float) -> dict[str, object]:
        """Return the next message.

        Raises:
            UpstreamError: None arrives in time, the connection broke, or it is an error or no JSON object.
        """
        from websockets.exceptions import ConnectionClosed

        assert self._socket is not None
        try:
            message = json.loads(self._socket.recv(timeout=max(0.0, ends_s - time.monotonic())))
        except TimeoutError as error:
            raise UpstreamError(
                f"{self._url} sends nothing more in time",
                hint="vision.stall_timeout_s and its neighbours give more time",
            ) from error
        except (ConnectionClosed, OSError) as error:
            raise UpstreamError(f"the connection to {self._url} broke: {first_line(error)}") from error
        except ValueError as error:
            raise UpstreamError(f"{self._url} sent something else than JSON") from error
        if not isinstance(message, dict):
            raise UpstreamError(f"{self._url} sent something else than a JSON object")
        if message.get("type") == "error":
            raise UpstreamError(f"{self._url} reports an error: {shortened(str(message.get('message')))}")
        return message

    # The answer

    def _pieces(self) -> Iterator[Piece]:
        text, has_sound, has_text = MarkedAnswer(), False, False
        deadline_s = time.monotonic() + self._vision.answer_timeout_s
        wait_s, is_text_done = self._vision.first_token_timeout_s, False
        while not self._cancelled.is_set():
            try:
                message = self._receive(min(time.monotonic() + wait_s, deadline_s))
            except UpstreamError as error:
                if self._cancelled.is_set() or (is_text_done and isinstance(error.__cause__, TimeoutError)):
                    return
                raise
            kind = message.get("type")
            wait_s = self._vision.stall_timeout_s
            if kind == "response.text.delta":
                has_text = True
                yield from text.add(str(message.get("delta") or ""))
            elif kind == "response.text.done":
                if not has_text:
                    yield from text.add(str(message.get("text") or ""))
                yield from text.end()
                is_text_done, wait_s = True, wait_s if has_sound else _NO_SOUND_S
                if not self._vision.own_voice:
                    return
            elif kind == "response.output_audio.delta":
                has_sound = True
                yield from self._sound(message)
            elif kind in ("response.output_audio.done", "session.done"):
                return

    def _sound(self, message: dict[str, object]) -> Iterator[AudioPiece]:
        try:
            with wave.open(io.BytesIO(base64.b64decode(str(message.get("data")), validate=True))) as file:
                if file.getsampwidth() != 2 or file.getnchannels() != 1:
                    raise UpstreamError(f"{self._url} sent sound that is not 16-bit mono")
                rate, data = file.getframerate(), file.readframes(file.getnframes())
        except (ValueError, EOFError, wave.Error) as error:
            raise UpstreamError(f"{self._url} sent sound that is not a WAV file: {first_line(error)}") from error
        if data:
            yield AudioPiece(pcm16_samples(data), rate)
