"""Coming back to a session after the connection broke: who may, and how they ask.

A client offers the subprotocol `sca.resume.TOKEN.RECEIVED`: a token it was given, and how many messages it has got. So the server
knows before it gives out a place, and the token is in no URL. Knows no protocol and no socket.
"""

import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Generic, Literal, TypeVar

from sca.infer.server.security import protocol_key

__all__ = [
    "RESUME_PROTOCOL",
    "Refusal",
    "ResumeRefusedError",
    "ResumeRequest",
    "Tokens",
    "client_identity",
    "read_offer",
]

RESUME_PROTOCOL = "sca.resume."

Refusal = Literal["resume_unknown", "resume_expired", "resume_used", "resume_lost"]
_WORDS: dict[Refusal, str] = {
    "resume_unknown": "no session has this resume token; begin a new one",
    "resume_expired": "the session of this resume token is over; begin a new one",
    "resume_used": "this resume token was used; the session goes on with the one that came after it",
    "resume_lost": "what is missing since then is not kept any more; begin a new session",
}
_MOST_SPENT = 1000

T = TypeVar("T")


class ResumeRefusedError(Exception):
    """A session cannot be resumed.   code: why, for programs.   what: in words."""

    def __init__(self, code: Refusal) -> None:
        super().__init__(code)
        self.code: Refusal = code
        self.what = _WORDS[code]


@dataclass(frozen=True, slots=True)
class ResumeRequest:
    """token: empty when it cannot be read.   received: how many messages the client has."""

    token: str
    received: int


def read_offer(subprotocols: Sequence[str]) -> ResumeRequest | None:
    """The offer to resume among subprotocols; None when there is none."""
    for one in subprotocols:
        if one.startswith(RESUME_PROTOCOL):
            found = re.fullmatch(r"([A-Za-z0-9_-]+)\.([0-9]{1,15})", one.removeprefix(RESUME_PROTOCOL), re.ASCII)
            return ResumeRequest("", 0) if found is None else ResumeRequest(found[1], int(found[2]))
    return None


def client_identity(scope: Mapping[str, Any]) -> bytes:
    """What tells clients apart: the key they show and the page they come from. A digest, so that no key is kept."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    shown = headers.get("authorization") or protocol_key(scope.get("subprotocols", [])) or ""
    key = shown.strip().partition(" ")[2].strip()
    return sha256(f"{key}\n{headers.get('origin', '')}".encode()).digest()


class Tokens(Generic[T]):
    """Which token leads to which session. Tokens are kept as digests, so looking one up tells nothing about others."""

    def __init__(self) -> None:
        self._live: dict[bytes, tuple[T, bytes]] = {}
        self._spent: OrderedDict[bytes, Refusal] = OrderedDict()

    def issue(self, session: T, identity: bytes) -> str:
        """A new token; those before it stay good until `spend`."""
        token = secrets.token_urlsafe(32)
        self._live[_digest(token)] = session, identity
        return token

    def find(self, token: str, identity: bytes) -> T:
        """The session of a token. Raises `ResumeRefusedError`; a token in the wrong hands is an unknown one."""
        digest = _digest(token)
        if digest in self._spent:
            raise ResumeRefusedError(self._spent[digest])
        session, owner = self._live.get(digest, (None, b""))
        if session is None or not hmac.compare_digest(owner, identity):
            raise ResumeRefusedError("resume_unknown")
        return session

    def spend(self, session: T, reason: Refusal, but: str = "") -> None:
        """No token of a session is good any more, or only the token `but`."""
        kept = _digest(but)
        for digest in [one for one, (owner, _) in self._live.items() if owner is session and one != kept]:
            del self._live[digest]
            self._spent[digest] = reason
        while len(self._spent) > _MOST_SPENT:
            self._spent.popitem(last=False)


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()
