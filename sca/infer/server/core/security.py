"""Checks of keys, origins and addresses. Keys are compared in constant time."""

import base64
import binascii
import hmac
import ipaddress
from collections.abc import Collection, Sequence
from urllib.parse import urlsplit

from sca.errors import ConfigError

__all__ = [
    "KEY_PROTOCOL",
    "OPENAI_KEY_PROTOCOL",
    "bearer_token",
    "check_bind",
    "is_loopback",
    "key_matches",
    "origin_allowed",
    "protocol_key",
    "twilio_signature",
]

KEY_PROTOCOL = "sca.key."
"""Prefix of the WebSocket subprotocol that carries a key in base64url without padding.

A browser cannot set headers on a WebSocket, so it sends its key as a subprotocol.
"""

OPENAI_KEY_PROTOCOL = "openai-insecure-api-key."
"""Prefix of the subprotocol that carries the key of the browser clients of the OpenAI Realtime protocol, as it is."""

_SCHEMES = ("key", "bearer")


def is_loopback(host: str) -> bool:
    """Return whether a server that listens on `host` is reachable from this machine only.

    An unknown host name counts as reachable from other machines.
    """
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return False


def check_bind(host: str, key: str | None, *, insecure: bool) -> None:
    """Check that a server which other machines can reach requires a key.

    Args:
        host: The address to listen on.
        key: The key that clients have to send; None for no key.
        insecure: Whether the user accepts a reachable server without a key.

    Raises:
        ConfigError: Other machines can reach `host`, and there is neither a key nor `insecure`.
    """
    if key is None and not insecure and not is_loopback(host):
        raise ConfigError(
            f"listening on {host} without a key would let anyone in",
            hint="set a key (--auth-key, or the environment), listen on 127.0.0.1, or pass --insecure",
        )


def key_matches(authorization: str | None, key: str) -> bool:
    """Return whether an Authorization header is `Key KEY` or `Bearer KEY`. The time does not depend on the key."""
    # HTTP headers are latin-1; a key may contain any character.
    given = bearer_token(authorization)
    same = hmac.compare_digest((given or "").encode("latin-1", "replace"), key.encode())
    return same and given is not None


def bearer_token(authorization: str | None) -> str | None:
    """Return the key in an Authorization header `Key KEY` or `Bearer KEY`; None without one."""
    scheme, _, given = (authorization or "").strip().partition(" ")
    return given.strip() if scheme.lower() in _SCHEMES else None


def protocol_key(subprotocols: Sequence[str]) -> str | None:
    """Return the Authorization header that WebSocket subprotocols carry, for `key_matches`; None without a key."""
    for subprotocol in subprotocols:
        if subprotocol.startswith(OPENAI_KEY_PROTOCOL):
            return f"Bearer {subprotocol.removeprefix(OPENAI_KEY_PROTOCOL)}"
        if subprotocol.startswith(KEY_PROTOCOL):
            text = subprotocol.removeprefix(KEY_PROTOCOL)
            try:
                # `key_matches` encodes headers as latin-1, so the bytes of the key are decoded as that.
                given = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode("latin-1")
            except (binascii.Error, ValueError):
                return None
            return f"Bearer {given}"
    return None


def origin_allowed(origin: str | None, host: str | None, allowed: Collection[str] = ()) -> bool:
    """Return whether a page from `origin` may use a server.

    Args:
        origin: The Origin header; None is allowed, because programs other than browsers send none.
        host: The Host header. A page that this server delivered has the same host.
        allowed: More origins such as `https://example.org`, compared as a whole.
    """
    if origin is None or origin in allowed:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(host) and parts.netloc.lower() == (host or "").lower()


def twilio_signature(url: str, token: str) -> str:
    """Return the value of Twilio's X-Twilio-Signature header for a WebSocket.

    https://www.twilio.com/docs/usage/security#validating-requests

    Args:
        url: The URL that Twilio connects to.
        token: The auth token of the Twilio account.
    """
    return base64.b64encode(hmac.digest(token.encode(), url.encode(), "sha1")).decode()
