"""Where the work of a run is done: the protocol that this process, threads, worker processes and clusters implement."""

import traceback
from collections.abc import Callable, Generator, Sequence
from typing import Protocol, TypeVar

from typing_extensions import override

from sca.errors import ScaError, error_of_system
from sca.textutil import first_line
from sca.urls.cache import in_use

__all__ = ["Executor", "ModelWork", "UnexpectedError", "WorkerDiedError", "call", "guarded", "needs_model", "prepare"]

Job = TypeVar("Job")
Result = TypeVar("Result")
Job_contra = TypeVar("Job_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)


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


class ModelWork(Protocol[Job_contra, Result_co]):
    """Work that needs a model: a picklable object. Each worker has its own copy, which loads its own models.

    `sca.data.runs.cluster.ray` runs it in actors, which keep the models; other work runs in tasks.
    """

    def load(self) -> object:
        """Load the models, unless they are loaded. A worker calls it before its first job, and may call it again.

        Raises:
            ScaError: A model cannot be loaded.
        """
        ...

    def __call__(self, job: Job_contra, /) -> Result_co:
        """Do one job."""
        ...


class WorkerDiedError(ScaError):
    """A job ended its worker process, in the first attempt and in the second."""


class UnexpectedError(ScaError):
    """The work of a job raised an exception that is a bug of sca or of a library.

    Attributes:
        traceback: The traceback, with several lines.
    """

    def __init__(self, message: str, *, traceback: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.traceback = traceback

    @override
    def __reduce__(self) -> tuple[object, ...]:
        return _unexpected, (self.message, self.traceback, self.hint)


def _unexpected(message: str, trace: str, hint: str | None) -> UnexpectedError:
    return UnexpectedError(message, traceback=trace, hint=hint)


def guarded(work: Callable[[Job], Result], job: Job) -> Result:
    """Call `work(job)`, so that an unexpected exception costs this job and not the run.

    Raises:
        ScaError: `work` raised it, or the system refused (a full disk, too little memory, a failing drive).
        UnexpectedError: `work` raised any other exception.
    """
    try:
        return work(job)
    except ScaError:
        raise
    except Exception as error:
        known = error_of_system(error)
        if known is not None:
            raise known from error
        name, reason = type(error).__name__, first_line(error)
        reason = name if reason == name else f"{name}: {reason}"
        raise UnexpectedError(
            f"unexpected {reason} (a bug of sca; please report it with the traceback)",
            traceback=traceback.format_exc(),
        ) from error


def needs_model(work: object) -> bool:
    """Return whether some work is `ModelWork`."""
    return callable(getattr(work, "load", None))


def prepare(work: object) -> None:
    """Load the models of some work, if it needs any.

    Raises:
        ScaError: A model cannot be loaded.
    """
    if needs_model(work):
        work.load()  # type: ignore[attr-defined]


def call(work: Callable[[Job], Result], job: Job) -> Result | ScaError:
    """Call `work(job)` and return a `ScaError` that it raises as the result. Files at URLs that it reads stay on disk."""
    try:
        with in_use():
            return work(job)
    except ScaError as error:
        return error
