"""A micro-batcher, for models that run a batch as fast as a single input, as on a GPU.

`BatchPolicy` decides when a batch is run and how large it is. `MicroBatcher` is the thread that applies it: it waits
for a job, collects more until the largest batch or the deadline, pads to a bucket and delivers each result.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.infer.turn.serving.model_pool import (
    Clock,
    Job,
    JobQueue,
    ModelError,
    ModelThread,
    Prediction,
    check_probability,
)

__all__ = ["BatchModel", "BatchPolicy", "MicroBatcher", "run_batch"]


class BatchModel(Protocol):
    """A model that processes several inputs together."""

    name: str
    device: str
    dtype: str
    window_samples: int

    def batch(self, items: Sequence[NDArray[np.float32]], size: int) -> NDArray[np.float32]:
        """Return the probabilities that the speakers have finished, float32 `(len(items),)`.

        Args:
            items: Float32 `(n,)` at 16 kHz each.
            size: The batch size. The rest of the batch is silence.
        """
        ...


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """When a batch is run, and how large it is.

    Attributes:
        buckets: The batch sizes, increasing.
        window_s: How long the first job of a batch waits for others.
    """

    buckets: tuple[int, ...]
    window_s: float

    @property
    def max_batch(self) -> int:
        """The largest batch."""
        return self.buckets[-1]

    def due_s(self, waiting: int, oldest_s: float) -> float:
        """Return when a batch is run; -inf if it is full.

        Args:
            waiting: How many jobs wait.
            oldest_s: When the first of them arrived.
        """
        return float("-inf") if waiting >= self.max_batch else oldest_s + self.window_s

    def take(self, waiting: int) -> int:
        """Return how many of the waiting jobs are run together."""
        return min(waiting, self.max_batch)

    def padded_size(self, jobs: int) -> int:
        """Return the bucket for a number of jobs.

        Raises:
            ValueError: There are more jobs than the largest batch holds.
        """
        for bucket in self.buckets:
            if jobs <= bucket:
                return bucket
        raise ValueError(f"a batch holds at most {self.max_batch}, got {jobs}")


class MicroBatcher(ModelThread):
    """One thread that runs one model in batches."""

    def __init__(
        self, model: BatchModel, policy: BatchPolicy, max_queue: int, clock: Clock = time.perf_counter
    ) -> None:
        """Start the thread.

        Args:
            model: The model.
            policy: When a batch is run.
            max_queue: How many jobs may wait besides the largest batch.
            clock: The clock, in seconds.
        """
        self.queue = JobQueue(policy.max_batch + max_queue, 1, clock)
        self.policy = policy
        self._model = model
        self._thread = threading.Thread(target=self._run, name="turn-batcher", daemon=True)
        self._thread.start()

    @property
    @override
    def workers(self) -> int:
        return 1

    @override
    def submit(self, prepare: Callable[[], NDArray[np.float32]]) -> "Future[Prediction]":
        job = Job(prepare, self.queue.clock())
        self.queue.put(job)
        return job.future

    @override
    def close(self, timeout_s: float) -> None:
        self.queue.close_and_join([self._thread], timeout_s)

    def _run(self) -> None:
        while jobs := self._collect():
            started_s = self.queue.clock()
            outcomes = run_batch(self._model, jobs, self.policy)
            spent_s = self.queue.clock() - started_s
            self.queue.done(len(jobs), spent_s)
            for job, outcome in zip(jobs, outcomes, strict=True):
                if job.future.cancelled():
                    continue
                if isinstance(outcome, BaseException):
                    job.future.set_exception(outcome)
                else:
                    job.future.set_result(Prediction(outcome, spent_s, started_s - job.arrived_s, len(jobs)))

    def _collect(self) -> list[Job]:
        """Wait for the next batch, without cancelled jobs. Empty when the queue is closed."""
        queue = self.queue
        with queue.changed:
            while True:
                queue.changed.wait_for(lambda: queue.waiting or queue.closed)
                if not queue.waiting:
                    return []
                wait_s = self.policy.due_s(len(queue.waiting), queue.waiting[0].arrived_s) - queue.clock()
                if wait_s > 0 and not queue.closed:
                    queue.changed.wait(wait_s)
                    continue
                taken = [queue.waiting.popleft() for _ in range(self.policy.take(len(queue.waiting)))]
                jobs = [job for job in taken if job.future.set_running_or_notify_cancel()]
                queue.busy += len(jobs)
                if jobs:
                    return jobs
                queue.changed.notify_all()


def run_batch(model: BatchModel, jobs: Sequence[Job], policy: BatchPolicy) -> list[float | BaseException]:
    """Run jobs together. If the batch fails, each job is run alone, so that only the faulty ones fail.

    Returns:
        The probability or the error of each job.
    """
    outcomes: list[float | BaseException] = [ModelError("the job was not run")] * len(jobs)
    items: list[tuple[int, NDArray[np.float32]]] = []
    for i, job in enumerate(jobs):
        try:
            items.append((i, job.prepare()))
        except BaseException as error:  # noqa: BLE001 - delivered to the caller of `submit`
            outcomes[i] = error
    for i, outcome in zip([i for i, _ in items], _predict(model, [x for _, x in items], policy), strict=True):
        outcomes[i] = outcome
    return outcomes


def _predict(model: BatchModel, items: list[NDArray[np.float32]], policy: BatchPolicy) -> list[float | BaseException]:
    if not items:
        return []
    try:
        probabilities = model.batch(items, policy.padded_size(len(items)))
    except BaseException as error:  # noqa: BLE001 - delivered to the callers of `submit`
        if len(items) == 1:
            return [error]
        return [_predict(model, [item], policy)[0] for item in items]
    return [_probability_or_error(probability) for probability in probabilities.tolist()]


def _probability_or_error(probability: float) -> float | BaseException:
    try:
        return check_probability(probability)
    except ModelError as error:
        return error
