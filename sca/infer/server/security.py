"""Who may ask, and from where a server may be reached: keys in constant time, no open door by accident."""

import hmac
import ipaddress

from sca.errors import ConfigError

__all__ = ["check_bind", "is_loopback", "key_matches"]

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
            hint="set a key (--auth-key or AUTH_KEY), listen on 127.0.0.1, or say --insecure",
        )


def key_matches(authorization: str | None, key: str) -> bool:
    """Whether an Authorization header is `Key KEY` or `Bearer KEY`. Takes the same time wherever they differ."""
    scheme, _, given = (authorization or "").strip().partition(" ")
    # Headers come as latin-1; a key may hold anything.
    same = hmac.compare_digest(given.strip().encode("latin-1", "replace"), key.encode())
    return same and scheme.lower() in _SCHEMES
