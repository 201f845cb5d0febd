"""Multipart forms in the body of a request, checked to be complete."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from sca.infer.server.core.errors import RequestRejectedError
from sca.infer.server.core.limits import read_body, shortened

if TYPE_CHECKING:
    from starlette.datastructures import FormData
    from starlette.requests import Request
    from starlette.types import Message

    from sca.config import ServeConfig

__all__ = ["check_not_compressed", "open_form", "read_request_body"]

_MAX_FILES, _MAX_FIELDS = 2, 4


def check_not_compressed(request: "Request") -> None:
    """Check that a body is not compressed.

    Raises:
        RequestRejectedError: It is (415).
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestRejectedError(415, "compressed bodies are not supported; send no Content-Encoding", close=True)


async def read_request_body(request: "Request", max_bytes: int, serve: "ServeConfig") -> bytes:
    """Return the body of a request.

    Args:
        request: The request.
        max_bytes: The largest body.
        serve: The time limit.

    Raises:
        RequestRejectedError: It is too large (413), too slow (408), or the client disconnected (400).
    """
    from starlette.requests import ClientDisconnect

    try:
        length = request.headers.get("content-length")
        return await read_body(request.stream(), length, max_bytes, serve.body_timeout_s)
    except ClientDisconnect as error:
        raise RequestRejectedError(400, "the client disconnected") from error


@asynccontextmanager
async def open_form(request: "Request", max_bytes: int, serve: "ServeConfig") -> "AsyncIterator[FormData]":
    """Read a multipart form with at most two files and four fields.

    Args:
        request: The request. Its content type is multipart/form-data.
        max_bytes: The largest body.
        serve: The time limit.

    Raises:
        RequestRejectedError: The form cannot be read, is cut short, too large or too slow.
    """
    from python_multipart.multipart import parse_options_header
    from starlette.exceptions import HTTPException
    from starlette.requests import Request

    body = await read_request_body(request, max_bytes, serve)
    # The multipart parser accepts a body that ends early and leaves its files open.
    boundary = parse_options_header(request.headers["content-type"])[1].get(b"boundary", b"")
    if not boundary or b"--" + boundary + b"--" not in body[-len(boundary) - 8 :]:
        raise RequestRejectedError(400, "the multipart body is cut short, or has no boundary")

    async def receive() -> "Message":
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        async with Request(request.scope, receive).form(max_files=_MAX_FILES, max_fields=_MAX_FIELDS) as form:
            yield form
    except HTTPException as error:
        raise RequestRejectedError(400, shortened(f"the multipart body cannot be read: {error.detail}")) from error
