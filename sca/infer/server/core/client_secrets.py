"""Client secrets: keys that expire, made for browsers by a server that has the key of this one.

A secret may start any number of sessions until it expires, as in the API of OpenAI. A session continues after that.
"""

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sca.infer.server.core.errors import RequestRejectedError

__all__ = ["DEFAULT_SECONDS", "SECONDS_RANGE", "SECRET_PREFIX", "ClientSecret", "ClientSecrets"]

SECRET_PREFIX = "ek_"  # noqa: S105 - no secret
DEFAULT_SECONDS = 600
SECONDS_RANGE = (10, 7200)
"""Default and bounds of the life of a secret, as in the API of OpenAI."""

_MAX_SECRETS = 1000
_RETRY_AFTER_S = 60


@dataclass(frozen=True, slots=True)
class ClientSecret:
    """A client secret.

    Attributes:
        value: The secret.
        expires_at: When it expires, in whole seconds since 1970.
        session: The settings of sessions that it starts: the `session` of a `session.update`.
    """

    value: str = field(repr=False)
    expires_at: int
    session: Mapping[str, object]


class ClientSecrets:
    """The valid client secrets of a server, in memory.

    Args:
        time_s: The time in seconds since 1970.
    """

    def __init__(self, time_s: Callable[[], float] = time.time) -> None:
        self._time_s = time_s
        self._secrets: dict[bytes, ClientSecret] = {}

    def create(self, session: Mapping[str, object], seconds: int) -> ClientSecret:
        """Make a secret.

        Args:
            session: The settings of its sessions.
            seconds: How long it is valid.

        Raises:
            RequestRejectedError: 1000 secrets are valid (429).
        """
        now_s = self._time_s()
        self._secrets = {digest: secret for digest, secret in self._secrets.items() if secret.expires_at > now_s}
        if len(self._secrets) >= _MAX_SECRETS:
            message = f"{_MAX_SECRETS} client secrets are valid, and that is the limit"
            raise RequestRejectedError(429, message, retry_after_s=_RETRY_AFTER_S)
        secret = ClientSecret(SECRET_PREFIX + secrets.token_hex(24), int(now_s) + seconds, session)
        self._secrets[_digest(secret.value)] = secret
        return secret

    def find(self, value: str | None) -> ClientSecret | None:
        """Return the secret if it is valid, else None. The time depends on its digest only."""
        if value is None or not value.startswith(SECRET_PREFIX):
            return None
        secret = self._secrets.get(_digest(value))
        return secret if secret is not None and secret.expires_at > self._time_s() else None


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode("utf-8", "replace")).digest()
