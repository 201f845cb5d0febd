"""The settings of full-duplex data: how a conversation is laid on the grid, cut into rows and stored."""

import re
from typing import Literal

from pydantic import Field, field_validator

from sca.config.sections.base import Section

__all__ = ["DuplexConfig"]

DEFAULT_TOKENIZER = "builtin:qwen"  # the vocabulary of the default model; building data should not need a network
DEFAULT_PROMPT = (
    "You are in a spoken conversation. You hear the other person all the time, also while you speak. "
    "Speak naturally and briefly, and stay silent while it is their turn."
)


class DuplexConfig(Section):
    """How a conversation is laid on the grid and cut into training rows."""

    model_path: str = Field(
        DEFAULT_TOKENIZER,
        min_length=1,
        description="Whose tokenizer: builtin:qwen (that of Qwen3-Omni, needs no network), a hub id or a folder.",
    )
    revision: str | None = Field(
        None, description="Branch, tag or commit of model_path on the hub. Not set: its main branch."
    )
    text_tokens_per_chunk: int = Field(2, ge=1, description="Text tokens spoken per chunk.")
    silence_token_id: int = Field(
        151646, ge=0, description="Token id that says: nothing to say in this chunk, keep listening."
    )
    hold_id: int | None = Field(
        None, ge=0, description="Token id that says: no text in this chunk, still speaking. Not set: silence_token_id."
    )
    start_id: int | None = Field(
        None, ge=0, description="Token id before the first token of what is said. Not set: none."
    )
    stop_id: int | None = Field(None, ge=0, description="Token id where what is said has ended. Not set: none.")
    backchannel_id: int | None = Field(
        None, ge=0, description="Token id in place of start_id where the speaker only nods along. Not set: start_id."
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
    min_turns: int = Field(
        3, ge=0, description="Stretches of speech, of both speakers, that a window has where the material does."
    )
    validation: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of the hours kept apart as the split validation, in groups that share no speaker with the rest.",
    )
    align: Literal["interpolate", "whisper", "ctc"] = Field(
        "interpolate",
        description="Where word times come from that a corpus does not give: shared out by letters, or found by a model.",
    )
    align_model: str | None = Field(
        None,
        min_length=1,
        description="The model that finds them: a Whisper size, a hub id or a folder. Not set: small, or "
        "facebook/wav2vec2-base-960h for ctc.",
    )
    align_language: str | None = Field(
        None,
        pattern=r"^[a-z]{2,3}$",
        description="Language code that Whisper is told, such as en. Not set: it guesses for each utterance.",
    )
    speaker_model: str = Field(
        "none",
        min_length=1,
        description="What tells voices apart: none, ecapa, ecapa:FOLDER-OR-HUB-ID, or an .onnx file (WeSpeaker, CAM++).",
    )
    on_bleed: Literal["keep", "gate", "drop"] = Field(
        "keep",
        description="What happens where one speaker is heard in another's track: keep it, gate it (silence what is nothing "
        "else), or drop sessions with more than max_bleed of it.",
    )
    max_bleed: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="Share of what a speaker says alone that may be heard in another's track before the session is dropped.",
    )
    codes: Literal["none", "mimi"] = Field(
        "none", description="Codec targets of who speaks: none, or mimi (16 codebooks, 12.5 frames a second)."
    )
    codes_model: str = Field("kyutai/mimi", min_length=1, description="The codec: a hub id or a folder.")
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
