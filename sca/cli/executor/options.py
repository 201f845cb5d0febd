"""The options that choose where a data command works, the submission to Slurm, and the result of a shard."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from typer._click.globals import get_current_context

from sca.cli.shared.console import emit_json, print_line, print_notes
from sca.errors import PartialFailure, UsageError
from sca.textutil import counted

if TYPE_CHECKING:
    from sca.config import Settings
    from sca.data.runs.executor import Executor
    from sca.data.runs.shards import Shard
    from sca.data.runs.summary import RunSummary

__all__ = ["ANYWHERE", "RAY", "WORDS", "Place", "place_of", "show_shard", "submitted"]

RAY = ("executor.kind", "executor.address", "executor.gpus_per_worker")
"""The settings of a command that can work on a Ray cluster."""
ANYWHERE = (*RAY, "executor.shard", "executor.shards", "executor.sbatch")
"""The settings of a command whose items can also be shards of a Slurm array."""
WORDS = "sca.words"
"""Where the context has the words after `sca`, as they were given."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run works.

    Attributes:
        executor: The executor; None is that of the command on this machine.
        shard: The part of the items; None for all.
    """

    executor: "Executor | None"
    shard: "Shard | None"


@contextmanager
def place_of(settings: "Settings", jobs: int | None, *, redo: bool = False) -> Iterator[Place]:
    """Yield where the settings let a run work, and end what was started for it.

    Args:
        settings: The settings.
        jobs: `--jobs`.
        redo: Whether the run does finished items again.

    Raises:
        UsageError: A shard would do finished items again, and so would the run that joins the shards.
    """
    from sca.data.runs.cluster.make_executor import executor_for
    from sca.data.runs.shards import Shard

    numbers = settings.executor.own_shard
    if numbers is not None and redo:
        raise UsageError("--force and shards exclude each other", hint="remove the results, or give another folder")
    with executor_for(settings.executor, jobs or 0) as executor:
        yield Place(executor, None if numbers is None else Shard(*numbers))


def submitted(settings: "Settings", *, json: bool) -> bool:
    """Submit this command to Slurm if the settings say so, and print the jobs.

    Args:
        settings: The settings.
        json: Whether to print JSON.

    Returns:
        Whether it was submitted. If not, this process does the work: all of it, or a shard.

    Raises:
        MissingToolError: There is no sbatch.
        UpstreamError: Slurm refused the job.
    """
    config = settings.executor
    if config.kind != "slurm" or config.own_shard is not None:
        return False
    from sca.data.runs.cluster.slurm import submit

    words = [sys.executable, "-m", "sca", *get_current_context().meta[WORDS]]
    jobs = submit(words, config.shards, config.sbatch)
    if json:
        emit_json({"array": jobs.array, "shards": config.shards, "join": jobs.join}, "slurm")
    else:
        print_line(f"submitted {counted(config.shards, 'shard')} as job {jobs.array}; job {jobs.join} joins them")
    return True


def show_shard(summary: "RunSummary[Any]", place: Place, *, json: bool, quiet: bool) -> None:
    """Print the result of a shard.

    Raises:
        PartialFailure: Items failed.
    """
    failed = [f"{item}: failed: {reason}" for item, reason in summary.failed]
    if not quiet:
        print_notes(failed)
    if json:
        emit_json({"shard": str(place.shard), "made": summary.made, "failed": dict(summary.failed)}, "shard")
    else:
        print_line(f"shard {place.shard}: {counted(summary.made, 'item')} made, {len(failed)} failed")
        print_line("the same command without a shard joins all of them")
    if failed:
        raise PartialFailure(f"{counted(len(failed), 'item')} of the shard {place.shard} failed")
