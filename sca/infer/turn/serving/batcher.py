"""A micro-batcher, for models that run a batch as fast as a single input, as on a GPU.

`BatchPolicy` decides when a batch is run and how large it is. `MicroBatcher` applies it: it stages each job as it
arrives, and runs the staged ones when the largest batch is complete or the deadline has come, and the model is free. It
pads to a bucket and delivers each result.
"""

import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from sca.infer.turn.models.model import BatchModel, DeviceLostError, DeviceMemoryError
from sca.infer.turn.serving.model_pool import (
    Clock,
    Job,
    JobQueue,
    ModelError,
    ModelThread,
    Prediction,
    check_probability,
)

__all__ = ["BatchPolicy", "MicroBatcher", "run_batch"]

logger = logging.getLogger(__name__)


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
    """Two threads that run one model in batches: one stages jobs, while the other runs the previous batch.

    A job stays in the queue until its batch runs, so it can be cancelled until then.
    """

    def __init__(
        self, model: BatchModel, policy: BatchPolicy, max_queue: int, clock: Clock = time.perf_counter
    ) -> None:
        """Start the threads.

        Args:
            model: The model.
            policy: When a batch is run.
            max_queue: How many jobs may wait besides the largest batch.
            clock: The clock, in seconds.
        """
        self.queue = JobQueue(policy.max_batch + max_queue, 1, clock)
        self.queue.slots = policy.max_batch
        self.policy = policy
        self._model = model
        model.reserve(policy.max_batch)
        # All below is guarded by `queue.changed`.
        self._side = 0
        self._staged: dict[Job, int] = {}  # with their rows of `_side`
        self._staging = False
        self._target: int | None = None  # how many rows the batch has that is about to run
        self._threads = [
            threading.Thread(target=self._stage_jobs, name="turn-stage", daemon=True),
            threading.Thread(target=self._run, name="turn-batcher", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    @override
    def workers(self) -> int:
        return 1

    @override
    def submit(self, prepare: Callable[[], NDArray[np.float32]], timeout_s: float = math.inf) -> "Future[Prediction]":
        future = self.queue.submit(prepare, timeout_s)
        with self.queue.changed:  # wakes both threads; `submit` wakes one
            self.queue.changed.notify_all()
        return future

    @override
    def close(self, timeout_s: float) -> None:
        self.queue.close_and_join(self._threads, timeout_s)

    # The thread that stages.

    def _stage_jobs(self) -> None:
        while job := self._next_to_stage():
            try:
                self._model.stage(self._side, len(self._staged), job.prepare())
                error: BaseException | None = None
            except BaseException as caught:  # noqa: BLE001 - delivered to the caller of `submit`
                error = caught
            with self.queue.changed:
                self._staging = False
                if error is None:
                    self._staged[job] = len(self._staged)
                elif job in self.queue.waiting:
                    self.queue.waiting.remove(job)
                self.queue.changed.notify_all()
            if isinstance(error, DeviceLostError):
                self._lose(error, [job])
            elif error is not None:
                _deliver(job, error)

    def _next_to_stage(self) -> Job | None:
        """Wait for a job to stage. None when the queue is closed and empty."""
        changed = self.queue.changed
        with changed:
            while True:
                if self.queue.closed and (self.lost or not self.queue.waiting):
                    return None
                room = self.policy.max_batch if self._target is None else self._target
                job = next((job for job in self.queue.waiting if job not in self._staged), None)
                if job is not None and len(self._staged) < room:
                    self._staging = True
                    return job
                changed.wait()

    # The thread that runs.

    def _run(self) -> None:
        queue = self.queue
        while batch := self._collect():
            jobs, side, rows = batch
            started_s = queue.clock()
            try:
                outcomes = run_batch(self._model, side, rows, self.policy)
            except DeviceLostError as error:
                queue.done(len(jobs), queue.clock() - started_s)
                self._lose(error, [job for job, _ in jobs])
                return
            spent_s = queue.clock() - started_s
            queue.done(len(jobs), spent_s)
            for job, row in jobs:
                outcome = outcomes[row]
                if isinstance(outcome, BaseException):
                    _deliver(job, outcome)
                elif not job.future.cancelled():
                    job.future.set_result(Prediction(outcome, spent_s, started_s - job.arrived_s, len(jobs)))

    def _collect(self) -> tuple[list[tuple[Job, int]], int, range] | None:
        """Wait for the next batch: its jobs with their rows, its side, and all its rows. None when the queue is closed.

        The rows of cancelled jobs are run too, and their results are dropped.
        """
        queue = self.queue
        with queue.changed:
            while True:
                queue.changed.wait_for(lambda: queue.waiting or queue.closed)
                if not queue.waiting or self.lost:
                    queue.changed.notify_all()
                    return None
                wait_s = self.policy.due_s(len(queue.waiting), queue.waiting[0].arrived_s) - queue.clock()
                if wait_s > 0 and not queue.closed:
                    queue.changed.wait(wait_s)
                    continue
                self._target = max(self.policy.take(len(queue.waiting)), len(self._staged) + self._staging)
                queue.changed.notify_all()
                queue.changed.wait_for(self._is_staged)
                taken, side = self._take()
                if taken:
                    return taken, side, range(taken[-1][1] + 1)

    def _is_staged(self) -> bool:
        if self.lost:
            return True
        wanted = itertools.islice(self.queue.waiting, self._target)
        return not self._staging and all(job in self._staged for job in wanted)

    def _take(self) -> tuple[list[tuple[Job, int]], int]:
        """Take the staged jobs out of the queue and turn to the other side."""
        queue, side = self.queue, self._side
        taken = [(job, row) for job, row in self._staged.items() if job in queue.waiting]
        for job, _ in taken:
            queue.waiting.remove(job)
        taken = [(job, row) for job, row in taken if job.begin(queue.clock())]
        queue.busy += len(taken)
        self._staged, self._side, self._target = {}, 1 - side, None
        queue.changed.notify_all()
        return taken, side

    def _lose(self, error: DeviceLostError, jobs: Sequence[Job]) -> None:
        """Fail all jobs, and reject further ones: the device does not answer any more."""
        with self.queue.changed:
            first = self.lost is None
            self.lost = self.lost or error
            self.queue.closed = True
            left = [*jobs, *self.queue.waiting]
            self.queue.waiting.clear()
            self.queue.changed.notify_all()
        for job in left:
            _deliver(job, error)
        if first:
            self.on_lost(error)


def _deliver(job: Job, error: BaseException) -> None:
    if job.future.done() or not (job.future.running() or job.future.set_running_or_notify_cancel()):
        return
    job.future.set_exception(error)


def run_batch(model: BatchModel, side: int, rows: range, policy: BatchPolicy) -> list[float | BaseException]:
    """Run staged rows together.

    If the memory of the device does not suffice, each half is run. If the batch fails otherwise, each row is run alone,
    so that only the faulty ones fail.

    Returns:
        The probability or the error of each row.

    Raises:
        DeviceLostError: The device does not answer any more.
    """
    try:
        probabilities = model.run(side, rows, policy.padded_size(len(rows)))
    except DeviceLostError:
        raise
    except DeviceMemoryError as error:
        if len(rows) == 1:
            return [ModelError(f"{error}, even for one request")]
        logger.warning("%s for a batch of %d; it is divided", error, len(rows))
        parts = [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
    except BaseException as error:  # noqa: BLE001 - delivered to the callers of `submit`
        if len(rows) == 1:
            return [error]
        parts = [rows[i : i + 1] for i in range(len(rows))]
    else:
        return [_probability_or_error(probability) for probability in probabilities.tolist()]
    return [outcome for part in parts for outcome in run_batch(model, side, part, policy)]


def _probability_or_error(probability: float) -> float | BaseException:
    try:
        return check_probability(probability)
    except ModelError as error:
        return error
