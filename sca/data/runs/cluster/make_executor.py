"""The executor that the settings choose. No other module chooses one."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from sca.config import ExecutorConfig
from sca.data.runs.executor import Executor
from sca.errors import UsageError

__all__ = ["executor_for"]


@contextmanager
def executor_for(config: ExecutorConfig, jobs: int = 0) -> Iterator[Executor | None]:
    """Yield the executor of the settings, and end it after the run.

    None is that of the command on this machine: threads, or processes. A shard of a Slurm array also runs there.

    Args:
        config: The settings.
        jobs: `--jobs`, 0 if it is not given.

    Raises:
        UsageError: Settings of Ray are given for another executor.
    """
    if config.kind != "ray":
        for option, value in (("--address", config.address), ("--num-gpus-per-worker", config.gpus_per_worker)):
            if value is not None:
                raise UsageError(f"{option} was given without --executor ray", hint="add --executor ray")
        yield None
        return
    from sca.data.runs.cluster.ray import RayExecutor

    with closing(RayExecutor(config.address, workers=jobs, gpus_per_worker=config.gpus_per_worker)) as executor:
        yield executor
