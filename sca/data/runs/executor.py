"""Where the work of a run is done: the protocol that this process, threads, worker processes and clusters implement."""

from collections.abc import Callable, Generator, Sequence
from typing import Protocol, TypeVar

from sca.errors import ScaError

__all__ = ["Executor", "WorkerDiedError", "call"]

Job = TypeVar("Job")
Result = TypeVar("Result")


class Executor(Protocol):
    """Applies one function to many jobs."""

    def run(
        self, jobs: Sequence[Job], work: Callable[[Job], Result]
    ) -> Generator[tuple[Job, Result | ScaError], None, None]:
        """Apply `work` to every job.

        Closing the iterator early (an error or an interrupt in the consumer) ends the workers before it returns.

        Args:
            jobs: What `work` is called with. Picklable if the executor runs in other processes.
            work: The function. Its result must not depend on where it runs. Picklable if the executor runs in other
                processes.

        Yields:
            `(job, result)` in the order of completion. A `ScaError` that `work` raised is the result of its job, and so
            is the `WorkerDiedError` of a job that ended its worker process twice. Any other exception of `work` is
            raised here.
        """
        ...


class WorkerDiedError(ScaError):
    """A job ended its worker process, in the first attempt and in the second."""


def call(work: Callable[[Job], Result], job: Job) -> Result | ScaError:
    """Call `work(job)` and return a `ScaError` that it raises as the result."""
    try:
        return work(job)
    except ScaError as error:
        return error
