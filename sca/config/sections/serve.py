"""The settings of `sca serve`: where it listens, who may come in, and how much each may take."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr

from sca.config.sections.base import Env, Section, as_path

__all__ = ["ServeConfig"]


class ServeConfig(Section):
    """The live server: address, keys, and the bounds of a session."""

    host: str = Field("127.0.0.1", min_length=1, description="Address the live server listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port of the live server; 0 takes a free one.")
    auth_key: Annotated[SecretStr | None, Env("SCA_AUTH_KEY")] = Field(
        None, description="Key that clients send as `Authorization: Bearer …` or `Key …`. Not set: none."
    )
    origins: str = Field(
        "",
        description="Pages of other origins that may talk to the server, such as https://a.example,https://b.example.",
    )
    tls_cert: Annotated[Path | None, BeforeValidator(as_path)] = Field(
        None, description="Certificate chain (PEM) for https and wss. Not set: plain http."
    )
    tls_key: Annotated[Path | None, BeforeValidator(as_path)] = Field(
        None, description="Private key (PEM) of the certificate. Not set: it is in the same file."
    )
    twilio_auth_token: SecretStr | None = Field(
        None,
        description="Auth token of a Twilio account: /twilio then answers its signed calls, without the server's key. Not set: it "
        "needs the key, as all do.",
    )
    twilio_url: str = Field(
        "",
        description="The URL that Twilio was given, such as wss://voice.example.com/twilio; that is what it signs. Not set: "
        "wss://, the host that was asked for, and /twilio.",
    )
    max_sessions: int = Field(64, ge=1, description="Most sessions at the same time; the next is refused at once.")
    idle_s: float = Field(
        120.0, gt=0, description="A session ends when its client sends nothing for so long, in seconds."
    )
    session_s: float = Field(3600.0, gt=0, description="A session ends after so long, in seconds.")
    warn_s: float = Field(
        60.0, ge=0, description="A client is warned so long before one of these two ends its session, in seconds."
    )
    ping_s: float = Field(
        20.0, ge=0, description="How often a client is asked whether it is still there, in seconds; 0 never asks."
    )
    ping_timeout_s: float = Field(
        20.0, gt=0, description="A client that answers nothing for so long after it was asked is gone, in seconds."
    )
    resume_s: float = Field(
        30.0,
        ge=0,
        description="How long a session whose connection broke waits for its client to come back, in seconds; 0 does not wait.",
    )
    resume_bytes: int = Field(
        1048576,
        ge=1024,
        description="What is kept, of what such a client was sent and has not acknowledged, in bytes; then the oldest goes.",
    )
    drain_s: float = Field(
        10.0, ge=0, description="How long sessions may finish what they say when the server stops, in seconds."
    )
    max_message_bytes: int = Field(1048576, ge=1024, description="Largest WebSocket message, in bytes (close 1009).")
    max_body_bytes: int = Field(33554432, ge=1, description="Largest body of a request, in bytes (413).")
    max_wav_s: float = Field(300.0, gt=0, description="Longest sound that POST /infer_wav takes, in seconds (413).")
    body_timeout_s: float = Field(30.0, gt=0, description="A body has to arrive within this time, in seconds (408).")
    head_timeout_s: float = Field(
        10.0, gt=0, description="The head of a request has to arrive within this time, in seconds."
    )
    requests_per_minute: int | None = Field(
        600,
        ge=1,
        description="Most requests and WebSocket connects of one client address in a minute (429). none: no bound.",
    )
    proxies: str = Field(
        "127.0.0.1,::1",
        description="Addresses or networks of proxies in front of the server: what their X-Forwarded-For names is the client.",
    )
    max_connections: int = Field(512, ge=1, description="Most connections at the same time (503).")

    @property
    def allowed_origins(self) -> frozenset[str]:
        """`origins`, one by one."""
        return frozenset(one.strip().rstrip("/") for one in self.origins.split(",") if one.strip())
