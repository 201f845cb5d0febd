"""The bodies of requests, and how they are read."""

from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sca.config import Settings
from sca.infer.server.core.errors import RequestRejectedError
from sca.infer.server.core.json_input import read_json
from sca.infer.server.core.limits import read_body, shortened
from sca.watch.profiles.model import Profile

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["MAX_BODY_BYTES", "InstructionRequest", "ProfileRequest", "StartRequest", "read_message"]

MAX_BODY_BYTES = 256_000
"""The largest profile is below this."""

Message = TypeVar("Message", bound="_Message")


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class StartRequest(_Message):
    """The body of `POST /api/start`.

    Attributes:
        source: The video; None for the first one that is allowed.
        instruction: The instruction; None for the one that is set.
        profile: The profile; None for the one in use.
    """

    source: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    instruction: str | None = None
    profile: str | None = None


class InstructionRequest(_Message):
    """The body of `POST /api/instruction`.

    Attributes:
        instruction: The instruction; empty to clear it.
    """

    instruction: str


class ProfileRequest(_Message):
    """The body of `POST /api/profiles`.

    Attributes:
        name: The profile to use.
        profile: What it is, for a new or changed one.
    """

    name: Annotated[str, Field(max_length=64)]
    profile: Profile | None = None


async def read_message(request: "Request", kind: type[Message], settings: Settings) -> Message:
    """Return the message in the body of a request; an empty body is an empty object.

    Raises:
        RequestRejectedError: The body is too large (413), too slow (408), no JSON (400) or no such message (422).
    """
    length = request.headers.get("content-length")
    body = await read_body(request.stream(), length, MAX_BODY_BYTES, settings.serve.body_timeout_s)
    try:
        return kind.model_validate(read_json(body or b"{}"))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        raise RequestRejectedError(422, shortened(f"{where}: {first['msg']}")) from error
    except ValueError as error:
        raise RequestRejectedError(400, "the body is not JSON") from error
