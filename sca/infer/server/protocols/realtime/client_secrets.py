"""`POST /v1/realtime/client_secrets` and `POST /v1/realtime/sessions`: keys for browsers, with the settings of sessions.

The second endpoint is that of the beta: its keys expire after a minute.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sca.infer.server.core.client_secrets import DEFAULT_SECONDS, SECONDS_RANGE
from sca.infer.server.core.errors import RequestRejectedError, error_document, error_response
from sca.infer.server.core.json_input import read_json
from sca.infer.server.core.limits import read_body, shortened
from sca.infer.server.core.security import bearer_token, protocol_key
from sca.infer.server.protocols.realtime.beta import beta_event
from sca.infer.server.protocols.realtime.events import RealtimeError, TurnDetection
from sca.infer.server.protocols.realtime.session_config import RealtimeSession

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.types import Scope

    from sca.infer.server.core.state import ServerContext

__all__ = ["add", "first_config"]

_MAX_BODY_BYTES = 1 << 20
_BETA_SECONDS = 60
_BY_MODEL = TurnDetection(type="semantic_vad")  # the default of a server with an end-of-turn model

_SECRET = {
    "type": "object",
    "required": ["value", "expires_at"],
    "properties": {"value": {"type": "string"}, "expires_at": {"type": "integer"}},
}
_ERRORS = {
    400: "The body is not JSON, or a field is not valid.",
    408: "The body arrived too slowly.",
    413: "The body is too large.",
    429: "Too many client secrets are valid; see Retry-After.",
}


def _description(body: Mapping[str, object], result: Mapping[str, object], text: str) -> dict[str, object]:
    """Return the OpenAPI description of an endpoint."""
    return {
        "requestBody": {"content": {"application/json": {"schema": body}}},
        "responses": {
            "200": {"description": text, "content": {"application/json": {"schema": result}}},
            **{str(status): error_response(reason) for status, reason in _ERRORS.items()},
        },
    }


class _ExpiresAfter(BaseModel):
    model_config = ConfigDict(extra="forbid")

    anchor: str = Field("created_at", pattern="^created_at$")
    seconds: int = Field(DEFAULT_SECONDS, ge=SECONDS_RANGE[0], le=SECONDS_RANGE[1])


class _SecretRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    expires_after: _ExpiresAfter = _ExpiresAfter()
    session: dict[str, object] = {}


def first_config(
    context: "ServerContext", session_id: str, scope: "Scope", settings: Mapping[str, object] | None = None
) -> RealtimeSession:
    """Return the first settings of a session: those of the server, changed by its client secret, then by its request.

    Args:
        context: The state of the server.
        session_id: The id of the session.
        scope: The ASGI scope of the request, whose headers may contain a client secret.
        settings: The settings of the request, if it has any.

    Raises:
        RealtimeError: The settings of the request are not valid.
    """
    config = _default_config(context, session_id)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    given = headers.get("authorization") or protocol_key(scope.get("subprotocols", []))
    secret = context.client_secrets.find(bearer_token(given))
    for wanted in (None if secret is None else secret.session, settings):
        config = config if wanted is None else config.updated(wanted)[0]
    return config


def _default_config(context: "ServerContext", session_id: str) -> RealtimeSession:
    config = RealtimeSession(f"sess_{session_id}", context.engine.info, context.settings.duplex.system_prompt)
    return config if context.turn_detectors is None else replace(config, turn_detection=_BY_MODEL)


def add(app: "FastAPI", context: "ServerContext") -> None:
    """Add the endpoints."""
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response

    text = "A key that expires, for sessions with these settings."
    ga = _description(_SecretRequest.model_json_schema(), _SECRET, text)
    beta_result = {"type": "object", "required": ["client_secret"], "properties": {"client_secret": _SECRET}}
    beta = _description({"type": "object"}, beta_result, f"{text} The spelling of the beta.")

    @app.post("/v1/realtime/client_secrets", openapi_extra=ga, response_class=Response)
    async def client_secrets(request: Request) -> Response:
        try:
            return JSONResponse(_create(context, await _read(context, request)))
        except RequestRejectedError as error:
            return JSONResponse(error_document(error.status, error.message), error.status, error.headers())

    @app.post("/v1/realtime/sessions", openapi_extra=beta, response_class=Response)
    async def sessions(request: Request) -> Response:
        try:
            session = await _read(context, request)
            wanted = {"session": session, "expires_after": {"seconds": _BETA_SECONDS}}
            created = _create(context, wanted)
        except RequestRejectedError as error:
            return JSONResponse(error_document(error.status, error.message), error.status, error.headers())
        event = beta_event({"type": "session.created", "session": created["session"]})
        assert event is not None
        document = event["session"]
        assert isinstance(document, dict)
        secret = {"value": created["value"], "expires_at": created["expires_at"]}
        return JSONResponse({**document, "client_secret": secret})


async def _read(context: "ServerContext", request: "Request") -> dict[str, object]:
    """Return the JSON object in the body of a request; an empty body is an empty object."""
    serve = context.settings.serve
    length = request.headers.get("content-length")
    body = await read_body(request.stream(), length, _MAX_BODY_BYTES, serve.body_timeout_s)
    try:
        document = read_json(body or b"{}")
    except ValueError as error:
        raise RequestRejectedError(400, "the body is not JSON") from error
    if not isinstance(document, dict):
        raise RequestRejectedError(400, "the body is not a JSON object")
    return document


def _create(context: "ServerContext", document: Mapping[str, object]) -> dict[str, object]:
    """Make a secret, and return the response of the API."""
    try:
        wanted = _SecretRequest.model_validate(document)
        config, _ = _default_config(context, "new").updated(wanted.session)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        message = shortened(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
        raise RequestRejectedError(400, message) from error
    except RealtimeError as error:
        raise RequestRejectedError(400, f"{error.param}: {error.message}") from error
    secret = context.client_secrets.create(wanted.session, wanted.expires_after.seconds)
    return {"value": secret.value, "expires_at": secret.expires_at, "session": config.document()}
