"""`POST /v1/realtime/calls`: the OpenAI Realtime protocol over WebRTC, and `POST /v1/realtime/calls/{id}/hangup`.

In the beta the path was `/v1/realtime`. Calls that begin there have the events of the beta.
"""

import asyncio
import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from anyio.abc import TaskStatus

from sca.infer.server.core.errors import RequestRejectedError
from sca.infer.server.protocols.realtime.events import RealtimeError
from sca.infer.server.protocols.webrtc.call_socket import CallSocket
from sca.infer.server.protocols.webrtc.connection import CallConnection
from sca.infer.server.protocols.webrtc.offer import CallRequest, has_data_channel, read_call_request
from sca.infer.server.protocols.webrtc.peer import Peer

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request

    from sca.infer.server.core.state import ServerContext

__all__ = ["add"]

logger = logging.getLogger(__name__)

_PATH = "/v1/realtime/calls"
_BETA_PATH = "/v1/realtime"
_CODES = {
    400: "invalid_request",
    404: "call_not_found",
    408: "request_timeout",
    413: "request_too_large",
    415: "unsupported_content_type",
    429: "client_session_limit",
    501: "webrtc_not_installed",
    503: "session_limit",
}
_ERROR = {
    "type": "object",
    "required": ["message", "type", "code", "param"],
    "properties": {
        "message": {"type": "string"},
        "type": {"type": "string"},
        "code": {"type": "string"},
        "param": {"type": ["string", "null"]},
    },
}
_ERRORS = {
    400: "The offer or the settings are not valid.",
    408: "The body arrived too slowly.",
    413: "The body is too large.",
    415: "The body is neither an SDP offer nor a form.",
    429: "The client has its share of the sessions; see Retry-After.",
    501: "The extra `webrtc` is not installed.",
    503: "All sessions are in use; see Retry-After.",
}


def _error_response(description: str) -> dict[str, object]:
    schema = {"type": "object", "required": ["error"], "properties": {"error": _ERROR}}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_SDP = {"application/sdp": {"schema": {"type": "string"}}}
_FORM = {
    "type": "object",
    "required": ["sdp"],
    "properties": {"sdp": {"type": "string"}, "session": {"type": "string", "description": "A session as JSON."}},
}
_CALL = {
    "parameters": [{"name": "model", "in": "query", "schema": {"type": "string"}}],
    "requestBody": {"required": True, "content": {**_SDP, "multipart/form-data": {"schema": _FORM}}},
    "responses": {
        "201": {"description": "The SDP answer. `Location` is the path of the call.", "content": _SDP},
        **{str(status): _error_response(text) for status, text in _ERRORS.items()},
    },
}
_HANGUP = {
    "responses": {"200": {"description": "The call ends."}, "404": _error_response("There is no such call.")},
}


@dataclass(frozen=True, slots=True)
class _Answered:
    """A call that was answered: its id, and the SDP."""

    id: str
    sdp: str


@dataclass(frozen=True, slots=True)
class _Calls:
    """The open calls of a server, by id."""

    context: "ServerContext"
    connections: dict[str, CallConnection] = field(default_factory=dict)

    async def hold(self, request: "Request", call: CallRequest, *, task_status: TaskStatus[_Answered]) -> None:
        """Hold a call from its offer to its end.

        Args:
            request: The request.
            call: The offer.
            task_status: Receives the answer.

        Raises:
            RequestRejectedError: There is no slot for the session.
            RealtimeError: The offer or the settings are not valid.
        """
        context = self.context
        with context.sessions.acquire("calls", request.scope) as slot:
            socket = CallSocket(request.scope, beta=request.scope["path"] == _BETA_PATH)
            if not has_data_channel(call.sdp):
                socket.discard_messages()
            serve = context.settings.serve
            peer = Peer(serve.media_addresses, serve.ice_server_urls, socket.attach)
            try:
                connection = CallConnection(context, socket, slot, peer, call.session)
                answer = await peer.answer(call.sdp, connection.fill)
                with self._listed(f"rtc_{slot.id}", connection) as call_id:
                    task_status.started(_Answered(call_id, answer))
                    await connection.run()
            except Exception:  # the boundary of one session: the others continue
                if not peer.has_answered:
                    raise  # the request fails
                logger.exception("session %s failed", slot.id)
            finally:
                await peer.close()

    @contextmanager
    def _listed(self, call_id: str, connection: CallConnection) -> Iterator[str]:
        """List a call during the block. The client secret that began it may end it."""
        hangup = f"{_PATH}/{call_id}/hangup"
        self.connections[call_id] = connection
        self.context.client_secret_paths.add(hangup)
        try:
            yield call_id
        finally:
            del self.connections[call_id]
            self.context.client_secret_paths.discard(hangup)


async def _start(calls: _Calls, request: "Request") -> _Answered:
    """Start the call of a request.

    Raises:
        RequestRejectedError: The server cannot hold the call, or the body cannot be read.
        RealtimeError: The offer or the settings are not valid.
    """
    call = await read_call_request(request, calls.context.settings.serve)
    try:
        # It takes a second, in which the other sessions continue.
        await asyncio.to_thread(importlib.import_module, "aiortc")
    except ImportError as error:
        message = "this server has no WebRTC, because the package aiortc is not installed (extra webrtc of sca)"
        raise RequestRejectedError(501, message) from error
    for name in ("aiortc", "aioice"):
        logging.getLogger(name).setLevel(logging.WARNING)  # below that level they log passwords of connections
    answered = await calls.context.start_task(calls.hold, request, call)
    assert isinstance(answered, _Answered)
    return answered


def _document(error: RequestRejectedError) -> dict[str, object]:
    """Return the JSON body of an error, in the form of the API."""
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    return RealtimeError(error.message, _CODES[error.status], kind=kind).event()


def add(app: "FastAPI", context: "ServerContext") -> None:
    """Add the endpoints."""
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response

    calls = _Calls(context)
    context.client_secret_paths.update((_PATH, _BETA_PATH))

    @app.post(_BETA_PATH, openapi_extra=_CALL, response_class=Response, status_code=201)
    @app.post(_PATH, openapi_extra=_CALL, response_class=Response, status_code=201)
    async def start_call(request: Request) -> Response:
        try:
            call = await _start(calls, request)
        except RequestRejectedError as error:
            return JSONResponse(_document(error), error.status, error.headers())
        except RealtimeError as error:
            return JSONResponse(error.event(), 400)
        headers = {"Location": f"{_PATH}/{call.id}"}
        return Response(call.sdp, 201, headers, media_type="application/sdp")

    @app.post(f"{_PATH}/{{call_id}}/hangup", openapi_extra=_HANGUP, response_class=Response)
    async def hang_up(call_id: str) -> Response:
        connection = calls.connections.get(call_id)
        if connection is None:
            return JSONResponse(_document(RequestRejectedError(404, "there is no such call")), 404)
        connection.hang_up()
        return Response()
