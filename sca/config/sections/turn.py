"""The settings of the turn server: its model, its bounds, and when a turn is called finished."""

import re
from typing import Literal

from pydantic import Field, SecretStr, field_validator

from sca.config.sections.base import Section

__all__ = ["TurnConfig"]


class TurnConfig(Section):
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
