"""Settings of the vision engines of `sca watch`: what they read, their servers, and the model that runs here."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr

from sca.config.sections.base import MAX_COUNT, Flag, Section, as_path
from sca.units import MAX_SECONDS

__all__ = ["DEFAULT_MINICPM", "VisionConfig"]

DEFAULT_MINICPM = "openbmb/MiniCPM-V-4.6"


class VisionConfig(Section):
    """What looks at the pictures of `sca watch`."""

    read_text: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Let the engine describe read the text in the picture, with rapidocr of the extra watch; auto: if it is "
        "installed.",
    )
    home: Annotated[str | None, Flag("--home", "NAME")] = Field(
        None,
        min_length=1,
        max_length=100,
        description="Spoken name of the team on the left of the scoreboard. Not set: as the profile names it, else Home.",
    )
    away: Annotated[str | None, Flag("--away", "NAME")] = Field(
        None,
        min_length=1,
        max_length=100,
        description="Spoken name of the team on the right of the scoreboard. Not set: as the profile names it, else Away.",
    )
    score_step: int = Field(
        3, ge=1, le=100, description="The most points that a score rises by at once. Other changes need more proof."
    )
    base_url: Annotated[str | None, Flag("--vision-url", "URL")] = Field(
        None,
        min_length=1,
        description="Address of the server of the engines openai and vllm-omni, such as http://127.0.0.1:8000/v1.",
    )
    api_key: SecretStr | None = Field(None, description="Key sent to the server as `Authorization: Bearer …`.")
    model: Annotated[str | None, Flag("--vision-model", "NAME")] = Field(
        None, min_length=1, description="Name of the model on the server. Not set: the server's model."
    )
    keep_session: bool = Field(
        False,
        description="The server of the engine openai holds the session (header x-streaming-session): pictures are sent "
        "once.",
    )
    own_voice: bool = Field(
        False,
        description="Let the model speak by its own voice (vllm-omni, MiniCPM-o 4.5), instead of the voice of `--voice`.",
    )
    picture_side: int = Field(
        768, ge=64, le=8192, description="Longest side of the pictures that a model is given, in pixels."
    )
    temperature: float = Field(
        0.2, ge=0, le=2, description="Randomness of answers; 0 always takes the likeliest token."
    )
    connect_timeout_s: float = Field(
        5.0, gt=0, le=MAX_SECONDS, description="Time limit of a connection to the server, in seconds."
    )
    first_token_timeout_s: float = Field(
        15.0, gt=0, le=MAX_SECONDS, description="Time limit until an answer begins, in seconds."
    )
    stall_timeout_s: float = Field(
        10.0, gt=0, le=MAX_SECONDS, description="An answer ends if nothing of it arrives for this long, in seconds."
    )
    answer_timeout_s: float = Field(60.0, gt=0, le=MAX_SECONDS, description="Time limit of a whole answer, in seconds.")
    retries: int = Field(
        2, ge=0, le=100, description="Number of further attempts before the first text, with growing pauses."
    )
    checkpoint: str = Field(
        DEFAULT_MINICPM, min_length=1, description="The model of the engine minicpm: a hub id or a local folder."
    )
    revision: str | None = Field(
        None, min_length=1, description="Branch, tag or commit of checkpoint on the hub. Not set: its main branch."
    )
    trust_remote_code: Annotated[bool, Flag("--trust-remote-code")] = Field(
        False,
        description="Run the Python files of the checkpoint (MiniCPM-o 4.5). Their author can do what you can do.",
    )
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="Device: auto, cpu, cuda or cuda:1.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="Number format of the weights; auto is float16 for AWQ, else bfloat16 on a GPU and float32 on a CPU.",
    )
    context_tokens: int = Field(
        8192, ge=256, le=100 * MAX_COUNT, description="The most tokens of a request with its pictures."
    )
    vocoder: Annotated[Path | None, BeforeValidator(as_path)] = Field(
        None,
        description="Folder of the vocoder of MiniCPM-o 4.5. Not set: assets/token2wav of the checkpoint.",
    )
    ref_audio: Annotated[Path | None, BeforeValidator(as_path)] = Field(
        None,
        description="Recording of the voice that MiniCPM-o 4.5 speaks like, some seconds long. Not set: the one in assets of the "
        "checkpoint.",
    )
    vocoder_float16: bool = Field(False, description="Run the vocoder of MiniCPM-o 4.5 in float16 instead of float32.")
