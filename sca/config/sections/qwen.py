"""The settings of the Qwen3-Omni engine: which model, how it is loaded and run."""

from typing import Annotated, Literal

from pydantic import Field

from sca.config.sections.base import Env, Section

__all__ = ["DEFAULT_MODEL", "DEFAULT_REVISION", "QwenConfig"]

DEFAULT_MODEL = "Qwen/Qwen3-Omni-30B-A3B-Instruct"
# The commit of that model on the hub whose configuration this was made for.
DEFAULT_REVISION = "26291f793822fb6be9555850f06dfe95f2d7e695"


class QwenConfig(Section):
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
