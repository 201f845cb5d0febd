"""The settings themselves: one small frozen model per subsystem, each field with its default, bounds and meaning.

A field's environment variable is `SCA_<SECTION>_<FIELD>` unless it says otherwise with `Env`; its description is what
`sca config default` and the docs print. Validators look at values only, never at the disk or the network.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from sca.errors import ConfigError
from sca.units import Grid

__all__ = ["AudioConfig", "DuplexConfig", "Env", "LiveConfig", "PathsConfig", "QwenConfig", "TurnConfig"]

DEFAULT_TOKENIZER = "builtin:qwen"  # the vocabulary of the default model; building data should not need a network
DEFAULT_MODEL = "Qwen/Qwen3-Omni-30B-A3B-Instruct"
# The commit of that model on the hub whose configuration this was made for.
DEFAULT_REVISION = "26291f793822fb6be9555850f06dfe95f2d7e695"
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
        None,
        description="Branch, tag or commit of model_id on the hub. Not set: the commit this was made for, 26291f79, if model_id is "
        "the default one, else the main branch.",
    )
    adapter: str | None = Field(
        None, min_length=1, description="Folder of a LoRA adapter that peft saved; it is merged into the weights."
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
    context_tokens: int = Field(
        16_384,
        ge=64,
        description="Most tokens of a conversation that are remembered, 18.75 a second at most. The prompt stays, the oldest "
        "chunks leave. No more than the model has positions.",
    )
    talker_context_frames: int = Field(
        4096, ge=64, description="Most sounds the talker remembers of what it said, 12.5 a second."
    )
    speaker: str = Field("ethan", min_length=1, description="The voice, one that the model names.")
    conditioning: str = Field(
        "embed",
        pattern=r"^(embed|hidden:[1-9][0-9]{0,3})$",
        description="What the talker is told of a text token: embed (its embedding, as the model's own generate does) or hidden:N "
        "(what the thinker's N-th layer makes of it).",
    )
    slots: int = Field(
        0,
        ge=0,
        le=256,
        description="Sessions that are stepped together in caches of fixed size, on a GPU as CUDA graphs. 0: each by itself.",
    )
    cuda_graphs: bool = Field(True, description="Whether slots on an NVIDIA GPU run as CUDA graphs.")
    talker_process: bool = Field(
        False, description="Whether talker and vocoder run in a second process. Not together with slots."
    )
    carry_second_token: bool = Field(
        False,
        description="Whether slots think the last text token of a chunk together with the next chunk: the same words, a pass "
        "through the thinker less. Only with conditioning embed.",
    )
    talker_temperature: float = Field(0.9, ge=0, description="How freely sounds are drawn; 0 takes the likeliest.")
    talker_top_k: int = Field(50, ge=1, description="Sounds are drawn from this many of the likeliest.")
    seed: int = Field(0, ge=0, lt=2**63, description="What sounds are drawn with: the same seed, the same session.")

    @property
    def model_revision(self) -> str | None:
        """What to ask the hub for."""
        return DEFAULT_REVISION if self.revision is None and self.model_id == DEFAULT_MODEL else self.revision


class DuplexConfig(_Section):
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


class LiveConfig(_Section):
    """How a live session listens, thinks and speaks."""

    engine: str = Field("parrot", min_length=1, description="Which engine answers, by name.")
    listen_buffer_ms: int = Field(
        1600,
        ge=1,
        description="Sound heard and not yet stepped that is kept, in ms, rounded to whole chunks. When it is full a microphone's "
        "oldest chunk is dropped; files and networks wait.",
    )
    speak_buffer_ms: int = Field(
        960,
        ge=1,
        description="Sound to be said that may wait to be played, in ms; when there is more the engine waits.",
    )
    playout_delay_ms: int = Field(
        40, ge=0, description="Pause before an answer is played, in ms: absorbs the jitter of steps."
    )
    playout_delay_max_ms: int = Field(
        200, ge=0, description="The most that pause grows to when there were gaps, in ms."
    )
    lag_policy: Literal["skip", "wait"] = Field(
        "skip",
        description="What a session does that is behind: skip drops all waiting chunks but the newest, wait works through them.",
    )
    lag_chunks: int = Field(2, ge=1, description="A session with more chunks waiting than this is behind.")
    deadline_ms: int | None = Field(
        None, ge=1, description="A step that takes longer than this, in ms, is reported as late. Not set: one chunk."
    )
    batch_wait_ms: float = Field(
        10.0,
        ge=0,
        le=1000,
        description="How long a chunk that is due waits for those of other sessions, in ms, where the engine steps many at once.",
    )
    hang_s: float = Field(10.0, gt=0, description="A step that takes longer than this, in seconds, ends its session.")
    step_cost_ms: float = Field(
        20.0, ge=0, description="How long a step takes in simulated time, in ms (sca live --file without --realtime)."
    )
    record_text: bool = Field(False, description="Whether --record also writes down what is said, not only when.")
    vad_onset: float = Field(
        0.5, gt=0, le=1, description="Speech begins at a frame with this probability or a higher one."
    )
    vad_offset: float = Field(
        0.35,
        ge=0,
        le=1,
        validate_default=True,
        description="Speech ends at a frame with a lower probability than this.",
    )
    min_speech_ms: int = Field(
        160, ge=1, description="Speech in one piece shorter than this, in ms, is no turn (parrot)."
    )
    end_of_turn_ms: int = Field(640, ge=1, description="A turn is over after this much silence, in ms (parrot).")
    barge_in_ms: int = Field(
        96, ge=1, description="Speech in one piece of this length, in ms, interrupts an answer (parrot)."
    )
    turn_model: str | None = Field(
        None,
        min_length=1,
        description="What judges whether a turn is over (parrot): auto (the model of turn.model_id), an .onnx file, a folder or "
        "hub id, or the http(s) address of a turn server. Not set: silence alone.",
    )
    max_turn_s: float = Field(30.0, gt=0, description="What is kept of a turn to say back: its last seconds (parrot).")

    @field_validator("vad_offset")
    @classmethod
    def _below_onset(cls, vad_offset: float, others: ValidationInfo) -> float:
        onset = others.data.get("vad_onset", 1.0)
        if vad_offset > onset:
            raise ValueError(f"should not be above live.vad_onset, which is {onset:g}, got {vad_offset:g}")
        return vad_offset


class TurnConfig(_Section):
    """The turn server, its model, and when a turn is called finished."""

    model_id: str | None = Field(
        None,
        description="The model: an .onnx file (v3), a folder or a hub id. Not set: the v3 file inside the installed pipecat-ai.",
    )
    revision: str | None = Field(
        None, description="Branch, tag or commit of model_id on the hub. Not set: its main branch."
    )
    host: str = Field("127.0.0.1", min_length=1, description="Address the turn server listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port of the turn server; 0 takes a free one.")
    auth_key: SecretStr | None = Field(
        None, description="Key that clients send as `Authorization: Key …`. Not set: none."
    )
    threshold: float = Field(0.5, ge=0, le=1, description="Finished means a probability above this.")
    max_secs: float | None = Field(
        None,
        gt=0,
        description="Only the last seconds of what is sent are judged. Not set: all the model hears (8 or 16).",
    )
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="Where a v2 model runs: auto, cpu, cuda or cuda:1."
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Number format of a v2 model; auto is bfloat16 on a GPU and float32 on a CPU."
    )
    torch_compile: bool = Field(
        False, description="Whether a v2 model is compiled in the background; the plain one serves until that is done."
    )
    cuda_graphs: bool = Field(False, description="Whether a v2 model on a GPU is captured as one CUDA graph a bucket.")
    batch_buckets: str = Field(
        "16,32,64", description="Batch sizes of a v2 model on a GPU, smallest first; a batch is padded to the next."
    )
    micro_batch_window_ms: float = Field(
        2.0, ge=0, description="How long a batch on a GPU waits for company after its first request, in ms."
    )
    pool: int | None = Field(
        None, ge=1, description="Single-threaded models that work side by side on a CPU. Not set: one a core."
    )
    max_queue: int = Field(
        64, ge=0, description="Most requests that may wait for a model; the next is refused at once (503)."
    )
    max_body_bytes: int = Field(8388608, ge=1, description="Largest body of a request, in bytes (413).")
    body_timeout_s: float = Field(
        10.0, gt=0, description="A request's head, and then its body, has to arrive within this time, in seconds."
    )
    max_connections: int = Field(512, ge=1, description="Most connections at the same time (503).")
    ask_after_s: float = Field(0.2, gt=0, description="Silence after which the model is first asked, in seconds.")
    patience: str = Field(
        "0.6:0.45,1.2:0.35,2:0.25",
        description="When to ask again while silence lasts, as SECONDS:THRESHOLD,…; empty asks once.",
    )
    max_silence_s: float = Field(
        3.0, gt=0, description="A turn is over after this much silence, in seconds, whatever the model says."
    )
    min_speech_s: float = Field(0.25, ge=0, description="Less speech than this, in seconds, is no turn.")

    @field_validator("batch_buckets")
    @classmethod
    def _buckets_read(cls, batch_buckets: str) -> str:
        _buckets(batch_buckets)
        return batch_buckets

    @field_validator("patience")
    @classmethod
    def _patience_reads(cls, patience: str) -> str:
        _curve(patience)
        return patience

    @property
    def buckets(self) -> tuple[int, ...]:
        """Batch sizes, rising."""
        return _buckets(self.batch_buckets)

    @property
    def curve(self) -> tuple[tuple[float, float], ...]:
        """`patience` as (silence in seconds, threshold), rising in the first."""
        return _curve(self.patience)


def _buckets(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    sizes = [int(part) for part in parts if re.fullmatch(r"[1-9]\d{0,3}", part, re.ASCII)]
    if len(sizes) != len(parts) or sizes != sorted(set(sizes)):
        raise ValueError(f"should be rising whole numbers such as 16,32,64, got {text!r}")
    return tuple(sizes)


def _curve(text: str) -> tuple[tuple[float, float], ...]:
    wrong = ValueError(f"should be SECONDS:THRESHOLD,… with rising seconds and thresholds in 0-1, got {text!r}")
    points = []
    for part in text.split(",") if text.strip() else []:
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)\s*", part, re.ASCII)
        if not found:
            raise wrong
        points.append((float(found[1]), float(found[2])))
    silences = [silence for silence, _ in points]
    if silences != sorted(set(silences)) or any(threshold > 1 for _, threshold in points):
        raise wrong
    return tuple(points)


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
