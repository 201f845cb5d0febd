"""A bounded queue of questions, and a pool of single-threaded models that answer them.

Knows nothing of HTTP or of what a model is: a model is called with samples and returns a probability. Who asks too much is
refused at once (`BusyError`); a question that nobody waits for any more is not answered; one that fails fails alone.
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

__all__ = ["BusyError", "Job", "JobQueue", "Model", "ModelError", "ModelPool", "ModelThread", "Prediction", "finite"]

logger = logging.getLogger(__name__)

Clock = Callable[[], float]
_END_S = 0.1  # for a thread to end when there is no time left; one that hangs is not waited for


class BusyError(Exception):
    """The queue is full, or closed. retry_after_s: when to ask again, in whole seconds."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ModelError(Exception):
    """The model gave something that is no probability."""


class Model(Protocol):
    """What answers a question: float32 `(n,)` at 16 kHz in, a probability out."""

    name: str
    device: str
    dtype: str
    window_samples: int

    def __call__(self, x: np.ndarray) -> float:
        """The probability that the speaker has finished."""
        ...


@dataclass(frozen=True, slots=True)
class Prediction:
    """probability: in [0, 1].   inference_s: in the model, features included.   queued_s: waiting for one.   batch: of how many."""

    probability: float
    inference_s: float
    queued_s: float
    batch: int = 1


@dataclass(slots=True)
class Job:
    """A question. prepare: gives the samples; runs where the model runs.   arrived_s: on the queue's clock."""

    prepare: Callable[[], np.ndarray]
    arrived_s: float
    future: "Future[Prediction]" = field(default_factory=Future)


class ModelThread(Protocol):
    """A pool or a batcher: takes questions, answers in futures."""

    queue: "JobQueue"

    @property
    def workers(self) -> int:
        """How many threads answer."""
        ...

    def submit(self, prepare: Callable[[], np.ndarray]) -> "Future[Prediction]":
        """Ask. Raises `BusyError` at once when too many wait."""
        ...

    def close(self, timeout_s: float) -> None:
        """Answer what has been asked, for so long, and end the threads; the rest is refused."""
        ...


def finite(probability: float) -> float:
    """The probability itself; raises `ModelError` for what is none."""
    if not 0 <= probability <= 1:  # NaN is not
        raise ModelError("the model gave no probability")
    return float(probability)


class JobQueue:
    """Questions in order of arrival, at most `limit` of them waiting or being answered. Guarded by `changed`."""

    def __init__(self, limit: int, workers: int, clock: Clock) -> None:
        self.limit, self.clock = limit, clock
        self.changed = threading.Condition()
        self.waiting: deque[Job] = deque()
        self.busy = 0
        self.closed = False
        self._workers = workers
        self._mean_s = 0.05  # of one answer; follows what is measured

    @property
    def full(self) -> bool:
        """Whether the next question is refused. Without a lock: a hint for those who want to spare themselves work."""
        return self.closed or len(self.waiting) + self.busy >= self.limit

    def retry_after_s(self) -> int:
        """When the queue will have drained, in whole seconds, at least 1."""
        return 1 + int(len(self.waiting) * self._mean_s / self._workers)

    def put(self, job: Job) -> None:
        """Add a question; raises `BusyError` when there are too many or no more are taken."""
        with self.changed:
            if self.closed:
                raise BusyError("the server is stopping", self.retry_after_s())
            if self.full:
                raise BusyError(f"{self.limit} requests are waiting or being answered", self.retry_after_s())
            self.waiting.append(job)
            self.changed.notify_all()

    def done(self, jobs: int, spent_s: float) -> None:
        """Note that `jobs` questions were answered in `spent_s` together."""
        with self.changed:
            self.busy -= jobs
            if jobs:
                self._mean_s += 0.1 * (spent_s / jobs - self._mean_s)
            self.changed.notify_all()

    def close(self, timeout_s: float) -> None:
        """Take no more, wait until all are answered or the time is over, then refuse the rest."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()
            self.changed.wait_for(lambda: not self.waiting and not self.busy, timeout_s)
            left = list(self.waiting)
            self.waiting.clear()
        for job in left:
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(BusyError("the server is stopping", self.retry_after_s()))

    def end(self, threads: Sequence[threading.Thread], timeout_s: float) -> None:
        """`close`, and wait for those who answer within the same time: the last answers are given when they end."""
        deadline_s = time.monotonic() + timeout_s
        self.close(timeout_s)
        for thread in threads:
            thread.join(max(_END_S, deadline_s - time.monotonic()))


class ModelPool:
    """One thread a model, one question at a time each, no waiting for company. Models share nothing mutable."""

    def __init__(self, models: Sequence[Model], max_queue: int, clock: Clock = time.perf_counter) -> None:
        self.queue = JobQueue(len(models) + max_queue, len(models), clock)
        self._threads = [
            # Daemons: a model that hangs must not keep the process from ending.
            threading.Thread(target=self._work, args=(model,), name=f"turn-{i}", daemon=True)
            for i, model in enumerate(models)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def workers(self) -> int:
        """How many models answer."""
        return len(self._threads)

    def submit(self, prepare: Callable[[], np.ndarray]) -> "Future[Prediction]":
        """Ask. Raises `BusyError` at once when too many wait."""
        job = Job(prepare, self.queue.clock())
        self.queue.put(job)
        return job.future

    def close(self, timeout_s: float) -> None:
        """Answer what has been asked, for so long, and end the threads; the rest is refused."""
        self.queue.end(self._threads, timeout_s)

    def _work(self, model: Model) -> None:
        queue = self.queue
        while True:
            with queue.changed:
                queue.changed.wait_for(lambda: queue.waiting or queue.closed)
                if not queue.waiting:
                    return
                job = queue.waiting.popleft()
                queue.busy += 1
            started_s = queue.clock()
            outcome = _answer(model, job, started_s, queue.clock) if job.future.set_running_or_notify_cancel() else None
            # First out of the count, then out to the asker: who has its answer may ask again.
            queue.done(1, queue.clock() - started_s)
            if isinstance(outcome, Prediction):
                job.future.set_result(outcome)
            elif outcome is not None:
                job.future.set_exception(outcome)


def _answer(model: Model, job: Job, started_s: float, clock: Clock) -> Prediction | BaseException:
    try:
        probability = finite(model(job.prepare()))
    except BaseException as error:  # noqa: BLE001 - belongs to the one who asked
        return error
    return Prediction(probability, clock() - started_s, started_s - job.arrived_s)
