"""Settings of the language model of a conversation: the server or the local model, and the limits of an answer."""

from typing import Annotated

from pydantic import Field, SecretStr

from sca.config.sections.base import MAX_COUNT, Flag, Section
from sca.units import MAX_SECONDS

__all__ = ["LlmConfig"]


class LlmConfig(Section):
    """The language model that answers in `sca chat` and in the engine cascade."""

    base_url: Annotated[str | None, Flag("--llm-url", "URL")] = Field(
        None,
        min_length=1,
        description="Address of a server with the chat API of OpenAI, such as http://127.0.0.1:8080/v1. Not set: a model on "
        "this machine.",
    )
    api_key: SecretStr | None = Field(None, description="Key sent to that server as `Authorization: Bearer …`.")
    model: Annotated[str | None, Flag("--llm-model", "NAME|FILE")] = Field(
        None,
        min_length=1,
        description="Model of the server, or on this machine a model of sca models or a .gguf file. Not set: the server's "
        "model, or smollm2.",
    )
    system_prompt: Annotated[str, Flag("--system-prompt", "TEXT")] = Field(
        "You are a helpful voice assistant. Your answers are spoken, so they are short.",
        description="Instructions to the model, unless a client of the server gives its own; may be empty.",
    )
    temperature: float = Field(
        0.0, ge=0, le=2, description="Randomness of answers; 0 always takes the likeliest token."
    )
    max_tokens: int = Field(256, ge=1, le=MAX_COUNT, description="Length of an answer, in tokens.")
    context_tokens: int = Field(
        2048,
        ge=256,
        le=MAX_COUNT,
        description="Context of the local model, in tokens. The oldest exchanges that do not fit are left out.",
    )
    threads: int = Field(
        1,
        ge=0,
        le=1024,
        description="Threads of the local model; 0: one for each core. More than one help a large model on idle cores only.",
    )
    start_timeout_s: float = Field(
        60.0, gt=0, le=MAX_SECONDS, description="Time limit until the local model is loaded, in seconds."
    )
    first_token_timeout_s: float = Field(
        15.0, gt=0, le=MAX_SECONDS, description="Time limit until an answer begins, in seconds."
    )
    stall_timeout_s: float = Field(
        10.0, gt=0, le=MAX_SECONDS, description="An answer ends if nothing of it arrives for this long, in seconds."
    )
    answer_timeout_s: float = Field(
        120.0, gt=0, le=MAX_SECONDS, description="Time limit of a whole answer, in seconds."
    )
    retries: int = Field(
        2,
        ge=0,
        le=100,
        description="Number of further attempts if the server is busy (status 429 or 5xx) or does not answer, with growing "
        "pauses.",
    )
