"""Settings of the speech engine openai: the server, and its limits."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from sca.config.sections.base import Flag, Section
from sca.units import MAX_SECONDS, SPOKEN_HZ

__all__ = ["SpeechConfig"]


class SpeechConfig(Section):
    """A server with the speech API of OpenAI (`/v1/audio/speech`), as the speech engine `openai`."""

    base_url: Annotated[str | None, Flag("--speech-url", "URL")] = Field(
        None,
        min_length=1,
        description="Address of the server of the speech engine openai, such as http://127.0.0.1:8880/v1.",
    )
    api_key: SecretStr | None = Field(None, description="Key sent to that server as `Authorization: Bearer …`.")
    model: str = Field("gpt-4o-mini-tts", min_length=1, description="Name of the model of that server.")
    voice: str = Field("alloy", min_length=1, description="Name of the voice, if --voice does not name one.")
    instructions: str | None = Field(
        None, min_length=1, description="How the voice should speak, for models that accept it."
    )
    response_format: Literal["pcm", "wav"] = Field(
        "pcm", description="Audio that is requested: pcm (16-bit little-endian mono) or wav."
    )
    sample_rate: int = Field(
        SPOKEN_HZ, ge=4000, le=192_000, description="Rate of the audio of that server, in Hz; pcm does not state it."
    )
    stream_format: Literal["audio", "sse", "captions"] = Field(
        "audio",
        description="How the audio arrives: audio (the body is audio), sse (server-sent events) or captions (JSON lines with word "
        "times, from /dev/captioned_speech of Kokoro-FastAPI).",
    )
    first_audio_timeout_s: float = Field(
        15.0, gt=0, le=MAX_SECONDS, description="Time limit until the audio of a clause begins, in seconds."
    )
    stall_timeout_s: float = Field(
        10.0, gt=0, le=MAX_SECONDS, description="The speech ends if nothing arrives for this long, in seconds."
    )
    clause_timeout_s: float = Field(
        120.0, gt=0, le=MAX_SECONDS, description="Time limit of the audio of a whole clause, in seconds."
    )
    retries: int = Field(
        2,
        ge=0,
        le=100,
        description="Number of further attempts before the first audio, if the server is busy (429, 5xx) or does not answer.",
    )
