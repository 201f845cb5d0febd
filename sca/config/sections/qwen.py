"""Settings of the Qwen3-Omni engine: the model, and how it is loaded and run."""

from typing import Annotated, Literal

from pydantic import Field

from sca.config.sections.base import MAX_COUNT, Env, Flag, Section
from sca.resources import hub_commits

__all__ = ["DEFAULT_MODEL", "MAX_TEXT_TOP_K", "QwenConfig"]

DEFAULT_MODEL = "Qwen/Qwen3-Omni-30B-A3B-Instruct"

MAX_TEXT_TOP_K = 128
"""Upper bound of `text_top_k`: a CUDA graph has a fixed number of candidates."""


class QwenConfig(Section):
    """How the Qwen3-Omni engine is loaded and run."""

    model_id: Annotated[str, Flag("--model-path", "MODEL")] = Field(
        DEFAULT_MODEL, min_length=1, description="The model: a hub id or a local folder."
    )
    revision: str | None = Field(
        None,
        description="Branch, tag or commit of model_id on the hub. Not set: 26291f79, the commit the engine was written for, if "
        "model_id is the default, else the main branch.",
    )
    adapter: str | None = Field(
        None, min_length=1, description="Folder of a LoRA adapter saved by peft; it is merged into the weights."
    )
    any_prompt: bool = Field(
        False,
        description="Accept another duplex.system_prompt than the one in duplex.json of the adapter or model, with which it was "
        "trained.",
    )
    device_map: str = Field(
        "auto",
        min_length=1,
        description="Device of the weights: auto (one GPU if everything fits on it, else stacks), stacks (the thinker on one GPU, "
        "talker and vocoder on another), cpu, cuda, cuda:1; or a split layer by layer over all GPUs and main memory, which is "
        "slower: layers, and accelerate's names balanced, balanced_low_0, sequential.",
    )
    torch_dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "bfloat16", description="Number format of the weights; auto is the stored format."
    )
    vocoder_dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32",
        description="Number format of the vocoder, whose convolutions amplify rounding. float32 takes 0.43 GB more than "
        "bfloat16 in the released size.",
    )
    attn_implementation: Annotated[str, Env("SCA_QWEN_ATTN_IMPL")] = Field(
        "sdpa", min_length=1, description="Attention kernel: sdpa, eager, flash_attention_2 (transformers' names)."
    )
    max_new_tokens: int = Field(
        2,
        ge=1,
        le=1000,
        description="Maximum number of text tokens that the model generates per chunk; more than duplex.text_tokens_per_chunk "
        "cannot be placed.",
    )
    context_tokens: int = Field(
        16_384,
        ge=64,
        le=100 * MAX_COUNT,
        description="Maximum number of tokens in the context; a conversation uses up to 18.75 per second. The prompt is kept, the "
        "oldest chunks are dropped. At most the number of positions of the model.",
    )
    talker_context_frames: int = Field(
        4096,
        ge=64,
        le=100 * MAX_COUNT,
        description="Maximum number of the talker's own audio frames in its context, 12.5 per second.",
    )
    speaker: str = Field("ethan", min_length=1, description="The voice, by the model's name for it.")
    conditioning: str = Field(
        "embed",
        pattern=r"^(embed|hidden:[1-9][0-9]{0,3})$",
        description="Input of the talker for a text token: embed (its embedding, as in the model's own generate) or hidden:N "
        "(the output of the thinker's N-th layer).",
    )
    slots: int | None = Field(
        None,
        ge=0,
        le=256,
        description="Number of sessions that are stepped together in caches of fixed size, on a GPU as CUDA graphs. "
        "0: each session alone. Not set: on an NVIDIA GPU 1, for sca serve as many as fit and keep real time, at most 8; 0 "
        "elsewhere, with talker_process, and with a split layer by layer.",
    )
    cuda_graphs: bool = Field(True, description="Run slots on an NVIDIA GPU as CUDA graphs.")
    talker_process: bool = Field(
        False, description="Run the talker and the vocoder in a second process. Not together with slots."
    )
    carry_second_token: bool = Field(
        False,
        description="Process the last text token of a chunk together with the next chunk, in slots: the same words with one pass "
        "through the thinker less. Only with conditioning embed.",
    )
    talker_temperature: float = Field(
        0.9, ge=0, le=100, description="Sampling temperature of the talker; 0 takes the most likely code."
    )
    talker_top_k: int = Field(
        50, ge=1, le=MAX_COUNT, description="Number of most likely codes that the talker samples from."
    )
    seed: int = Field(
        0, ge=0, lt=2**63, description="Random seed of text and talker: the same seed gives the same session."
    )
    text_temperature: float = Field(
        0.0, ge=0, le=2, description="Sampling temperature of the text; 0 takes the most likely token. Per session."
    )
    text_top_p: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Probability mass of the most likely tokens that text is sampled from. Per session.",
    )
    text_top_k: int = Field(
        20, ge=1, le=MAX_TEXT_TOP_K, description="Number of most likely tokens that text is sampled from. Per session."
    )
    text_repetition_penalty: float = Field(
        1.0,
        ge=0.5,
        le=2,
        description="Penalty of the last 128 words' tokens: positive logits are divided by it, negative ones multiplied. 1: none. "
        "Per session.",
    )
    silence_bias: float = Field(
        0.0,
        ge=-100,
        le=100,
        description="Added to the logit of silence at the first token of each chunk: above 0 the model listens more, below 0 it "
        "speaks more. Per session.",
    )
    force_listen_s: float = Field(
        0.0,
        ge=0,
        le=3600,
        description="Seconds at the start of a session in which the model must be silent. Per session.",
    )
    yield_to_speech: bool = Field(
        False,
        description="Force silence in every chunk in which the user speaks, detected with the Silero VAD. Per session.",
    )
    max_turn_s: float = Field(
        0.0,
        ge=0,
        le=3600,
        description="Longest turn of the model in seconds; then it must be silent. 0: no limit. Per session.",
    )
    turn_pause_s: float = Field(
        4.0,
        ge=0,
        le=3600,
        description="How long the silence after max_turn_s lasts at most; it ends when the user has spoken. Per session.",
    )
    tell: Literal["once", "spread"] = Field(
        "spread",
        description="How the talker receives text: spread (each token during its share of the chunk) or once (one frame a token, "
        "then padding, as in the model's own generate). Per session.",
    )
    voice: Literal["continuous", "per-segment"] = Field(
        "continuous",
        description="The talker's context: continuous (one for the session) or per-segment (it receives the end of a turn, is "
        "silent after its end token, and begins again with the next turn). Per session.",
    )

    @property
    def model_revision(self) -> str | None:
        """The revision to load from the hub: by default the commit that the engine was written for."""
        return self.revision or hub_commits().get(self.model_id)
