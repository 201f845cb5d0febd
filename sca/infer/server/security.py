"""Who may ask, and from where a server may be reached: keys in constant time, no open door by accident."""

import base64
import binascii
import hmac
import ipaddress
from collections.abc import Collection, Sequence
from urllib.parse import urlsplit

from sca.errors import ConfigError

__all__ = [
    "KEY_PROTOCOL",
    "check_bind",
    "is_loopback",
    "key_matches",
    "origin_allowed",
    "protocol_key",
    "twilio_signature",
]

KEY_PROTOCOL = "sca.key."
"""A browser cannot set headers on a WebSocket: it offers this and its key in base64url without padding as a subprotocol."""

_SCHEMES = ("key", "bearer")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens on `host`. An unknown name counts as reachable."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return False


def check_bind(host: str, key: str | None, *, insecure: bool) -> None:
    """Raise `ConfigError` for an address that others can reach, without a key, unless `insecure` says so."""
    if key is None and not insecure and not is_loopback(host):
        raise ConfigError(
            f"listening on {host} without a key would let anyone in",
            hint="set a key (--auth-key, or the environment), listen on 127.0.0.1, or say --insecure",
        )


def key_matches(authorization: str | None, key: str) -> bool:
    """Whether an Authorization header is `Key KEY` or `Bearer KEY`. Takes the same time wherever they differ."""
    scheme, _, given = (authorization or "").strip().partition(" ")
    # Headers come as latin-1; a key may hold anything.
    same = hmac.compare_digest(given.strip().encode("latin-1", "replace"), key.encode())
    return same and scheme.lower() in _SCHEMES


def protocol_key(offered: Sequence[str]) -> str | None:
    """The Authorization that WebSocket subprotocols stand for, fit for `key_matches`; None when none of them holds a key."""
    for one in offered:
        if one.startswith(KEY_PROTOCOL):
            text = one.removeprefix(KEY_PROTOCOL)
            try:
                # Headers are latin-1 where they are read, so the key's bytes are kept as that.
                given = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode("latin-1")
            except (binascii.Error, ValueError):
                return None
            return f"Bearer {given}"
    return None


def origin_allowed(origin: str | None, host: str | None, allowed: Collection[str] = ()) -> bool:
    """Whether a page from `origin` may talk to a server that was asked for as `host`; programs send no Origin and may.

    allowed: further origins such as `https://example.org`, compared whole.
    """
    if origin is None or origin in allowed:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(host) and parts.netloc.lower() == (host or "").lower()


def twilio_signature(signed: str, token: str) -> str:
    """What Twilio sends as X-Twilio-Signature: of the URL it was told to open, for a WebSocket, with the account's auth token.

    https://www.twilio.com/docs/usage/security#validating-requests
    """
    return base64.b64encode(hmac.digest(token.encode(), signed.encode(), "sha1")).decode()
