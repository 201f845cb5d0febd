"""Settings of the turn server: the model, the limits, and when a turn is considered finished."""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationInfo, field_validator

from sca.config.sections.base import MAX_BYTES, MAX_COUNT, MIN_SECONDS, Flag, Section, parse_origins
from sca.units import HEARD_HZ, MAX_SECONDS, seconds_to_samples

__all__ = ["TurnConfig"]


def _lower_case(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class TurnConfig(Section):
    """The turn server, its model, and when a turn is considered finished."""

    model_id: Annotated[str | None, Flag("--model", "FILE|DIR|ID")] = Field(
        None,
        description="The model: an .onnx file (v3), a folder or a hub id. Not set: the v3 file of the installed pipecat-ai.",
    )
    revision: str | None = Field(
        None,
        description="Branch, tag or commit of model_id on the hub. Not set: the commit that sca pins, or its main branch.",
    )
    host: Annotated[str, Flag("--host", "ADDRESS")] = Field(
        "127.0.0.1", min_length=1, description="Address that the turn server listens on."
    )
    port: Annotated[int, Flag("--port", "PORT")] = Field(
        8000, ge=0, le=65535, description="Port of the turn server; 0 takes a free one."
    )
    auth_key: Annotated[SecretStr | None, Flag("--auth-key", "KEY")] = Field(
        None,
        description="Key that clients send as `Authorization: Key …`. An environment variable hides it from `ps`. Not set: none.",
    )
    origins: str = Field(
        "",
        description="Other origins that pages may connect to the server from, such as https://a.example,https://b.example.",
    )
    trusted_proxies: str = Field(
        "",
        description="Addresses or networks of trusted proxies, such as 127.0.0.1,10.0.0.0/8: the client's address is read from "
        "their X-Forwarded-For. Not set: from no request.",
    )
    threshold: Annotated[float, Flag("--threshold", "P")] = Field(
        0.5, ge=0, le=1, description="A turn is finished when its probability is above this."
    )
    max_secs: float | None = Field(
        None,
        ge=MIN_SECONDS,
        le=MAX_SECONDS,
        description="Length of the end of the audio that the model is given, in seconds. Not set: the model's window (8 or 16).",
    )
    device: Annotated[str, Flag("--device", "DEVICE")] = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="Device of the model: cpu, cuda or cuda:1. auto: for v2 a GPU if there is one, for v3 the CPU.",
    )
    dtype: Annotated[Literal["auto", "int8", "float32", "bfloat16", "float16"], BeforeValidator(_lower_case)] = Field(
        "auto",
        description="Number format; auto is float32, but bfloat16 for v2 on a GPU, and int8 for v3 on a CPU with VNNI.",
    )
    torch_compile: bool = Field(
        False,
        description="Compile a model in torch in the background; the model that is not compiled answers until that is done.",
    )
    cuda_graphs: bool = Field(False, description="Capture a model on a GPU as one CUDA graph per bucket.")
    batch_buckets: str = Field(
        "16,32,64",
        description="Batch sizes of a model on a GPU, smallest first; a batch is padded to the next size.",
    )
    micro_batch_window_ms: float = Field(
        2.0,
        ge=0,
        le=60_000,
        description="Time that the first request of a batch on a GPU waits for further requests, in ms.",
    )
    pool: Annotated[int | None, Flag("--pool", "N")] = Field(
        None, ge=1, le=1024, description="Number of parallel single-threaded models on a CPU. Not set: one per core."
    )
    max_queue_s: float = Field(
        3.0,
        ge=0,
        le=MAX_SECONDS,
        description="A request that would wait longer than this for a model, in seconds, is refused at once (503). "
        "Estimated from the model's recent times.",
    )
    max_queue: int = Field(
        256,
        ge=0,
        le=MAX_COUNT,
        description="Maximum number of requests that wait for a model, which bounds the memory (503).",
    )
    requests_per_minute: int | None = Field(
        None, ge=1, le=MAX_COUNT, description="Maximum number of requests of one client address per minute (429)."
    )
    speech_check: Literal["energy", "silero", "off"] = Field(
        "energy",
        description="How the field `speech` of an answer is found: by changes of the level (0.1 ms), by the Silero VAD "
        "(20 ms for 8 s), or not at all.",
    )
    log_format: Annotated[Literal["text", "json"], Flag("--log-format")] = Field(
        "text", description="Format of the server's log on stderr: lines of text, or one JSON object per line."
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Flag("--log-level")] = Field(
        "info",
        description="Least level of the server's log: debug adds probes, info has answers, warning rejections, error "
        "failures of the model.",
    )
    drain_s: float = Field(
        0.0,
        ge=0,
        le=MAX_SECONDS,
        description="After SIGTERM, requests are still answered for this long while /ready is 503, in seconds.",
    )
    max_body_bytes: int = Field(8388608, ge=1, le=MAX_BYTES, description="Largest body of a request, in bytes (413).")
    body_timeout_s: float = Field(
        10.0,
        gt=0,
        le=MAX_SECONDS,
        description="Time limit for receiving the head of a request, again for its body, and for a client to read something of the "
        "response, in seconds.",
    )
    max_connections: int = Field(512, ge=1, le=MAX_COUNT, description="Maximum number of concurrent connections (503).")
    ask_after_s: float = Field(
        0.2, gt=0, le=MAX_SECONDS, description="Silence after which the model is queried first, in seconds."
    )
    patience: str = Field(
        "0.6:0.45,1.2:0.35,2:0.25",
        validate_default=True,
        description="Further queries while the silence lasts, as SECONDS:THRESHOLD,…; empty queries once.",
    )
    max_silence_s: float = Field(
        3.0,
        gt=0,
        le=MAX_SECONDS,
        description="A turn ends after this much silence, in seconds, whatever the model predicts.",
    )
    min_speech_s: float = Field(
        0.25, ge=0, le=MAX_SECONDS, description="Speech shorter than this, in seconds, is not a turn."
    )

    @field_validator("batch_buckets")
    @classmethod
    def _check_buckets(cls, batch_buckets: str) -> str:
        _parse_buckets(batch_buckets)
        return batch_buckets

    @field_validator("patience")
    @classmethod
    def _check_patience(cls, patience: str, info: ValidationInfo) -> str:
        # In samples, as `ThresholdSchedule` uses them: two times may differ in seconds and not in samples.
        first_s = info.data.get("ask_after_s", 0.0)
        queries = [first_s, *(silence_s for silence_s, _ in _parse_patience(patience) if silence_s > first_s)]
        samples = [max(1, seconds_to_samples(silence_s, HEARD_HZ)) for silence_s in queries]
        if samples != sorted(set(samples)):
            raise ValueError(
                f"should have times that are at least one sample (1/{HEARD_HZ} s) apart and that far after turn.ask_after_s, "
                f"which is {first_s:g}, got {patience!r}"
            )
        return patience

    @property
    def allowed_origins(self) -> frozenset[str]:
        """The origins in `origins`, without trailing slashes."""
        return parse_origins(self.origins)

    @property
    def buckets(self) -> tuple[int, ...]:
        """Batch sizes in ascending order."""
        return _parse_buckets(self.batch_buckets)

    @property
    def curve(self) -> tuple[tuple[float, float], ...]:
        """The points of `patience` as (silence in seconds, threshold), in ascending order of silence."""
        return _parse_patience(self.patience)


def _parse_buckets(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    sizes = [int(part) for part in parts if re.fullmatch(r"[1-9]\d{0,3}", part, re.ASCII)]
    if len(sizes) != len(parts) or sizes != sorted(set(sizes)):
        raise ValueError(f"should be ascending whole numbers such as 16,32,64, got {text!r}")
    return tuple(sizes)


def _parse_patience(text: str) -> tuple[tuple[float, float], ...]:
    wrong = ValueError(
        f"should be SECONDS:THRESHOLD,… with ascending seconds up to {MAX_SECONDS} and thresholds in 0-1, got {text!r}"
    )
    points = []
    for part in text.split(",") if text.strip() else []:
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)\s*", part, re.ASCII)
        if not found:
            raise wrong
        points.append((float(found[1]), float(found[2])))
    silences = [silence for silence, _ in points]
    if silences != sorted(set(silences)) or any(s > MAX_SECONDS or threshold > 1 for s, threshold in points):
        raise wrong
    return tuple(points)
