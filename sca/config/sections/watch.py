"""Settings of live commentary on video: what is seen, when it is commented on, and the second model for questions."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator

from sca.config.sections.base import MAX_BYTES, MAX_COUNT, Flag, Section, as_path
from sca.units import MAX_SECONDS

__all__ = ["MAX_INSTRUCTION_CHARS", "WatchConfig"]

MAX_INSTRUCTION_CHARS = 2000
"""The longest instruction: about 500 tokens, which leaves the context of small models to the pictures."""


class WatchConfig(Section):
    """How `sca watch` looks at a video and comments on it."""

    engine: Annotated[str, Flag("--engine", "NAME")] = Field(
        "describe", min_length=1, description="Vision engine that looks at the pictures, by name."
    )
    voice: Annotated[str | None, Flag("--voice", "ENGINE[:VOICE]")] = Field(
        None,
        min_length=1,
        description="Voice of the commentary, for engines without one of their own: a speech engine of sca say, or an engine "
        "and a voice of it. Not set: the best one on this machine.",
    )
    instruction: Annotated[str | None, Flag("--instruction", "TEXT")] = Field(
        None,
        description=f"What to comment on, in at most {MAX_INSTRUCTION_CHARS} characters. Not set: the instruction of the profile.",
    )
    profile: Annotated[str, Flag("--profile", "NAME")] = Field(
        "commentator",
        min_length=1,
        description="Prompts, density, names and spellings: commentator, security, nature, sports, or a profile of "
        "watch.profiles.",
    )
    profiles: Annotated[Path | None, BeforeValidator(as_path), Flag("--profiles", "FILE.toml")] = Field(
        None, description="TOML file with profiles of your own, beside those of sca."
    )
    capture_fps: Annotated[float, Flag("--capture-fps", "FPS")] = Field(
        2.0, gt=0, le=120, description="Pictures per second that are put aside for the engine."
    )
    window_size: int = Field(
        32, ge=1, le=1024, description="Pictures that are held for the engine; the oldest one leaves."
    )
    frames_per_inference: Annotated[int, Flag("--frames", "N")] = Field(
        4, ge=1, le=256, description="Most pictures that the engine looks at in a cycle."
    )
    frame_stride: int = Field(
        2, ge=1, le=256, description="Every how many of the held pictures one is used in a cycle; the newest always is."
    )
    inference_interval: Annotated[float, Flag("--interval", "SECONDS")] = Field(
        1.0,
        ge=0,
        le=MAX_SECONDS,
        description="Least time between the starts of two cycles, in seconds. An engine that is given every picture answers as "
        "soon as it has something to say.",
    )
    change_threshold: float = Field(
        1.0,
        ge=0,
        le=255,
        description="A cycle is skipped if the picture has changed by less than this since the last one: mean difference of "
        "64×64 grey values from 0 to 255. 0: no cycle is skipped. Not used by engines that are given every picture.",
    )
    change_patience_s: float = Field(
        30.0,
        gt=0,
        le=MAX_SECONDS,
        description="The engine looks at least this often, in seconds, also if the picture does not change.",
    )
    repeat_s: float = Field(
        30.0,
        ge=0,
        le=MAX_SECONDS,
        description="An answer that adds no word of content to the last one is not said within this time after it, in seconds.",
    )
    answer_timeout_s: float = Field(
        20.0,
        gt=0,
        le=MAX_SECONDS,
        description="A cycle fails if nothing arrives from the engine for this long, in seconds.",
    )
    stream_delay_init: float = Field(
        5.0,
        ge=0,
        le=MAX_SECONDS,
        description="Delay of the picture at the start, in seconds; it then follows the engine. Not set: what is usual "
        "for the engine (describe: 1), else this.",
    )
    stream_delay_ema_alpha: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Weight of the newest cycle in the moving average of the time from picture to speech; 0: a fixed delay.",
    )
    stream_delay_min: float = Field(0.3, ge=0, le=MAX_SECONDS, description="Least delay of the picture, in seconds.")
    mjpeg_fps: float | None = Field(
        None, gt=0, le=240, description="Most pictures per second for display. Not set: those of the source."
    )
    display_seconds: float = Field(
        15.0, gt=0, le=3600, description="Pictures that are held for display, in seconds; also the longest delay."
    )
    display_bytes: int = Field(
        45_000_000, ge=100_000, le=MAX_BYTES, description="Most bytes of the pictures that are held for display."
    )
    enable_tts: bool = Field(True, description="Whether the commentary is spoken.")
    tts_pause_after: Annotated[float, Flag("--pause", "SECONDS")] = Field(
        1.0, ge=0, le=MAX_SECONDS, description="Least pause between two utterances, in seconds."
    )
    tts_max_new_tokens: int = Field(150, ge=1, le=MAX_COUNT, description="Most tokens of an answer.")
    loop: Annotated[bool, Flag("--loop")] = Field(False, description="Play a file again when it ends.")
    sources: str = Field(
        "",
        description="Videos that clients of sca watch --serve may start besides the one of the command line: addresses, files "
        "and folders, whose files may be started, separated by commas.",
    )
    reconnect_s: float = Field(
        60.0,
        ge=0,
        le=MAX_SECONDS,
        description="How long a stream or camera that was lost is tried again, in seconds, before the session ends.",
    )
    delegate_base_url: str | None = Field(
        None,
        min_length=1,
        description="Address of a server with the chat API of OpenAI that answers the questions of the engine. Not set: that "
        "of llm.base_url, if there is one.",
    )
    delegate_api_key: SecretStr | None = Field(None, description="Key sent to that server.")
    delegate_model: str | None = Field(None, min_length=1, description="Model of that server.")
    delegate_timeout_s: float = Field(
        30.0, gt=0, le=MAX_SECONDS, description="Time limit of an answer to a question, in seconds."
    )

    @property
    def allowed_sources(self) -> list[str]:
        """The entries of `sources`."""
        return [one.strip() for one in self.sources.split(",") if one.strip()]

    @field_validator("instruction")
    @classmethod
    def _trim(cls, instruction: str | None) -> str | None:
        text = None if instruction is None else instruction.strip()
        if text is not None and len(text) > MAX_INSTRUCTION_CHARS:
            raise ValueError(f"should have at most {MAX_INSTRUCTION_CHARS} characters, got {len(text)}")
        return text

    @field_validator("frames_per_inference")
    @classmethod
    def _fits_window(cls, frames: int, info: ValidationInfo) -> int:
        held = info.data.get("window_size", frames)
        if frames > held:
            raise ValueError(f"should not be above watch.window_size, which is {held}, got {frames}")
        return frames
