"""A bounded queue of jobs, and a pool of models with one thread each.

A job that exceeds the limits of the queue, in seconds or in jobs, is rejected at once (`BusyError`). A job that was
cancelled, or whose client no longer waits (`ExpiredError`), is not run. An error of a job affects only that job.
"""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.infer.turn.models.model import DeviceLostError, Model

__all__ = [
    "BusyError",
    "ExpiredError",
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
_ASSUMED_S = 0.05  # of a job, until the first one was measured
_SHARE_OF_NEWEST = 0.1  # in the running mean
_JOIN_S = 0.1  # for a thread to end when no time is left; a thread that hangs is not waited for


class BusyError(Exception):
    """The queue is full or closed.

    Attributes:
        retry_after_s: When to try again, in whole seconds.
        reason: The cause in one word, for logs and metrics.
    """

    def __init__(self, message: str, retry_after_s: int, reason: Literal["overloaded", "stopping"]) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.reason = reason


class ExpiredError(Exception):
    """The client of a job does not wait as long as the job would take to begin."""


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
        model_cpu_s: The processor time of the bare call of a model in the thread, without the server; 0 on other devices.
    """

    probability: float
    inference_s: float
    queued_s: float
    batch_size: int = 1
    model_cpu_s: float = 0.0


@dataclass(slots=True, eq=False)
class Job:
    """A prediction to make.

    Attributes:
        prepare: Returns the samples. Runs in the model's thread.
        arrived_s: When the job was submitted, on the queue's clock.
        deadline_s: Until when the client waits, on the queue's clock.
        future: The result.
    """

    prepare: Callable[[], NDArray[np.float32]]
    arrived_s: float
    deadline_s: float = math.inf
    future: "Future[Prediction]" = field(default_factory=Future)

    def begin(self, now_s: float) -> bool:
        """Return whether the job has to be run: not if it was cancelled, nor if its client no longer waits."""
        if not self.future.set_running_or_notify_cancel():
            return False
        if now_s <= self.deadline_s:
            return True
        self.future.set_exception(ExpiredError("the request waited longer than its client does"))
        return False


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

    def submit(self, prepare: Callable[[], NDArray[np.float32]], timeout_s: float = math.inf) -> "Future[Prediction]":
        """Submit a job.

        Args:
            prepare: Returns the samples. Runs in the model's thread.
            timeout_s: How long the client waits.

        Returns:
            The result.

        Raises:
            BusyError: The queue is full or closed.
            ExpiredError: The job would not begin in time.
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
    """The jobs in order of arrival, bounded by the seconds until a new job would begin.

    Attributes:
        slots: How many jobs may run.
        limit: How many jobs may wait or run, which bounds the memory.
        limit_s: The longest expected wait of a new job. A job that need not wait is always accepted.
        clock: The clock, in seconds.
        changed: Guards the attributes below, and is notified when they change.
        waiting: The jobs that wait.
        busy: How many jobs run.
        closed: Whether jobs are rejected.
        mean_s: The time of one job; a running mean of the measured times.
    """

    def __init__(self, limit: int, workers: int, clock: Clock) -> None:
        self.limit, self.slots, self.clock = limit, workers, clock
        self.limit_s = math.inf
        self.changed = threading.Condition()
        self.waiting: deque[Job] = deque()
        self.busy = 0
        self.closed = False
        self.mean_s = _ASSUMED_S
        self._measured = False
        self._workers = workers

    def expected_s(self) -> float:
        """Return how long a new job is expected to wait: the jobs before it, times the mean, shared by the workers."""
        before = len(self.waiting) + self.busy + 1 - self._workers
        return max(0, before) * self.mean_s / self._workers

    def refusal(self) -> BusyError | None:
        """Return why a job would be rejected now; None if it would be accepted.

        Not locked: also for callers that want to avoid useless work.
        """
        if self.closed:
            return BusyError("the server is stopping", self.retry_after_s(), "stopping")
        if len(self.waiting) + self.busy >= self.limit:
            return BusyError(f"{self.limit} requests are waiting or being answered", self.retry_after_s(), "overloaded")
        expected_s = self.expected_s()
        if expected_s > self.limit_s:
            message = f"a request would wait for {expected_s:.1f} s, and the limit is {self.limit_s:g} s"
            return BusyError(message, self.retry_after_s(), "overloaded")
        return None

    def retry_after_s(self) -> int:
        """Return when the queue will be empty, in whole seconds, at least 1."""
        return 1 + int(len(self.waiting) * self.mean_s / self._workers)

    def submit(self, prepare: Callable[[], NDArray[np.float32]], timeout_s: float) -> "Future[Prediction]":
        """Add a job. See `ModelThread.submit`."""
        now_s = self.clock()
        job = Job(prepare, now_s, now_s + timeout_s)
        self.put(job)
        return job.future

    def put(self, job: Job) -> None:
        """Add a job.

        Raises:
            BusyError: The queue is full or closed.
            ExpiredError: The job would not begin before its deadline.
        """
        with self.changed:
            refusal = self.refusal()
            if refusal is not None:
                raise refusal
            expected_s = self.expected_s()
            if self.clock() + expected_s > job.deadline_s:
                raise ExpiredError(f"the request would wait for {expected_s:.1f} s, longer than its client does")
            self.waiting.append(job)
            self.changed.notify()

    def done(self, jobs: int, spent_s: float) -> None:
        """Note that `jobs` jobs were run together in `spent_s`."""
        with self.changed:
            self.busy -= jobs
            if jobs:
                share = _SHARE_OF_NEWEST if self._measured else 1.0
                self.mean_s += share * (spent_s / jobs - self.mean_s)
                self._measured = True
            self.changed.notify_all()

    def dropped(self, jobs: int) -> None:
        """Note that `jobs` jobs that had been taken were not run."""
        with self.changed:
            self.busy -= jobs
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
                job.future.set_exception(BusyError("the server is stopping", self.retry_after_s(), "stopping"))

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
    def submit(self, prepare: Callable[[], NDArray[np.float32]], timeout_s: float = math.inf) -> "Future[Prediction]":
        return self.queue.submit(prepare, timeout_s)

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
            if not job.begin(started_s):
                queue.dropped(1)
                continue
            outcome = _run_job(model, job, started_s, queue.clock)
            # Leave the count before delivering the result: a caller that has its result may submit the next job.
            queue.done(1, queue.clock() - started_s)
            if isinstance(outcome, Prediction):
                job.future.set_result(outcome)
            else:
                job.future.set_exception(outcome)


def _run_job(model: Model, job: Job, started_s: float, clock: Clock) -> Prediction | BaseException:
    try:
        samples = job.prepare()
        cpu_s = time.thread_time()
        probability = check_probability(model(samples))
        cpu_s = time.thread_time() - cpu_s
    except BaseException as error:  # noqa: BLE001 - delivered to the caller of `submit`
        return error
    return Prediction(probability, clock() - started_s, started_s - job.arrived_s, model_cpu_s=cpu_s)
