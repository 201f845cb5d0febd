"""A micro-batcher for models that answer many questions as fast as one, which is what a GPU does.

`BatchPolicy` says when a batch goes and how large it is made: synchronous and fed timestamps. `MicroBatcher` is the thread that
follows it: wait for one, take more until the largest bucket or the deadline, pad to a bucket, answer each question by itself.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sca.infer.turn.serving.model_pool import Clock, Job, JobQueue, ModelError, Prediction, finite

__all__ = ["BatchModel", "BatchPolicy", "MicroBatcher"]


class BatchModel(Protocol):
    """A model that takes several questions at once."""

    name: str
    device: str
    dtype: str
    window_samples: int

    def batch(self, items: Sequence[np.ndarray], size: int) -> np.ndarray:
        """Probabilities `(len(items),)` of float32 `(n,)` items, computed as a batch of `size`, the rest of it silence."""
        ...


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """buckets: batch sizes, rising.   window_s: how long the first of a batch waits for company."""

    buckets: tuple[int, ...]
    window_s: float

    @property
    def largest(self) -> int:
        """Most questions in a batch."""
        return self.buckets[-1]

    def due_s(self, waiting: int, oldest_s: float) -> float:
        """When a batch of those waiting goes: at once (a time long past) if it is full."""
        return float("-inf") if waiting >= self.largest else oldest_s + self.window_s

    def take(self, waiting: int) -> int:
        """How many of those waiting go together."""
        return min(waiting, self.largest)

    def size(self, taken: int) -> int:
        """The bucket they are padded to. Raises ValueError for more than fit."""
        for bucket in self.buckets:
            if taken <= bucket:
                return bucket
        raise ValueError(f"a batch holds at most {self.largest}, got {taken}")


class MicroBatcher:
    """One thread that runs one model in batches. Same face as `ModelPool`."""

    def __init__(
        self, model: BatchModel, policy: BatchPolicy, max_queue: int, clock: Clock = time.perf_counter
    ) -> None:
        self.queue = JobQueue(policy.largest + max_queue, 1, clock)
        self.policy = policy
        self._model = model
        self._thread = threading.Thread(target=self._work, name="turn-batcher", daemon=True)
        self._thread.start()

    @property
    def workers(self) -> int:
        """One: a device does one batch at a time."""
        return 1

    def submit(self, prepare: Callable[[], np.ndarray]) -> "Future[Prediction]":
        """Ask. Raises `BusyError` at once when too many wait."""
        job = Job(prepare, self.queue.clock())
        self.queue.put(job)
        return job.future

    def close(self, timeout_s: float) -> None:
        """Answer what has been asked, for so long, and end the thread; the rest is refused."""
        self.queue.end([self._thread], timeout_s)

    def _work(self) -> None:
        while jobs := self._collect():
            started_s = self.queue.clock()
            outcomes = answer_batch(self._model, jobs, self.policy)
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
        """The next batch; empty when there will be none. Questions nobody waits for any more are left out."""
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


def answer_batch(model: BatchModel, jobs: Sequence[Job], policy: BatchPolicy) -> list[float | BaseException]:
    """One probability or one error a question. A batch that fails as a whole is done again one by one, to find who it was."""
    outcomes: list[float | BaseException] = [ModelError("not answered")] * len(jobs)
    items: list[tuple[int, np.ndarray]] = []
    for i, job in enumerate(jobs):
        try:
            items.append((i, job.prepare()))
        except BaseException as error:  # noqa: BLE001 - belongs to the one who asked
            outcomes[i] = error
    for i, outcome in zip([i for i, _ in items], _probabilities(model, [x for _, x in items], policy), strict=True):
        outcomes[i] = outcome
    return outcomes


def _probabilities(model: BatchModel, items: list[np.ndarray], policy: BatchPolicy) -> list[float | BaseException]:
    if not items:
        return []
    try:
        found = model.batch(items, policy.size(len(items)))
    except BaseException as error:  # noqa: BLE001 - belongs to those who asked
        if len(items) == 1:
            return [error]
        return [_probabilities(model, [item], policy)[0] for item in items]
    return [_checked(probability) for probability in found.tolist()]


def _checked(probability: float) -> float | BaseException:
    try:
        return finite(probability)
    except ModelError as error:
        return error
