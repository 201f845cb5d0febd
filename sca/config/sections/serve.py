"""Settings of `sca serve`: address, access and limits."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator

from sca.config.sections.base import (
    MAX_BYTES,
    MAX_COUNT,
    MAX_MS,
    MIN_SECONDS,
    Env,
    Flag,
    Section,
    as_path,
    parse_origins,
)
from sca.units import MAX_SECONDS

__all__ = ["ServeConfig"]

MAX_SESSION_S = 30 * MAX_SECONDS
"""Upper bound of durations that keep a session: 30 days."""


class ServeConfig(Section):
    """The live server: address, keys, and the limits of a session."""

    host: Annotated[str, Flag("--host", "ADDRESS")] = Field(
        "127.0.0.1", min_length=1, description="Address that the live server listens on."
    )
    port: Annotated[int, Flag("--port", "PORT")] = Field(
        8000, ge=0, le=65535, description="Port of the live server; 0 takes a free one."
    )
    auth_key: Annotated[SecretStr | None, Env("SCA_AUTH_KEY"), Flag("--auth-key", "KEY")] = Field(
        None,
        description="Key that clients send as `Authorization: Bearer …` or `Key …`. An environment variable hides it from `ps`. "
        "Not set: none.",
    )
    origins: str = Field(
        "",
        description="Other origins that pages may connect to the server from, such as https://a.example,https://b.example.",
    )
    ice_servers: str = Field(
        "",
        description="URLs of STUN servers, such as stun:stun.example.org:3478, by which calls over WebRTC find the public address "
        "of a server behind NAT. Not set: only addresses of this machine.",
    )
    media_host: str = Field(
        "",
        description="Address of this machine for the audio of calls over WebRTC; 0.0.0.0 uses all of them. Not set: that of host.",
    )
    tls_cert: Annotated[Path | None, BeforeValidator(as_path), Flag("--tls-cert", "PEM")] = Field(
        None, description="Certificate chain (PEM) for https and wss. Not set: plain http."
    )
    tls_key: Annotated[Path | None, BeforeValidator(as_path), Flag("--tls-key", "PEM")] = Field(
        None, description="Private key (PEM) of the certificate. Not set: it is in the same file."
    )
    twilio_auth_token: SecretStr | None = Field(
        None,
        description="Auth token of a Twilio account: /twilio then accepts its signed calls without the server's key. Not set: "
        "/twilio needs the key.",
    )
    twilio_url: str = Field(
        "",
        description="The URL given to Twilio, such as wss://voice.example.com/twilio, which Twilio signs. Not set: wss://, the "
        "requested host, and /twilio.",
    )
    max_sessions: Annotated[int, Flag("--max-sessions", "N")] = Field(
        64,
        ge=1,
        le=MAX_COUNT,
        description="Maximum number of concurrent sessions, fewer if the engine has no space for them (qwen.slots); further ones "
        "are refused at once.",
    )
    max_sessions_per_client: int | None = Field(
        None,
        ge=1,
        le=MAX_COUNT,
        description="Maximum number of concurrent sessions of one client: of a client secret, or else of an address that is not of "
        "this machine (429). Not set: half of max_sessions.",
    )
    log_format: Annotated[Literal["text", "json"], Flag("--log-format")] = Field(
        "text", description="Format of the server's log on stderr: lines of text, or one JSON object per line."
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Flag("--log-level")] = Field(
        "info", description="Least level of the server's log. At info, each session has a line when it starts and ends."
    )
    idle_s: float = Field(
        120.0,
        gt=0,
        le=MAX_SESSION_S,
        description="A session ends after its client has sent nothing for this long, in seconds.",
    )
    stall_s: float = Field(
        3.0,
        ge=0.1,
        le=MAX_SECONDS,
        description="A turn of the user ends when no audio came for this long while the user spoke, in seconds "
        "(/v1/realtime).",
    )
    answer_patience_s: float = Field(
        30.0,
        gt=0,
        le=MAX_SECONDS,
        description="A response fails if the engine says nothing for this long, in seconds (/v1/realtime). An engine that answers "
        "within its steps has at most 8 s.",
    )
    session_s: float = Field(3600.0, gt=0, le=MAX_SESSION_S, description="Maximum length of a session, in seconds.")
    warn_s: float = Field(
        60.0,
        ge=0,
        le=MAX_SECONDS,
        description="A client is warned this long before one of these two limits ends its session, in seconds.",
    )
    ping_s: float = Field(
        20.0, ge=0, le=MAX_SECONDS, description="Interval of keep-alive pings to a client, in seconds; 0 sends none."
    )
    ping_timeout_s: float = Field(
        20.0,
        gt=0,
        le=MAX_SECONDS,
        description="A client that does not answer a ping for this long is disconnected, in seconds.",
    )
    resume_s: float = Field(
        30.0,
        ge=0,
        le=MAX_SESSION_S,
        description="Time that a session waits for its client to reconnect after the connection broke, in seconds; "
        "0 does not wait.",
    )
    resume_bytes: int = Field(
        1048576,
        ge=1024,
        le=MAX_BYTES,
        description="Size of the sent and unacknowledged data kept for such a client, in bytes; then the oldest is dropped.",
    )
    drain_s: Annotated[float, Flag("--drain", "SECONDS")] = Field(
        10.0,
        ge=0,
        le=MAX_SECONDS,
        description="Time that sessions have to finish speaking when the server stops, in seconds.",
    )
    stream_buffer_ms: int = Field(
        2000,
        ge=100,
        le=MAX_MS,
        description="Audio that may wait for a subscriber of GET /api/audio-stream, in ms.",
    )
    stream_when_slow: Literal["drop", "close"] = Field(
        "drop",
        description="Handling of a subscriber that reads too slowly: drop its oldest audio, or close its stream.",
    )
    max_message_bytes: int = Field(
        1048576, ge=1024, le=MAX_BYTES, description="Largest WebSocket message, in bytes (close 1009)."
    )
    max_body_bytes: int = Field(33554432, ge=1, le=MAX_BYTES, description="Largest body of a request, in bytes (413).")
    max_wav_s: float = Field(
        300.0,
        ge=MIN_SECONDS,
        le=MAX_SECONDS,
        description="Longest audio that POST /infer_wav accepts, in seconds (413).",
    )
    body_timeout_s: float = Field(
        30.0,
        gt=0,
        le=MAX_SECONDS,
        description="Time limit for receiving the body of a request (408), and for a client to read something of the response, in "
        "seconds.",
    )
    head_timeout_s: float = Field(
        10.0, gt=0, le=MAX_SECONDS, description="Time limit for receiving the head of a request, in seconds."
    )
    requests_per_minute: int | None = Field(
        600,
        ge=1,
        le=MAX_COUNT,
        description="Maximum number of requests and WebSocket connects of one client address per minute (429). none: no limit.",
    )
    trusted_proxies: str = Field(
        "",
        description="Addresses or networks of trusted proxies, such as 127.0.0.1,10.0.0.0/8: the client's address is read from "
        "their X-Forwarded-For. Not set: from no request.",
    )
    max_connections: int = Field(512, ge=1, le=MAX_COUNT, description="Maximum number of concurrent connections (503).")

    @field_validator("media_host")
    @classmethod
    def _check_media_host(cls, value: str) -> str:
        if value:
            ipaddress.ip_address(value)
        return value

    @field_validator("ice_servers")
    @classmethod
    def _check_ice_servers(cls, value: str) -> str:
        for url in filter(None, map(str.strip, value.split(","))):
            if not re.fullmatch(r"stun:[^?:@/\s]+(:\d{1,5})?", url):
                raise ValueError(f"{url!r} is not the URL of a STUN server, such as stun:stun.example.org:3478")
        return value

    def client_share(self, limit: int) -> int:
        """Return how many sessions one client may have, if all may have `limit`."""
        return self.max_sessions_per_client or -(-limit // 2)

    @property
    def media_addresses(self) -> tuple[str, ...] | None:
        """The addresses for calls over WebRTC; None for all addresses of the machine."""
        host = self.media_host or self.host
        return None if host in ("0.0.0.0", "::") else ("127.0.0.1" if host == "localhost" else host,)  # noqa: S104

    @property
    def ice_server_urls(self) -> tuple[str, ...]:
        """The URLs in `ice_servers`."""
        return tuple(url.strip() for url in self.ice_servers.split(",") if url.strip())

    @property
    def allowed_origins(self) -> frozenset[str]:
        """The origins in `origins`, without trailing slashes."""
        return parse_origins(self.origins)
