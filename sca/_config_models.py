"""The settings themselves: one small frozen model per subsystem, each field with its default, bounds and meaning.

A field's environment variable is `SCA_<SECTION>_<FIELD>` unless it says otherwise with `Env`; its description is what
`sca config default` and the docs print. Validators look at values only, never at the disk or the network.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from sca.errors import ConfigError
from sca.units import Grid

__all__ = ["AudioConfig", "DuplexConfig", "Env", "PathsConfig", "QwenConfig"]

DEFAULT_MODEL = "Qwen/Qwen3-Omni-30B-A3B-Instruct"
DEFAULT_PROMPT = (
    "You are in a spoken conversation. You hear the other person all the time, also while you speak. "
    "Speak naturally and briefly, and stay silent while it is their turn."
)


@dataclass(frozen=True, slots=True)
class Env:
    """Marks a field whose environment variable is not named after its section and itself."""

    name: str


def _as_path(value: object) -> object:
    try:
        return Path(value).expanduser() if isinstance(value, str | Path) else value
    except RuntimeError as error:
        raise ValueError(f"names a home folder that cannot be found, got {str(value)!r}") from error


class _Section(BaseModel):
    # `strict`: text is no number. What comes as text, from the environment or --set, is converted before it gets here.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())


class AudioConfig(_Section):
    """The grid. One that exists divides: making a wrong one raises `GridError`."""

    frame_hz: Annotated[float, Env("SCA_FRAME_HZ")] = Field(
        12.5, gt=0, description="Encoder frames (audio tokens) per second, in Hz."
    )
    frames_per_chunk: Annotated[int, Env("SCA_FRAMES_PER_CHUNK")] = Field(
        4, ge=1, description="Audio tokens heard per chunk; 4 at 12.5 Hz are a chunk of 0.32 s."
    )

    @model_validator(mode="after")
    def _divides(self) -> Self:
        _ = self.grid
        return self

    @property
    def grid(self) -> Grid:
        """The same numbers, exact."""
        return Grid(Fraction(repr(self.frame_hz)), self.frames_per_chunk)


class QwenConfig(_Section):
    """How the Qwen3-Omni engine is loaded and run."""

    model_id: str = Field(DEFAULT_MODEL, min_length=1, description="The model: a hub id or a local folder.")
    revision: str | None = Field(
        None, description="Branch, tag or commit of model_id on the hub. Not set: its main branch."
    )
    device_map: str = Field(
        "auto", min_length=1, description="Where the weights go: auto, cpu, cuda, cuda:1 (accelerate's device_map)."
    )
    torch_dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "bfloat16", description="Number format of the weights; auto is the one they are stored in."
    )
    attn_implementation: Annotated[str, Env("SCA_QWEN_ATTN_IMPL")] = Field(
        "sdpa", min_length=1, description="Attention kernel: sdpa, eager, flash_attention_2 (transformers' names)."
    )
    max_new_tokens: int = Field(
        2,
        ge=1,
        description="Most text tokens the model makes per chunk. More than duplex.text_tokens_per_chunk have no place.",
    )


class DuplexConfig(_Section):
    """How a conversation is laid on the grid and cut into training rows."""

    model_path: str = Field(
        DEFAULT_MODEL, min_length=1, description="Whose tokenizer: a hub id, a folder, or builtin:qwen (no network)."
    )
    revision: str | None = Field(
        None, description="Branch, tag or commit of model_path on the hub. Not set: its main branch."
    )
    text_tokens_per_chunk: int = Field(2, ge=1, description="Text tokens spoken per chunk.")
    silence_token_id: int = Field(
        151646, ge=0, description="Token id that says: nothing to say in this chunk, keep listening."
    )
    audio_placeholder: int = Field(
        -100, lt=0, description="Number that stands for an audio token in input_ids; negative, so that it is no token."
    )
    lead_chunks: int = Field(1, ge=0, description="How many chunks before its sound a token is placed.")
    max_tokens: int = Field(40000, ge=1, description="Longest row, in tokens.")
    max_pull_chunks: int | None = Field(
        None,
        ge=0,
        description="How many chunks before its place a token may be moved to make room for the next ones. "
        "Not set: 1, or 2 when lead_chunks is 0.",
    )
    max_lag_chunks: int = Field(
        3, ge=0, description="A unit with a token more than this many chunks after its place is flagged."
    )
    on_lag: Literal["keep", "drop-unit"] = Field("keep", description="What happens to a flagged unit.")
    unit_gap_s: float = Field(
        0.5, ge=0, description="Segments of one speaker closer than this, in seconds, are one unit."
    )
    window: str = Field(
        "20-60", description="Length of a row in seconds, as MIN-MAX, or session for one row a session."
    )
    min_silence_s: float = Field(
        0.32, gt=0, description="Windows are cut where both are silent for this long or longer, in seconds."
    )
    max_segments: int = Field(8, ge=1, description="Most segments of the speaker in one window.")
    audio_format: Literal["flac", "pcm16"] = Field(
        "flac", description="How audio is stored: flac is small, pcm16 is read without decoding."
    )
    system_prompt: str = Field(
        DEFAULT_PROMPT, description="Text every row and every live session begins with; may be empty."
    )

    @field_validator("window")
    @classmethod
    def _window_reads(cls, window: str) -> str:
        _window_bounds(window)
        return window

    @property
    def window_s(self) -> tuple[float, float] | None:
        """Shortest and longest row in seconds; None for whole sessions."""
        return _window_bounds(self.window)

    @property
    def pull_chunks(self) -> int:
        """`max_pull_chunks`, or what the lead calls for."""
        if self.max_pull_chunks is not None:
            return self.max_pull_chunks
        return 1 if self.lead_chunks >= 1 else 2


def _window_bounds(window: str) -> tuple[float, float] | None:
    if window == "session":
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)", window, re.ASCII)
    shortest, longest = (float(found[1]), float(found[2])) if found else (0.0, 0.0)
    if not 0 < shortest < longest:
        raise ValueError(f"should be session, or MIN-MAX in seconds with 0 < MIN < MAX such as 20-60, got {window!r}")
    return shortest, longest


class PathsConfig(_Section):
    """Where sca keeps what it can make again."""

    cache_dir: Annotated[Path | None, Env("SCA_CACHE_DIR"), BeforeValidator(_as_path)] = Field(
        None, description="Folder for what can be made again. Not set: sca in $XDG_CACHE_HOME, or else in ~/.cache."
    )

    @property
    def resolved_cache_dir(self) -> Path:
        """The folder itself; it may not exist yet. (`load_settings` has looked at XDG_CACHE_HOME.)"""
        if self.cache_dir is not None:
            return self.cache_dir
        try:
            return Path.home() / ".cache" / "sca"
        except RuntimeError as error:
            raise ConfigError("there is no home folder to keep a cache in", hint="set SCA_CACHE_DIR") from error
