"""The endpoints of `sca watch --serve`."""

from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING

from anyio import to_thread

from sca.infer.server.core.errors import error_document
from sca.watch.server.host import WatchHost
from sca.watch.server.messages import InstructionRequest, ProfileRequest, StartRequest, read_message
from sca.watch.server.spoken import read_speech
from sca.watch.server.streams import BOUNDARY, Places, events, pictures, speech

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["add_routes"]

_NO_STORE = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def add_routes(app: "FastAPI", host: WatchHost, places: Places) -> None:
    """Add the endpoints.

    Args:
        app: The application.
        host: The session.
        places: The open streams.
    """
    _add_control(app, host)
    _add_instructions(app, host)
    _add_streams(app, host, places)
    _add_frame(app, host)


def _add_control(app: "FastAPI", host: WatchHost) -> None:
    from starlette.requests import Request

    @app.get("/api/status")
    async def status() -> dict[str, object]:
        return host.status()

    @app.post("/api/start")
    async def start(request: Request) -> dict[str, object]:
        message = await read_message(request, StartRequest, host.settings)
        host.sources.find(message.source)  # before anything is changed
        if message.profile is not None:
            host.choose_profile(message.profile)
        if message.instruction is not None:
            host.set_instruction(message.instruction)
        await to_thread.run_sync(partial(host.start, message.source))
        return host.status()

    @app.post("/api/stop")
    async def stop() -> dict[str, object]:
        await to_thread.run_sync(host.stop)
        return host.status()

    @app.get("/api/profiles")
    async def profiles() -> dict[str, object]:
        return host.profiles()

    @app.post("/api/profiles")
    async def choose_profile(request: Request) -> dict[str, object]:
        message = await read_message(request, ProfileRequest, host.settings)
        host.choose_profile(message.name, message.profile)
        return host.profiles()


def _add_instructions(app: "FastAPI", host: WatchHost) -> None:
    from starlette.requests import Request

    @app.post("/api/instruction")
    async def instruction(request: Request) -> dict[str, object]:
        message = await read_message(request, InstructionRequest, host.settings)
        host.set_instruction(message.instruction)
        return host.status()

    @app.post("/api/instruction/speech")
    async def spoken_instruction(request: Request) -> dict[str, object]:
        host.spoken.check()
        samples = await read_speech(request, host.settings)
        text = await to_thread.run_sync(host.spoken.recognize, samples)
        host.set_instruction(text)
        return {"instruction": text}


def _add_streams(app: "FastAPI", host: WatchHost, places: Places) -> None:
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response, StreamingResponse

    def stream(blocks: AsyncIterator[bytes], media_type: str) -> Response:
        places.check()
        return StreamingResponse(_placed(blocks, places), headers=_NO_STORE, media_type=media_type)

    @app.get("/api/stream", response_class=Response)
    async def event_stream(request: Request, *, sound: bool = False) -> Response:
        last_id = request.headers.get("last-event-id")
        return stream(events(host, last_id, with_sound=sound), "text/event-stream")

    @app.get("/api/mjpeg", response_class=Response)
    async def mjpeg() -> Response:
        return stream(pictures(host), f"multipart/x-mixed-replace; boundary={BOUNDARY}")

    @app.get("/api/audio-stream", response_class=Response)
    async def audio_stream() -> Response:
        session = host.session
        if session is None or session.track is None:
            message = "no session runs" if session is None else "the commentary has no voice"
            return JSONResponse(error_document(404, message), 404)
        return stream(speech(host, session), "audio/wav")


async def _placed(blocks: AsyncIterator[bytes], places: Places) -> AsyncIterator[bytes]:
    with places.one():
        async for block in blocks:
            yield block


def _add_frame(app: "FastAPI", host: WatchHost) -> None:
    from typing import Annotated

    from fastapi import Query
    from starlette.responses import JSONResponse, Response

    most_s = 1e9

    @app.get("/api/frame", response_class=Response)
    async def frame(time_s: Annotated[float | None, Query(ge=0, le=most_s)] = None) -> Response:
        session = host.session
        if session is None:
            return JSONResponse(error_document(404, "no session runs"), 404)
        if time_s is None:
            shown = session.shown(host.clock())
            found = None if shown is None else shown[0]
        else:
            found = session.run.display.get_frame_near(round(time_s * 1e6))
        if found is None:
            return JSONResponse(error_document(404, "there is no picture yet"), 404)
        headers = {"X-Time-Us": str(found.time_us), "X-Index": str(found.index), "Cache-Control": "no-store"}
        return Response(found.data, headers=headers, media_type="image/jpeg")
