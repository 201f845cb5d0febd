"""The settings of the engine `vllm-omni`: which server it talks to, and how patient it is."""

from pydantic import Field, SecretStr

from sca.config.sections.base import Section

__all__ = ["VllmConfig"]


class VllmConfig(Section):
    """A vLLM-Omni server, or another one that speaks the OpenAI Realtime protocol, as an engine."""

    base_url: str | None = Field(
        None, min_length=1, description="Address of the server of the engine vllm-omni, such as http://127.0.0.1:8091."
    )
    api_key: SecretStr | None = Field(None, description="Key that is sent to it as `Authorization: Bearer …`.")
    model: str | None = Field(None, min_length=1, description="The model it is asked for. Not set: the one it serves.")
    voice: str | None = Field(None, min_length=1, description="The voice it is asked for. Not set: its default.")
    connect_timeout_s: float = Field(5.0, gt=0, description="A session is ready within this time, in seconds.")
    answer_timeout_s: float = Field(
        8.0, gt=0, description="An answer of which nothing comes for so long, in seconds, is given up."
    )
    reconnects: int = Field(
        3, ge=0, description="How often a broken connection is made anew, with growing pauses, before the session ends."
    )
    lockstep: bool = Field(
        False,
        description="Whether a step waits for its piece of the answer: for files in simulated time (sca live --file sets it).",
    )
