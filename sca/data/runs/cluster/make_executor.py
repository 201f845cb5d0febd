"""The executor that the settings choose. No other module chooses one."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from sca.config import ExecutorConfig
from sca.data.runs.executor import Executor

__all__ = ["executor_for"]


@contextmanager
def executor_for(config: ExecutorConfig, jobs: int = 0) -> Iterator[Executor | None]:
    """Yield the executor of the settings, and end it after the run.

    None is that of the command on this machine: threads, or processes. A shard of a Slurm array also runs there.

    Args:
        config: The settings.
        jobs: `--jobs`, 0 if it is not given.
    """
    if config.kind != "ray":
        yield None
        return
    from sca.data.runs.cluster.ray import RayExecutor

    with closing(RayExecutor(config.address, workers=jobs, gpus_per_worker=config.gpus_per_worker)) as executor:
        yield executor
