"""A bounded queue of jobs, and a pool of models with one thread each.

A job that exceeds the limit of the queue is rejected at once (`BusyError`). A cancelled job is not run. An error of a
job affects only that job.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.infer.turn.models.model import DeviceLostError, Model

__all__ = [
    "BusyError",
    "Job",
    "JobQueue",
    "ModelError",
    "ModelPool",
    "ModelThread",
    "Prediction",
    "check_probability",
]

logger = logging.getLogger(__name__)

Clock = Callable[[], float]
_JOIN_S = 0.1  # for a thread to end when no time is left; a thread that hangs is not waited for


class BusyError(Exception):
    """The queue is full or closed.

    Attributes:
        retry_after_s: When to try again, in whole seconds.
    """

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ModelError(Exception):
    """The output of a model is not a probability."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """The result of a job.

    Attributes:
        probability: The probability.
        inference_s: The time in the model, including the features.
        queued_s: The time in the queue.
        batch_size: How many jobs were run together.
    """

    probability: float
    inference_s: float
    queued_s: float
    batch_size: int = 1


@dataclass(slots=True, eq=False)
class Job:
    """A prediction to make.

    Attributes:
        prepare: Returns the samples. Runs in the model's thread.
        arrived_s: When the job was submitted, on the queue's clock.
        future: The result.
    """

    prepare: Callable[[], NDArray[np.float32]]
    arrived_s: float
    future: "Future[Prediction]" = field(default_factory=Future)


class ModelThread(Protocol):
    """One or more threads that run jobs: a pool or a batcher.

    Attributes:
        queue: The jobs.
        lost: Why no job can be run any more in this process; None as long as jobs can be run.
        on_lost: Called by a thread when `lost` is set.
    """

    queue: "JobQueue"
    lost: DeviceLostError | None = None
    on_lost: Callable[[DeviceLostError], object] = staticmethod(lambda error: None)

    @property
    def workers(self) -> int:
        """The number of threads."""
        ...

    def submit(self, prepare: Callable[[], NDArray[np.float32]]) -> "Future[Prediction]":
        """Submit a job.

        Args:
            prepare: Returns the samples. Runs in the model's thread.

        Returns:
            The result.

        Raises:
            BusyError: The queue is full or closed.
        """
        ...

    def close(self, timeout_s: float) -> None:
        """Run the submitted jobs for up to `timeout_s`, reject the others, and end the threads."""
        ...


def check_probability(probability: float) -> float:
    """Return the probability.

    Raises:
        ModelError: It is not a probability.
    """
    if not 0 <= probability <= 1:  # also true for NaN
        raise ModelError("the output of the model is not a probability")
    return float(probability)


class JobQueue:
    """The jobs in order of arrival.

    Attributes:
        limit: How many jobs may wait or run.
        clock: The clock, in seconds.
        changed: Guards the attributes below, and is notified when they change.
        waiting: The jobs that wait.
        busy: How many jobs run.
        closed: Whether jobs are rejected.
    """

    def __init__(self, limit: int, workers: int, clock: Clock) -> None:
        self.limit, self.clock = limit, clock
        self.changed = threading.Condition()
        self.waiting: deque[Job] = deque()
        self.busy = 0
        self.closed = False
        self._workers = workers
        self._mean_s = 0.05  # of a job; a running mean of the measured times

    @property
    def full(self) -> bool:
        """Whether a job would be rejected. Not locked: for callers that want to avoid useless work."""
        return self.closed or len(self.waiting) + self.busy >= self.limit

    def retry_after_s(self) -> int:
        """Return when the queue will be empty, in whole seconds, at least 1."""
        return 1 + int(len(self.waiting) * self._mean_s / self._workers)

    def put(self, job: Job) -> None:
        """Add a job.

        Raises:
            BusyError: The queue is full or closed.
        """
        with self.changed:
            if self.closed:
                raise BusyError("the server is stopping", self.retry_after_s())
            if self.full:
                raise BusyError(f"{self.limit} requests are waiting or being answered", self.retry_after_s())
            self.waiting.append(job)
            self.changed.notify()

    def done(self, jobs: int, spent_s: float) -> None:
        """Note that `jobs` jobs were run together in `spent_s`."""
        with self.changed:
            self.busy -= jobs
            if jobs:
                self._mean_s += 0.1 * (spent_s / jobs - self._mean_s)
            self.changed.notify_all()

    def close(self, timeout_s: float) -> None:
        """Reject new jobs, wait up to `timeout_s` for the others, then reject those that still wait."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
            self.changed.wait_for(lambda: not self.waiting and not self.busy, timeout_s)
            left = list(self.waiting)
            self.waiting.clear()
        for job in left:
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(BusyError("the server is stopping", self.retry_after_s()))

    def close_and_join(self, threads: Sequence[threading.Thread], timeout_s: float) -> None:
        """Close the queue and wait for the threads, which deliver the last results before they end.

        Args:
            threads: The threads that run the jobs.
            timeout_s: The limit for both.
        """
        deadline_s = time.monotonic() + timeout_s
        self.close(timeout_s)
        for thread in threads:
            thread.join(max(_JOIN_S, deadline_s - time.monotonic()))


class ModelPool(ModelThread):
    """One thread per model, one job at a time in each. The models share nothing mutable."""

    def __init__(self, models: Sequence[Model], max_queue: int, clock: Clock = time.perf_counter) -> None:
        """Start the threads.

        Args:
            models: The models.
            max_queue: How many jobs may wait when all models are busy.
            clock: The clock, in seconds.
        """
        self.queue = JobQueue(len(models) + max_queue, len(models), clock)
        self._threads = [
            # Daemons: a model that hangs must not prevent the process from ending.
            threading.Thread(target=self._run, args=(model,), name=f"turn-{i}", daemon=True)
            for i, model in enumerate(models)
        ]
        for thread in self._threads:
            thread.start()

    @property
    @override
    def workers(self) -> int:
        return len(self._threads)

    @override
    def submit(self, prepare: Callable[[], NDArray[np.float32]]) -> "Future[Prediction]":
        job = Job(prepare, self.queue.clock())
        self.queue.put(job)
        return job.future

    @override
    def close(self, timeout_s: float) -> None:
        self.queue.close_and_join(self._threads, timeout_s)

    def _run(self, model: Model) -> None:
        queue = self.queue
        while True:
            with queue.changed:
                queue.changed.wait_for(lambda: queue.waiting or queue.closed)
                if not queue.waiting:
                    return
                job = queue.waiting.popleft()
                queue.busy += 1
            started_s = queue.clock()
            outcome = (
                _run_job(model, job, started_s, queue.clock) if job.future.set_running_or_notify_cancel() else None
            )
            # Leave the count before delivering the result: a caller that has its result may submit the next job.
            queue.done(1, queue.clock() - started_s)
            if isinstance(outcome, Prediction):
                job.future.set_result(outcome)
            elif outcome is not None:
                job.future.set_exception(outcome)


def _run_job(model: Model, job: Job, started_s: float, clock: Clock) -> Prediction | BaseException:
    try:
        probability = check_probability(model(job.prepare()))
    except BaseException as error:  # noqa: BLE001 - delivered to the caller of `submit`
        return error
    return Prediction(probability, clock() - started_s, started_s - job.arrived_s)
