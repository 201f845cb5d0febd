"""`POST /infer_wav?prompt=`: a session over one sound file, as fast as the engine steps.

The answer is what was said, on a track that runs with the file: sound said to a chunk lies after that chunk. Silence is heard after
the file, so that an engine that waits for the end of a turn notices it, and for as long as it still speaks.
"""

import asyncio
import base64
import io
import json
import wave
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np

from sca.audio.decode import BlockReader
from sca.audio.resample import StreamResampler
from sca.errors import InputError, ScaError
from sca.infer.clock import LoopClock
from sca.infer.engine import SessionConfig
from sca.infer.frames import AudioOutput, Frame, Interrupt, TurnEnd
from sca.infer.interfaces import AudioBlock, BaseListener
from sca.infer.server.http.limits import RequestRejectedError, read_body, refusal
from sca.units import HEARD_HZ, SPOKEN_HZ

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

    from sca.infer.server.app import ServerContext

__all__ = ["add"]

_TAIL_S = 2
_LONGEST_ANSWER_S = 30
_PROMPT_CHARACTERS = 8000
_MIN_RATE_HZ, _MAX_RATE_HZ = 1000, 192_000


_FORM = {"type": "object", "required": ["file"], "properties": {"file": {"type": "string", "format": "binary"}}}
_ANSWER = {
    "type": "object",
    "required": ["text", "audio", "sample_rate", "timings"],
    "properties": {
        "text": {"type": "string"},
        "audio": {"type": "string", "description": "A WAV file in base64: int16 mono."},
        "sample_rate": {"const": SPOKEN_HZ},
        "timings": {"type": "object"},
    },
}
_REFUSALS = {
    400: "No form, cut short, or without `file`.",
    408: "The body came too slowly.",
    413: "Too many bytes, or too long a sound.",
    415: "No multipart/form-data, or packed.",
    422: "No sound that can be read, or too long a prompt.",
    500: "The engine failed.",
    503: "No place; see Retry-After.",
}
_DESCRIBED = {
    "parameters": [{"name": "prompt", "in": "query", "schema": {"type": "string"}}],
    "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}},
    "responses": {
        "200": {
            "description": "What was said.",
            "content": {"application/json": {"schema": _ANSWER}, "audio/wav": {"schema": {"type": "string", "format": "binary"}}},
        },
        **{str(status): refusal(what) for status, what in _REFUSALS.items()},
    },
}  # fmt: skip


def add(app: "FastAPI", server: "ServerContext") -> None:
    """Add the endpoint."""
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response

    @app.post("/infer_wav", openapi_extra=_DESCRIBED, response_class=Response)
    async def infer_wav(request: Request) -> Response:
        try:
            with server.sessions.seat("infer_wav") as seat:
                return await _infer(server, request, seat.id)
        except RequestRejectedError as error:
            headers = {"Connection": "close"} if error.close else {}
            if error.retry_after_s is not None:
                headers["Retry-After"] = str(error.retry_after_s)
            return JSONResponse({"error": {"status": error.status, "what": error.what}}, error.status, headers)


async def _infer(server: "ServerContext", request: "Request", session_id: str) -> "Response":
    from starlette.responses import Response

    prompt = request.query_params.get("prompt")
    if prompt is not None and len(prompt) > _PROMPT_CHARACTERS:
        raise RequestRejectedError(422, f"the prompt is longer than {_PROMPT_CHARACTERS} characters")
    settings = server.settings
    samples = await asyncio.to_thread(_decode, await _upload(server, request), settings.serve.max_wav_s)
    config = SessionConfig(
        session_id=session_id,
        grid=settings.grid,
        prompt=settings.duplex.system_prompt if prompt is None else prompt,
    )
    upload = _Upload(samples, settings.grid.heard_samples)
    session = server.live(upload, upload, LoopClock(), config, [upload])
    try:
        stats = await session.run()
    except ScaError as error:
        raise RequestRejectedError(500, error.message) from error
    wav = upload.wav(settings.grid.spoken_samples)
    if "audio/wav" in request.headers.get("accept", ""):
        return Response(wav, media_type="audio/wav")
    document = {
        "text": "".join(upload.text if server.engine.info.produces_audio else upload.thoughts),
        "audio": base64.b64encode(wav).decode(),
        "sample_rate": SPOKEN_HZ,
        "timings": {"heard_s": len(samples) / HEARD_HZ, **stats.summary()},
    }
    return Response(json.dumps(document), media_type="application/json")


async def _upload(server: "ServerContext", request: "Request") -> bytes:
    """The bytes of the field `file`."""
    from python_multipart.multipart import parse_options_header
    from starlette.datastructures import UploadFile
    from starlette.exceptions import HTTPException
    from starlette.requests import ClientDisconnect, Request

    serve = server.settings.serve
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise RequestRejectedError(415, "send multipart/form-data with the sound in the field `file`")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestRejectedError(415, "bodies are taken as they are, without Content-Encoding", close=True)
    try:
        length = request.headers.get("content-length")
        body = await read_body(request.stream(), length, serve.max_body_bytes, serve.body_timeout_s)
    except ClientDisconnect as error:
        raise RequestRejectedError(400, "the client left") from error

    # The parser takes a body that ends early for a whole one and leaves its files open.
    boundary = parse_options_header(request.headers["content-type"])[1].get(b"boundary", b"")
    if not boundary or b"--" + boundary + b"--" not in body[-len(boundary) - 8 :]:
        raise RequestRejectedError(400, "the multipart body is cut short, or has no boundary")

    async def whole() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        async with Request(request.scope, whole).form(max_files=1, max_fields=4) as form:
            found = form.get("file")
            if not isinstance(found, UploadFile):
                raise RequestRejectedError(400, "there is no whole file in the field `file`")
            return await found.read()
    except HTTPException as error:
        raise RequestRejectedError(400, f"the multipart body cannot be read: {error.detail}") from error


def _decode(data: bytes, most_s: float) -> np.ndarray:
    """Float32 mono `(n,)` at 16 kHz. Never holds more than `most_s` of it."""
    with TemporaryDirectory(prefix="sca-") as folder:
        path = Path(folder) / "upload"
        path.write_bytes(data)
        try:
            with BlockReader(path) as reader:
                rate_hz = reader.info.rate_hz
                if not _MIN_RATE_HZ <= rate_hz <= _MAX_RATE_HZ:
                    raise RequestRejectedError(
                        422, f"sound at {rate_hz} Hz; {_MIN_RATE_HZ}-{_MAX_RATE_HZ} Hz can be read"
                    )
                resampler = StreamResampler(rate_hz, HEARD_HZ)
                pieces = []
                for block in reader:
                    if reader.frames > most_s * rate_hz:
                        raise RequestRejectedError(413, f"the sound is longer than {most_s:g} s")
                    pieces.append(resampler.push(block))
                joined = np.concatenate([*pieces, resampler.flush()])
        except InputError as error:
            raise RequestRejectedError(422, error.message.replace(str(path), "the file")) from error
    return np.clip(joined, -1, 1, out=joined)


class _Upload(BaseListener):
    """Source, sink and listener of the session: the next chunk is heard when the one before was stepped."""

    can_wait = True

    def __init__(self, samples: np.ndarray, chunk: int) -> None:
        self._samples, self._chunk = samples, chunk
        self._said: list[AudioOutput] = []
        self._steps = anyio.Event()
        self._speaking = False
        self.text: list[str] = []
        self.thoughts: list[str] = []

    async def blocks(self) -> AsyncIterator[AudioBlock]:
        """See `Source`."""
        whole = -(-(len(self._samples) + _TAIL_S * HEARD_HZ) // self._chunk)
        most = whole + _LONGEST_ANSWER_S * HEARD_HZ // self._chunk
        clock, index = LoopClock(), 0
        while index < whole or (self._speaking and index < most):
            piece = np.zeros(self._chunk, np.float32)
            real = self._samples[index * self._chunk : (index + 1) * self._chunk]
            piece[: len(real)] = real
            stepped = self._steps
            yield AudioBlock(piece, clock.now())
            await stepped.wait()
            index += 1

    async def play(self, frame: AudioOutput) -> int:
        """See `Sink`."""
        self._said.append(frame)
        self.text.append(frame.text_log)
        return 0

    def flush(self) -> None:
        """See `Sink`: all that was said by now was heard, at one chunk of sound a step."""

    async def finish(self, heard_samples: int) -> None:
        """See `Sink`."""

    def on_step(self, chunk_index: int, frames: Sequence[Frame]) -> None:
        """See `SessionListener`."""
        for frame in frames:
            match frame:
                case AudioOutput():
                    self._speaking = True
                case TurnEnd() | Interrupt():
                    self._speaking = False
                case _:
                    self.thoughts.append(getattr(frame, "text_token_str", ""))
        self._steps.set()
        self._steps = anyio.Event()

    def wav(self, chunk: int) -> bytes:
        """All that was said, at its place; int16 mono at 24 kHz."""
        track = bytearray()
        for frame in self._said:
            track += bytes(max(0, 2 * (frame.chunk_index + 1) * chunk - len(track)))
            track += frame.audio_bytes
        out = io.BytesIO()
        with wave.open(out, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SPOKEN_HZ)
            file.writeframes(track)
        return out.getvalue()
