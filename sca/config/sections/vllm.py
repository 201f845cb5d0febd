"""Settings of the engine `vllm-omni`: the server, and its timeouts."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr

from sca.config.sections.base import Flag, Section, as_path
from sca.units import MAX_SECONDS

__all__ = ["VllmConfig"]


class VllmConfig(Section):
    """A vLLM-Omni server, or another server of the OpenAI Realtime protocol, as an engine."""

    base_url: Annotated[str | None, Flag("--base-url", "URL")] = Field(
        None, min_length=1, description="Address of the server of the engine vllm-omni, such as http://127.0.0.1:8091."
    )
    api_key: SecretStr | None = Field(None, description="Key sent to the server as `Authorization: Bearer …`.")
    model: str | None = Field(None, min_length=1, description="Name of the model. Not set: the server's model.")
    voice: str | None = Field(None, min_length=1, description="Name of the voice. Not set: the server's default.")
    ref_audio: Annotated[Path | None, BeforeValidator(as_path)] = Field(
        None, description="WAV file with a few seconds of the voice, for duplex models that speak like a recording."
    )
    connect_timeout_s: float = Field(
        5.0, gt=0, le=MAX_SECONDS, description="Time limit until a session is ready, in seconds."
    )
    answer_timeout_s: float = Field(
        8.0,
        gt=0,
        le=MAX_SECONDS,
        description="An answer is abandoned after nothing of it has arrived for this long, in seconds.",
    )
    reconnects: int = Field(
        3,
        ge=0,
        le=1000,
        description="Number of attempts to reopen a broken connection, with growing pauses, before the session ends.",
    )
    lockstep: bool = Field(
        False,
        description="Let every step wait for its part of the answer. Sessions in simulated time always do.",
    )
