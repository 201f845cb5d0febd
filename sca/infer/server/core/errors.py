"""The error that rejects a request, and the JSON document that a client gets for it."""

__all__ = ["RequestRejectedError", "error_document", "error_response"]


class RequestRejectedError(Exception):
    """A request or a connection that is not served.

    Attributes:
        status: The HTTP status code.
        message: The reason, for the client.
        close: Whether the connection is closed after the response.
        retry_after_s: When the client may try again, in whole seconds; None for no `Retry-After` header.
    """

    def __init__(self, status: int, message: str, *, close: bool = False, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.close, self.retry_after_s = status, message, close, retry_after_s

    def headers(self) -> dict[str, str]:
        """Return the response headers that belong to the error."""
        headers = {"Connection": "close"} if self.close else {}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        return headers


def error_document(status: int, message: str) -> dict[str, object]:
    """Return the JSON body of an error response."""
    return {"error": {"status": status, "what": message}}


def error_response(description: str) -> dict[str, object]:
    """Return the OpenAPI description of an error response."""
    error = {
        "type": "object",
        "required": ["status", "what"],
        "properties": {"status": {"type": "integer"}, "what": {"type": "string"}},
    }
    schema = {"type": "object", "required": ["error"], "properties": {"error": error}}
    return {"description": description, "content": {"application/json": {"schema": schema}}}
