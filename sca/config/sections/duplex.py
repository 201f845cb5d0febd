"""Settings of full-duplex data: how a conversation is placed on the grid, cut into rows and stored."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from sca.config.sections.base import MAX_COUNT, MAX_TOKEN_ID, MIN_SECONDS, Flag, Section, as_path
from sca.errors import ConfigError
from sca.units import MAX_SECONDS

__all__ = ["DuplexConfig"]

DEFAULT_TOKENIZER = "builtin:qwen"  # the vocabulary of the default model; building data should not need a network
DEFAULT_PROMPT = (
    "You are in a spoken conversation. You hear the other person all the time, also while you speak. "
    "Speak naturally and briefly, and stay silent while it is their turn."
)


_MAX_TEXT_TOKENS = 1000


def _number_or_auto(value: object) -> object:
    number = int(value) if isinstance(value, str) and value.isascii() and value.strip().isdigit() else value
    if number == "auto" or (type(number) is int and 1 <= number <= _MAX_TEXT_TOKENS):
        return number
    raise ValueError(f"should be a whole number from 1 to {_MAX_TEXT_TOKENS} or auto, got {value!r}")


class DuplexConfig(Section):
    """How a conversation is placed on the grid and cut into training rows."""

    model_path: Annotated[str, Flag("--model-path", "builtin:qwen|DIR|ID")] = Field(
        DEFAULT_TOKENIZER,
        min_length=1,
        description="Tokenizer: builtin:qwen (the one of Qwen3-Omni, needs no network), a hub id or a folder.",
    )
    revision: str | None = Field(
        None, description="Branch, tag or commit of model_path on the hub. Not set: its main branch."
    )
    text_tokens_per_chunk: Annotated[
        int | Literal["auto"], BeforeValidator(_number_or_auto), Flag("--text-tokens", "N|auto")
    ] = Field(
        2,
        description="Output text tokens per chunk, up to 1000. auto: the smallest number that keeps nearly all tokens "
        "in time, measured by sca build-duplex.",
    )
    silence_token_id: int = Field(
        151646, ge=0, le=MAX_TOKEN_ID, description="Token id of a chunk without output: keep listening."
    )
    hold_id: Annotated[int | None, Flag("--hold-id", "ID")] = Field(
        None,
        ge=0,
        le=MAX_TOKEN_ID,
        description="Token id of a chunk without text while the speaker is still speaking. Not set: silence_token_id.",
    )
    start_id: Annotated[int | None, Flag("--start-id", "ID")] = Field(
        None, ge=0, le=MAX_TOKEN_ID, description="Token id before the first token of an utterance. Not set: none."
    )
    stop_id: Annotated[int | None, Flag("--stop-id", "ID")] = Field(
        None, ge=0, le=MAX_TOKEN_ID, description="Token id at the end of an utterance. Not set: none."
    )
    backchannel_id: Annotated[int | None, Flag("--backchannel-id", "ID")] = Field(
        None,
        ge=0,
        le=MAX_TOKEN_ID,
        description="Token id before a backchannel, in place of start_id. Not set: start_id.",
    )
    audio_placeholder: int = Field(
        -100,
        ge=-MAX_TOKEN_ID,
        lt=0,
        description="Number that represents an audio token in input_ids; negative, so that it is never a text token.",
    )
    lead_chunks: Annotated[int, Flag("--lead", "N")] = Field(
        1, ge=0, le=1000, description="Number of chunks that a token is placed before the audio of its word."
    )
    max_tokens: int = Field(40000, ge=1, le=100 * MAX_COUNT, description="Longest row, in tokens.")
    max_pull_chunks: int | None = Field(
        None,
        ge=0,
        le=1000,
        description="Number of chunks that a token may be moved forward to make room for the next ones. "
        "Not set: 1, or 2 when lead_chunks is 0.",
    )
    max_lag_chunks: int = Field(
        3, ge=0, le=MAX_COUNT, description="A unit with a token more than this many chunks late is flagged."
    )
    on_lag: Annotated[Literal["keep", "drop-unit"], Flag("--on-lag")] = Field(
        "keep", description="Handling of units that are flagged because a token is more than max_lag_chunks late."
    )
    unlabelled_speech: Annotated[Literal["mask", "keep"], Flag("--unlabelled-speech")] = Field(
        "mask",
        description="Labels where the words of a speaker are unknown: mask leaves these chunks out of the labels, "
        "keep labels them as silence.",
    )
    others: Annotated[Literal["mix", "leave"], Flag("--others")] = Field(
        "mix",
        description="Conversations of more than two speakers: mix gives every speaker one side that hears all others "
        "mixed, leave gives a side per ordered pair that hears one other speaker.",
    )
    unit_gap_s: float = Field(
        0.5,
        ge=0,
        le=MAX_SECONDS,
        description="Segments of one speaker that are closer than this, in seconds, are one unit.",
    )
    window: Annotated[str, Flag("--window", "MIN-MAX|session")] = Field(
        "20-60", description="Length of a row in seconds, as MIN-MAX; session makes one row per session."
    )
    min_silence_s: float = Field(
        0.32,
        ge=MIN_SECONDS,
        le=MAX_SECONDS,
        description="Rows are cut where both speakers are silent for at least this long, in seconds.",
    )
    max_segments: int = Field(8, ge=1, le=MAX_COUNT, description="Maximum number of the speaker's segments in a row.")
    min_turns: int = Field(
        3,
        ge=0,
        le=MAX_COUNT,
        description="Minimum number of stretches of speech in a row, of both speakers, where the conversation has them.",
    )
    validation: Annotated[float, Flag("--validation", "SHARE")] = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of the hours that becomes the split validation; no speaker is in both splits.",
    )
    align: Annotated[Literal["interpolate", "whisper", "ctc"], Flag("--align")] = Field(
        "interpolate",
        description="Source of word times that the corpus lacks: interpolation by letters, or an alignment model.",
    )
    align_model: Annotated[str | None, Flag("--align-model", "SIZE|DIR|ID")] = Field(
        None,
        min_length=1,
        description="Alignment model: a Whisper size, a hub id or a folder. Not set: small, or "
        "facebook/wav2vec2-base-960h for ctc.",
    )
    align_language: str | None = Field(
        None,
        pattern=r"^[a-z]{2,3}$",
        description="Language code for Whisper, such as en. Not set: detected for each utterance.",
    )
    tags: Annotated[Literal["strip", "keep"], Flag("--tags")] = Field(
        "strip",
        description="Tags in transcripts, such as [laughter] or <noise>: strip removes them, keep leaves them in the text.",
    )
    speaker_model: Annotated[str, Flag("--speaker", "MODEL")] = Field(
        "none",
        min_length=1,
        description="Speaker embedding model: none, ecapa, ecapa:FOLDER-OR-HUB-ID, or an .onnx file (WeSpeaker, CAM++).",
    )
    on_bleed: Annotated[Literal["keep", "gate", "drop"], Flag("--on-bleed")] = Field(
        "keep",
        description="Handling of crosstalk, one speaker's voice in the other's track: keep it, gate it (silence the parts that "
        "hold nothing else), or drop sessions with more than max_bleed of it.",
    )
    max_bleed: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="Share of a speaker's solo speech that may be audible in the other's track before the session is dropped.",
    )
    codes: Annotated[Literal["none", "mimi"], Flag("--codes")] = Field(
        "none",
        description="Codec targets for the speaking side: none, or mimi (16 codebooks, 12.5 frames per second; extra live).",
    )
    codes_model: Annotated[str, Flag("--codes-model", "DIR|ID")] = Field(
        "kyutai/mimi", min_length=1, description="Codec of --codes: a hub id or a folder."
    )
    audio_format: Annotated[Literal["flac", "pcm16"], Flag("--audio-format")] = Field(
        "flac", description="Audio storage: flac is small, pcm16 needs no decoding."
    )
    drops: Annotated[Path | None, BeforeValidator(as_path), Flag("--drops", "FILE")] = Field(
        None,
        description="List of rows to leave out, which sca browse writes. Other rows stay the same bytes. Not set: none.",
    )
    repair: Annotated[Literal["off", "suggest", "apply"], Flag("--repair")] = Field(
        "suggest",
        description="Handling of swapped recordings, shifted words and drifting clocks where the sound leaves no doubt: off, "
        "suggest (print the repair), or apply (make it, and keep it if the words then follow the speech).",
    )
    min_words_in_speech: float = Field(
        0.6,
        ge=0,
        le=1,
        description="A track is reported if less than this share of its words, by time, lies in its own speech.",
    )
    max_unlabelled_speech: float = Field(
        0.2,
        ge=0,
        le=1,
        description="A track is reported if more than this share of its speech is outside the utterances of all speakers.",
    )
    max_word_offset_s: float = Field(
        0.4, ge=0, le=5, description="A track is reported if its words are more than this many seconds off its speech."
    )
    max_drift: float = Field(
        0.002,
        ge=0,
        le=0.1,
        description="A track is reported if the clock of its words differs by more than this share from its speech.",
    )
    max_same_speech: float = Field(
        0.9,
        ge=0,
        le=1,
        description="A session is reported if its tracks have at least this share of their speech at the same time.",
    )
    min_same_voice: float = Field(
        0.75,
        ge=0,
        le=1,
        description="A speaker is reported if the speaker embedding has at least this cosine with that of another name in "
        "other sessions.",
    )
    system_prompt: str = Field(
        DEFAULT_PROMPT, description="Text at the start of every row and every live session; may be empty."
    )

    @field_validator("window")
    @classmethod
    def _check_window(cls, window: str) -> str:
        _parse_window(window)
        return window

    @property
    def window_s(self) -> tuple[float, float] | None:
        """Shortest and longest row in seconds; None for whole sessions."""
        return _parse_window(self.window)

    @property
    def tokens_per_chunk(self) -> int:
        """`text_tokens_per_chunk` as a number.

        Raises:
            ConfigError: It is `auto`, which only `sca build-duplex` resolves.
        """
        if isinstance(self.text_tokens_per_chunk, str):
            raise ConfigError(
                "duplex.text_tokens_per_chunk is auto, which is only for sca build-duplex",
                hint="give the number that settings.json of the data set has",
            )
        return self.text_tokens_per_chunk

    @property
    def pull_chunks(self) -> int:
        """`max_pull_chunks`, or its default for the lead."""
        if self.max_pull_chunks is not None:
            return self.max_pull_chunks
        return 1 if self.lead_chunks >= 1 else 2


def _parse_window(window: str) -> tuple[float, float] | None:
    if window == "session":
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)", window, re.ASCII)
    shortest, longest = (float(found[1]), float(found[2])) if found else (0.0, 0.0)
    if not 0 < shortest < longest <= MAX_SECONDS:
        raise ValueError(
            "should be session, or MIN-MAX in seconds "
            f"with 0 < MIN < MAX <= {MAX_SECONDS} such as 20-60, got {window!r}"
        )
    return shortest, longest
