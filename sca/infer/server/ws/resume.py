"""Resume tokens: which client may resume which session, and how a client requests it.

A client offers the subprotocol `sca.resume.TOKEN.RECEIVED`: a token that the server issued, and how many messages the
client has received. So the server gets the request before it takes a session slot, and no token appears in a URL.
"""

import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from sca.infer.server.core.security import protocol_key

if TYPE_CHECKING:
    from starlette.types import Scope

__all__ = [
    "RESUME_PROTOCOL",
    "ResumeFailure",
    "ResumeRejectedError",
    "ResumeRequest",
    "ResumeTokens",
    "client_identity",
    "parse_resume_request",
]

RESUME_PROTOCOL = "sca.resume."

ResumeFailure = Literal["resume_unknown", "resume_expired", "resume_used", "resume_lost"]
"""Why a session cannot be resumed; the `code` of the error message to the client."""

_MESSAGES: dict[ResumeFailure, str] = {
    "resume_unknown": "no session has this resume token; start a new one",
    "resume_expired": "the session of this resume token has ended; start a new one",
    "resume_used": "this resume token was used; the session continues with the token issued after it",
    "resume_lost": "the messages since then are no longer available; start a new session",
}
_MAX_INVALID_TOKENS = 1000  # remembered, with the reason

T = TypeVar("T")


class ResumeRejectedError(Exception):
    """A session that cannot be resumed.

    Attributes:
        code: The reason.
        message: The reason as text.
    """

    def __init__(self, code: ResumeFailure) -> None:
        super().__init__(code)
        self.code: ResumeFailure = code
        self.message = _MESSAGES[code]


@dataclass(frozen=True, slots=True)
class ResumeRequest:
    """A client's request to resume a session.

    Attributes:
        token: The resume token; empty if the request is malformed.
        received: How many messages the client has received.
    """

    token: str
    received: int


def parse_resume_request(subprotocols: Sequence[str]) -> ResumeRequest | None:
    """Return the resume request among the subprotocols that a client offers; None without one."""
    for subprotocol in subprotocols:
        if subprotocol.startswith(RESUME_PROTOCOL):
            request = subprotocol.removeprefix(RESUME_PROTOCOL)
            match = re.fullmatch(r"([A-Za-z0-9_-]+)\.([0-9]{1,15})", request, re.ASCII)
            return ResumeRequest("", 0) if match is None else ResumeRequest(match[1], int(match[2]))
    return None


def client_identity(scope: "Scope") -> bytes:
    """Return a digest that identifies a client by its key and the origin of its page."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    authorization = headers.get("authorization") or protocol_key(scope.get("subprotocols", [])) or ""
    key = authorization.strip().partition(" ")[2].strip()
    return sha256(f"{key}\n{headers.get('origin', '')}".encode()).digest()


class ResumeTokens(Generic[T]):
    """The resume tokens of all sessions.

    They are stored as digests, so that timing reveals nothing about other tokens.
    """

    def __init__(self) -> None:
        self._valid: dict[bytes, tuple[T, bytes]] = {}
        self._invalid: OrderedDict[bytes, ResumeFailure] = OrderedDict()

    def issue(self, session: T, identity: bytes) -> str:
        """Return a new token. Earlier tokens of the session stay valid until `invalidate`.

        Args:
            session: The session that the token resumes.
            identity: The `client_identity` of the client that may use it.
        """
        token = secrets.token_urlsafe(32)
        self._valid[_digest(token)] = session, identity
        return token

    def find(self, token: str, identity: bytes) -> T:
        """Return the session of a token.

        Args:
            token: The token.
            identity: The `client_identity` of the client that sent it.

        Raises:
            ResumeRejectedError: The token is not valid, or was issued to another client.
        """
        digest = _digest(token)
        if digest in self._invalid:
            raise ResumeRejectedError(self._invalid[digest])
        session, owner = self._valid.get(digest, (None, b""))
        if session is None or not hmac.compare_digest(owner, identity):
            raise ResumeRejectedError("resume_unknown")
        return session

    def invalidate(self, session: T, reason: ResumeFailure, keep: str = "") -> None:
        """Invalidate the tokens of a session.

        Args:
            session: The session.
            reason: The error for clients that use one of them.
            keep: A token that stays valid.
        """
        kept = _digest(keep)
        tokens = [digest for digest, (owner, _) in self._valid.items() if owner is session and digest != kept]
        for digest in tokens:
            del self._valid[digest]
            self._invalid[digest] = reason
        while len(self._invalid) > _MAX_INVALID_TOKENS:
            self._invalid.popitem(last=False)


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()
