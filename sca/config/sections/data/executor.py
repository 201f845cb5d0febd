"""Settings of where the items of a data command are worked on: this machine, a Slurm array, a Ray cluster."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from sca.config.sections.base import Env, Flag, Section

__all__ = ["MAX_SHARDS", "ExecutorConfig", "shard_numbers"]

MAX_SHARDS = 10_000
"""Upper bound of the shards of a run."""
_MAX_ID = 2**31 - 1


def shard_numbers(text: str) -> tuple[int, int]:
    """Return `(I, N)` of the text `I/N`, with 1 ≤ I ≤ N.

    Raises:
        ValueError: The text is something else.
    """
    first, slash, second = text.partition("/")
    if not (slash and first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second) <= MAX_SHARDS):
        raise ValueError(f"is not a shard I/N such as 2/8, with N up to {MAX_SHARDS}: {text!r}")
    return int(first), int(second)


class ExecutorConfig(Section):
    """Where the items of a run are worked on."""

    kind: Annotated[Literal["local", "slurm", "ray"], Flag("--executor")] = Field(
        "local", description="Where items are worked on: this machine, a Slurm array, or a Ray cluster."
    )
    shard: Annotated[str | None, Flag("--shard", "I/N")] = Field(
        None,
        description="Work only on the items of shard I of N. The same command without it joins the shards.",
    )
    shards: Annotated[int, Flag("--shards", "N")] = Field(
        8, ge=1, le=MAX_SHARDS, description="Shards of a run with --executor slurm: tasks of the array."
    )
    sbatch: Annotated[str, Flag("--sbatch", "OPTIONS")] = Field(
        "", description="Options of sbatch, such as '--partition gpu --gres gpu:1'."
    )
    address: Annotated[str | None, Flag("--address", "HOST:PORT")] = Field(
        None, description="Address of a running Ray cluster. Not set: Ray starts on this machine for the run."
    )
    gpus_per_worker: Annotated[float | None, Flag("--num-gpus-per-worker", "N")] = Field(
        None,
        ge=0,
        le=64,
        description="GPUs of each Ray worker with a model. Not set: 1 if the cluster has GPUs and the model may use one.",
    )
    array_task: Annotated[int | None, Env("SLURM_ARRAY_TASK_ID")] = Field(
        None, ge=0, le=_MAX_ID, description="Id of this task of a Slurm array; Slurm sets it."
    )
    array_first: Annotated[int, Env("SLURM_ARRAY_TASK_MIN")] = Field(
        1, ge=0, le=_MAX_ID, description="Least id of the tasks of the array; Slurm sets it."
    )
    array_step: Annotated[int, Env("SLURM_ARRAY_TASK_STEP")] = Field(
        1, ge=1, le=_MAX_ID, description="Step between the ids of the array; Slurm sets it."
    )
    array_count: Annotated[int | None, Env("SLURM_ARRAY_TASK_COUNT")] = Field(
        None, ge=1, le=_MAX_ID, description="Tasks of the array; Slurm sets it."
    )

    @field_validator("shard")
    @classmethod
    def _check_shard(cls, value: str | None) -> str | None:
        if value is not None:
            shard_numbers(value)
        return value

    @property
    def in_shards(self) -> bool:
        """Whether the run is cut into shards."""
        return self.kind == "slurm" or self.shard is not None

    @property
    def own_shard(self) -> tuple[int, int] | None:
        """The shard `(I, N)` of this process: of `shard`, or of its Slurm array; None for the whole run."""
        if self.shard is not None:
            return shard_numbers(self.shard)
        if self.kind == "slurm" and self.array_task is not None and self.array_count is not None:
            return (self.array_task - self.array_first) // self.array_step + 1, self.array_count
        return None
