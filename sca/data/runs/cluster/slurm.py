"""A command as an array of Slurm: one task for each shard, and a job after them that joins the shards."""

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from sca.errors import MissingToolError, UpstreamError, UsageError
from sca.textutil import one_line

__all__ = ["SlurmJobs", "submit"]

_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class SlurmJobs:
    """The jobs of a run.

    Attributes:
        array: The id of the array with the shards.
        join: The id of the job that joins them.
    """

    array: str
    join: str


def submit(words: Sequence[str], shards: int, options: str) -> SlurmJobs:
    """Submit a command. Both jobs run in this folder with this environment.

    Args:
        words: The command with its arguments, which have `--executor slurm` or get it from the settings.
        shards: Tasks of the array.
        options: Further options of sbatch.

    Raises:
        MissingToolError: There is no sbatch.
        UpstreamError: Slurm refused a job.
        UsageError: The options have an open quote.
    """
    program = shutil.which("sbatch")
    if program is None:
        raise MissingToolError(
            "no sbatch found, so there is no Slurm to submit to",
            hint="run this on a login node, or start the shards yourself: --shard 1/8, …, then without --shard",
        )
    try:
        given = shlex.split(options)
    except ValueError as error:
        raise UsageError(f"--sbatch cannot be split into options: {error}") from error
    name = f"--job-name=sca-{words[3]}" if len(words) > 3 else "--job-name=sca"
    # The shard is explicit, so that a task can never submit an array again.
    task = _with(words, f'--shard "$SLURM_ARRAY_TASK_ID/{shards}"')
    array = _sbatch([program, "--parsable", name, f"--array=1-{shards}", *given, f"--wrap={task}"])
    # `afterany`: what a task left undone, after a time limit for instance, is done by the job that joins.
    after = [f"--dependency=afterany:{array}", *given, f"--wrap={_with(words, '--executor local')}"]
    return SlurmJobs(array, _sbatch([program, "--parsable", f"{name}-join", *after]))


def _with(words: Sequence[str], options: str) -> str:
    """Return the text of a command with further options, which replace those before them."""
    end = words.index("--") if "--" in words else len(words)
    return f"{shlex.join(words[:end])} {options} {shlex.join(words[end:])}".rstrip()


def _sbatch(command: list[str]) -> str:
    """Run sbatch, and return the id of the job, without the name of the cluster."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UpstreamError(f"sbatch cannot be run: {error}") from error
    if done.returncode:
        raise UpstreamError(f"sbatch refused the job: {one_line(done.stderr.strip()) or 'no reason given'}")
    return done.stdout.strip().partition(";")[0]
