"""`POST /infer_wav?prompt=&voice=&generation.NAME=`: runs a session over one uploaded audio file, as fast as the engine steps.

The response is the spoken audio on a track parallel to the file: what the engine produces for a chunk is placed after
that chunk. Silence is appended to the input so that the engine can detect the end of the turn, and as long as it is
speaking.
"""

import asyncio
import base64
import io
import json
import wave
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

import anyio
import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.errors import ConfigError, ScaError
from sca.infer.clock import LoopClock
from sca.infer.engine import SessionConfig
from sca.infer.frames import AudioOutput, ErrorFrame, Frame, Interrupt, ThoughtPacket, TurnEnd
from sca.infer.generation import GENERATION_PREFIX, GenerationOptions, read_generation_texts
from sca.infer.interfaces import AudioBlock, BaseListener
from sca.infer.server.core.errors import RequestRejectedError, error_document, error_response
from sca.infer.server.core.limits import MAX_PROMPT_CHARACTERS, shortened
from sca.infer.server.http.form import check_not_compressed, open_form
from sca.infer.server.http.upload import decode_upload
from sca.units import HEARD_HZ, SPOKEN_HZ

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

    from sca.infer.server.core.state import ServerContext

__all__ = ["add"]

_TAIL_S = 2
_MAX_RESPONSE_S = 30

_FORM = {"type": "object", "required": ["file"], "properties": {"file": {"type": "string", "format": "binary"}}}
_RESULT = {
    "type": "object",
    "required": ["text", "audio", "sample_rate", "timings"],
    "properties": {
        "text": {"type": "string"},
        "audio": {"type": "string", "description": "A WAV file in base64: int16 mono."},
        "sample_rate": {"const": SPOKEN_HZ},
        "timings": {"type": "object"},
        "problems": {"type": "array", "items": {"type": "string"}, "description": "What the engine reported."},
    },
}
_ERRORS = {
    400: "The form is missing or cut short, or has no `file`.",
    408: "The body arrived too slowly.",
    413: "The body is too large, or the audio too long.",
    415: "The body is not multipart/form-data, or is compressed.",
    422: "The file is not readable audio, the prompt is too long, or the voice or an option of `generation` is not valid.",
    500: "The engine failed.",
    502: "The engine reported a problem, and there is no answer.",
    429: "The client has its share of the sessions; see Retry-After.",
    503: "All sessions are in use; see Retry-After.",
}
_OPENAPI = {
    "parameters": [
        {"name": name, "in": "query", "schema": {"type": "string"}}
        for name in ("prompt", "voice", *(GENERATION_PREFIX + name for name in GenerationOptions.names()))
    ],
    "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FORM}}},
    "responses": {
        "200": {
            "description": "The spoken audio and its text.",
            "content": {
                "application/json": {"schema": _RESULT},
                "audio/wav": {"schema": {"type": "string", "format": "binary"}},
            },
        },
        **{str(status): error_response(text) for status, text in _ERRORS.items()},
    },
}


def add(app: "FastAPI", context: "ServerContext") -> None:
    """Add the endpoint."""
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response

    @app.post("/infer_wav", openapi_extra=_OPENAPI, response_class=Response)
    async def infer_wav(request: Request) -> Response:
        try:
            with context.sessions.acquire("infer_wav", request.scope) as slot:
                return await _run_session(context, request, slot.id)
        except RequestRejectedError as error:
            return JSONResponse(error_document(error.status, error.message), error.status, error.headers())


async def _run_session(context: "ServerContext", request: "Request", session_id: str) -> "Response":
    from starlette.responses import Response

    prompt = request.query_params.get("prompt")
    if prompt is not None and len(prompt) > MAX_PROMPT_CHARACTERS:
        raise RequestRejectedError(422, f"the prompt is longer than {MAX_PROMPT_CHARACTERS} characters")
    voice = request.query_params.get("voice")
    if voice is not None and (problem := context.engine.info.voice_problem(voice)):
        raise RequestRejectedError(422, problem)
    try:
        generation = read_generation_texts(request.query_params)
    except ConfigError as error:
        raise RequestRejectedError(422, shortened(error.message)) from error
    unfollowed = context.engine.info.generation_problem(generation)
    settings = context.settings
    samples = await asyncio.to_thread(decode_upload, await _read_file_field(context, request), settings.serve.max_wav_s)
    config = SessionConfig(
        session_id=session_id,
        grid=settings.grid,
        prompt=settings.duplex.system_prompt if prompt is None else prompt,
        voice=voice,
        pace="lockstep" if context.engine.info.answers_in_background else "realtime",
        generation=generation,
    )
    upload = _Upload(samples, settings.grid.heard_samples)
    session = context.new_session(upload, upload, LoopClock(), config, [upload])
    try:
        stats = await session.run()
    except ScaError as error:
        raise RequestRejectedError(500, error.message) from error
    if upload.problems and not upload.has_answer:
        raise RequestRejectedError(502, upload.problems[0])
    wav = upload.wav(settings.grid.spoken_samples)
    if "audio/wav" in request.headers.get("accept", ""):
        return Response(wav, media_type="audio/wav")
    document = {
        "text": "".join(upload.text if context.engine.info.produces_audio else upload.thoughts),
        "audio": base64.b64encode(wav).decode(),
        "sample_rate": SPOKEN_HZ,
        "timings": {"heard_s": len(samples) / HEARD_HZ, **stats.summary()},
        "problems": upload.problems if unfollowed is None else [unfollowed, *upload.problems],
    }
    return Response(json.dumps(document), media_type="application/json")


async def _read_file_field(context: "ServerContext", request: "Request") -> bytes:
    """Return the content of the form field `file`."""
    from starlette.datastructures import UploadFile

    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise RequestRejectedError(415, "send multipart/form-data with the audio in the field `file`")
    check_not_compressed(request)
    serve = context.settings.serve
    async with open_form(request, serve.max_body_bytes, serve) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise RequestRejectedError(400, "the form has no complete file in the field `file`")
        return await file.read()


class _Upload(BaseListener):
    """The source, the sink and a listener of the session. A chunk is sent once the engine has stepped the one before.

    Attributes:
        text: The text of the spoken frames.
        thoughts: The text of the thoughts.
        problems: What the engine reported.
    """

    can_wait = True

    def __init__(self, samples: NDArray[np.float32], chunk: int) -> None:
        self._samples, self._chunk = samples, chunk
        self._spoken: list[AudioOutput] = []
        self._stepped = anyio.Event()
        self._speaking = False
        self.text: list[str] = []
        self.thoughts: list[str] = []
        self.problems: list[str] = []

    @property
    def has_answer(self) -> bool:
        """Whether there is audio, or a text without audio."""
        return bool(self._spoken or any(self.thoughts))

    async def blocks(self) -> AsyncIterator[AudioBlock]:
        """Yield the chunks of the file, then silence. Implements `AudioSource`."""
        file_chunks = -(-(len(self._samples) + _TAIL_S * HEARD_HZ) // self._chunk)
        max_chunks = file_chunks + _MAX_RESPONSE_S * HEARD_HZ // self._chunk
        clock, index = LoopClock(), 0
        while index < file_chunks or (self._speaking and index < max_chunks):
            chunk = np.zeros(self._chunk, np.float32)
            samples = self._samples[index * self._chunk : (index + 1) * self._chunk]
            chunk[: len(samples)] = samples
            stepped = self._stepped
            yield AudioBlock(chunk, clock.now())
            await stepped.wait()
            index += 1

    async def play(self, frame: AudioOutput) -> int:
        """Keep a frame. Implements `AudioSink`."""
        self._spoken.append(frame)
        self.text.append(frame.text_log)
        return 0

    def flush(self) -> None:
        """Do nothing: at one chunk of audio per step, everything sent so far has been played.

        Implements `AudioSink`.
        """

    async def finish(self, heard_samples: int) -> None:
        """Do nothing. Implements `AudioSink`."""

    @override
    def on_step(self, chunk_index: int, frames: Sequence[Frame]) -> None:
        for frame in frames:
            match frame:
                case AudioOutput():
                    self._speaking = True
                case TurnEnd() | Interrupt():
                    self._speaking = False
                case ThoughtPacket():
                    self.thoughts.append(frame.text_token_str)
                case ErrorFrame(fatal=False):
                    self.problems.append(frame.message)
                case _:
                    pass
        self._stepped.set()
        self._stepped = anyio.Event()

    def wav(self, chunk: int) -> bytes:
        """Return the spoken frames at their places, as a WAV file: int16 mono at 24 kHz.

        Args:
            chunk: The length of a chunk at 24 kHz, in samples.
        """
        track = bytearray()
        for frame in self._spoken:
            track += bytes(max(0, 2 * (frame.chunk_index + 1) * chunk - len(track)))
            track += frame.audio_bytes
        out = io.BytesIO()
        with wave.open(out, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SPOKEN_HZ)
            file.writeframes(track)
        return out.getvalue()
