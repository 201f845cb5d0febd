"""Settings of the speech engine csm: the model, the voice, and how it is run."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from sca.config.sections.base import Flag, Section, as_path

__all__ = ["DEFAULT_CSM", "CsmConfig"]

DEFAULT_CSM = "sesame/csm-1b"
_FRAME_MS = 80


class CsmConfig(Section):
    """Sesame's conversational speech model, as a speech engine."""

    model_id: str = Field(DEFAULT_CSM, min_length=1, description="The model: a hub id or a local folder.")
    revision: str | None = Field(
        None, description="Branch, tag or commit of model_id on the hub. Not set: its main branch."
    )
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="Device: auto, cpu, cuda or cuda:1.")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Number format of the transformers; auto is bfloat16 on a GPU and float32 on a CPU. The codec is always "
        "float32.",
    )
    cuda_graphs: bool = Field(True, description="Run each frame as a CUDA graph on an NVIDIA GPU.")
    temperature: float = Field(0.9, ge=0, le=2, description="Sampling temperature; 0 always takes the likeliest code.")
    top_k: int = Field(50, ge=1, le=2048, description="Number of likeliest codes to sample from.")
    seed: int = Field(0, ge=0, lt=2**63, description="Random seed: the same seed gives the same speech.")
    chunk_frames: int = Field(6, ge=1, le=100, description="Frames of 80 ms that are decoded and returned together.")
    first_chunk_frames: Annotated[int, Flag("--first-chunk-frames", "N")] = Field(
        2,
        ge=1,
        le=100,
        description="Frames of 80 ms in the first chunk of a clause of the engine csm; fewer are heard sooner.",
    )
    max_audio_length_ms: int = Field(
        30_000, ge=_FRAME_MS, le=160_000, description="Maximum length of the speech of one clause or sentence, in ms."
    )
    context_units: int = Field(
        2, ge=0, le=100, description="Number of clauses spoken before that the model hears, for a steady voice."
    )
    prompt_audio: Annotated[Path | None, BeforeValidator(as_path)] = Field(
        None, description="Recording of the voice to imitate, some seconds long. Needs prompt_text."
    )
    prompt_text: str | None = Field(None, min_length=1, description="The words of prompt_audio.")

    @model_validator(mode="after")
    def _check_prompt(self) -> Self:
        if (self.prompt_audio is None) != (self.prompt_text is None):
            raise ValueError("csm.prompt_audio and csm.prompt_text should be given together")
        return self
