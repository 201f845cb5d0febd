"""Opening the WebSocket of a realtime server, and its failures as errors of one line."""

import contextlib
import json
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from sca.config import VisionConfig, VllmConfig
from sca.distribution import install_extra
from sca.errors import ConfigError, MissingToolError, ScaError, UpstreamError
from sca.textutil import first_line

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

__all__ = ["REALTIME", "DialWords", "connected"]

_MESSAGE_BYTES = 16 << 20
_CLOSE_S = 1.0
_VERSION_S = 2.0
_LONGEST_VERSION = 60


@dataclass(frozen=True, slots=True)
class DialWords:
    """An endpoint and its settings, as messages name them.

    Attributes:
        endpoint: The kind of the endpoint.
        since: The versions of vLLM-Omni that have it, and for which models.
        option: The option that sets the address.
        key: The environment variable with the key.
    """

    endpoint: str
    since: str
    option: str
    key: str

    @property
    def missing(self) -> str:
        """The hint for an endpoint that does not exist."""
        return f"vLLM-Omni has {self.since}; {self.option} sets the address"


REALTIME = DialWords(
    "a realtime endpoint", "/v1/realtime from 0.20 on, for models with speech", "--base-url", "SCA_VLLM_API_KEY"
)


@contextlib.contextmanager
def connected(url: str, limits: VllmConfig | VisionConfig, words: DialWords = REALTIME) -> "Iterator[ClientConnection]":
    """Open a WebSocket, and close it at the end.

    Args:
        url: Its URL.
        limits: The time limit and the key.
        words: The endpoint, for messages.

    Raises:
        ConfigError: The server requires another key.
        UpstreamError: The server or the endpoint does not exist.
        MissingToolError: The package websockets is not installed.
    """
    with contextlib.ExitStack() as opened:
        socket = _connect(url, limits, words, opened)
        try:
            yield socket
        finally:
            with contextlib.suppress(Exception):
                opened.close()


def _connect(
    url: str, vllm: VllmConfig | VisionConfig, words: DialWords, opened: contextlib.ExitStack
) -> "ClientConnection":
    """Return an open connection, which `opened` closes."""
    try:
        from websockets.exceptions import InvalidStatus, WebSocketException
        from websockets.sync.client import connect
    except ImportError as error:
        raise MissingToolError(
            "the engine vllm-omni needs websockets, which is not installed",
            hint=install_extra("live"),
        ) from error
    parts = urlsplit(url)
    where = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    hint = f"check that `vllm serve … --omni` runs there; {words.option} sets the address"
    try:
        return opened.enter_context(
            connect(
                url,
                additional_headers=_authorization(vllm),
                proxy=None if _is_local(url) else True,
                open_timeout=vllm.connect_timeout_s,
                close_timeout=_CLOSE_S,
                max_size=_MESSAGE_BYTES,
            )
        )
    except InvalidStatus as error:
        raise _refused(url, vllm, words, error.response.status_code) from error
    except TimeoutError as error:
        raise UpstreamError(f"{where} does not respond within {vllm.connect_timeout_s:g} s", hint=hint) from error
    except (OSError, WebSocketException, ValueError) as error:
        raise UpstreamError(f"cannot connect to {where}: {first_line(error)}", hint=hint) from error


def _refused(url: str, vllm: VllmConfig | VisionConfig, words: DialWords, status: int) -> ScaError:
    where = urlunsplit((*urlsplit(url)[:3], "", ""))
    if status == 401:
        problem = "requires a key" if vllm.api_key is None else "refuses the key"
        return ConfigError(f"{where} {problem} (status {status})", hint=f"set {words.key} to the key of that server")
    if status not in (403, 404):
        return UpstreamError(
            f"{where} is not {words.endpoint}: status {status}", hint="the server is full, starting or broken"
        )
    # A server without the endpoint answers 403 or 404. One that refuses a key answers 401, or 403 if it is not vLLM.
    version = _version_of(url, vllm)
    server = "" if version is None else f"; the server is vLLM {version}"
    hint = words.missing if status == 404 else f"{words.missing}; {words.key} sets a key"
    return UpstreamError(f"{where} is not {words.endpoint}: status {status}{server}", hint=hint)


def _authorization(vllm: VllmConfig | VisionConfig) -> dict[str, str]:
    return {} if vllm.api_key is None else {"Authorization": f"Bearer {vllm.api_key.get_secret_value()}"}


def _is_local(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


def _version_of(url: str, vllm: VllmConfig | VisionConfig) -> str | None:
    """Return the version that the HTTP endpoint `/version` reports; None without one."""
    parts = urlsplit(url)
    scheme = {"ws": "http", "wss": "https"}[parts.scheme]
    request = urllib.request.Request(  # noqa: S310 - http or https
        urlunsplit((scheme, parts.netloc, "/version", "", "")), headers=_authorization(vllm)
    )
    handlers = [urllib.request.ProxyHandler({})] if _is_local(url) else []
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=_VERSION_S) as response:
            version = json.loads(response.read(4096)).get("version")
    except (OSError, ValueError, AttributeError):
        return None
    return str(version)[:_LONGEST_VERSION] if version else None
