"""Executor of a Ray cluster: tasks for work on files, actors for work with a model.

Only Ray Core is used: an error of Ray Data loses a block, and its blocks hold several times the data (docs/scale.md).
Ray repeats work after a failure, so results must be idempotent: files with fixed bytes and an atomic name. A worker ends
with its node's daemon; otherwise it would finish its item beside the worker that repeats it.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from sca.children.ending import end_with_parent
from sca.data.runs.cluster.ray_start import Cluster, connect
from sca.data.runs.executor import WorkerDiedError, call, needs_model, prepare
from sca.errors import ScaError

__all__ = ["RayExecutor"]

Job = TypeVar("Job")
Result = TypeVar("Result")

_MAX_BATCH = 64
_BATCHES_PER_SLOT = 8
_AHEAD = 2
"""Batches in flight per worker: one in work and one that waits for it."""
_MAX_FAULTS = 4
"""A job that ended its worker alone has 2 faults more, one whose node was lost 1."""


@dataclass(slots=True)
class _Batch:
    """Places of jobs that one task does, and the faults of the job if it is alone."""

    places: list[int]
    faults: int = 0


class RayExecutor:
    """Runs jobs on a Ray cluster; on one that is started on this machine without an address."""

    def __init__(self, address: str | None = None, *, workers: int = 0, gpus_per_worker: float | None = None) -> None:
        """Create an executor. Ray is started, or connected to, by the first run.

        Args:
            address: The address of a running cluster, on the machines of which sca and the files are; None starts Ray here.
            workers: Processors of a Ray that is started here, and workers with a model; 0 is all, and one per GPU or node.
            gpus_per_worker: GPUs of each worker with a model; None is 1 if the cluster has GPUs.
        """
        self.address, self.workers, self.gpus_per_worker = address, workers, gpus_per_worker
        self._cluster: Cluster | None = None

    def run(
        self, jobs: Sequence[Job], work: Callable[[Job], Result]
    ) -> Generator[tuple[Job, Result | ScaError], None, None]:
        """Apply `work` to every job, see `Executor.run`.

        Raises:
            MissingToolError: Ray is not installed.
            UpstreamError: Ray cannot be started, or the cluster cannot be reached.
        """
        if not jobs:
            return
        self._cluster = self._cluster or connect(self.address, self.workers)
        ray = self._cluster.ray
        submit, slots, end = self._workers(ray, work, len(jobs))
        try:
            for place, result in _results(ray, jobs, submit, slots):
                yield jobs[place], result
        finally:
            end()

    def close(self) -> None:
        """Leave the cluster; a Ray that was started here ends."""
        if self._cluster is not None:
            self._cluster.close()
            self._cluster = None

    def _workers(
        self, ray: Any, work: Callable[[Job], Result], jobs: int
    ) -> tuple[Callable[[list[Job]], Any], int, Callable[[], None]]:
        """Return what submits a batch, the number of workers, and what ends them."""
        shared, resources = ray.put(work), ray.cluster_resources()
        if not needs_model(work):
            task = ray.remote(max_retries=0, num_cpus=1, scheduling_strategy="SPREAD")(_do)
            return lambda batch: task.remote(shared, batch), max(1, int(resources.get("CPU", 1))), lambda: None
        gpus = resources.get("GPU", 0.0)
        each = min(1.0, gpus) if self.gpus_per_worker is None else self.gpus_per_worker
        nodes = sum(node["Alive"] for node in ray.nodes())
        count = min(jobs, self.workers or max(1, int(gpus / each) if each else nodes))
        actor = ray.remote(
            num_cpus=1, num_gpus=each, max_restarts=-1, max_task_retries=0, scheduling_strategy="SPREAD"
        )(_Model)
        pool = deque(actor.remote() for _ in range(count))

        def submit(batch: list[Job]) -> Any:
            pool.rotate(-1)
            return pool[0].do.remote(shared, batch)

        def end() -> None:
            for one in pool:
                with suppress(Exception):
                    ray.kill(one)

        return submit, count, end


def _results(
    ray: Any, jobs: Sequence[Job], submit: Callable[[list[Job]], Any], slots: int
) -> Iterator[tuple[int, Result | ScaError]]:
    """Yield the result of every job by its place. At most two batches per worker are in flight (back-pressure)."""
    size = max(1, min(_MAX_BATCH, len(jobs) // (slots * _BATCHES_PER_SLOT)))
    waiting = deque(_Batch(list(range(at, min(at + size, len(jobs))))) for at in range(0, len(jobs), size))
    running: dict[Any, _Batch] = {}
    try:
        while waiting or running:
            while waiting and len(running) < _AHEAD * slots:
                batch = waiting.popleft()
                running[submit([jobs[place] for place in batch.places])] = batch
            (reference,), _ = ray.wait(list(running), num_returns=1)
            batch = running.pop(reference)
            try:
                results = ray.get(reference)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from None
            except ray.exceptions.RayError as error:
                yield from _again(batch, error, waiting, lost=_is_loss(ray, error))
            else:
                yield from zip(batch.places, results, strict=True)
    finally:
        for reference in running:
            with suppress(Exception):
                ray.cancel(reference, force=True)


def _is_loss(ray: Any, error: Exception) -> bool:
    kinds = ("NodeDiedError", "ObjectLostError", "OwnerDiedError", "ActorUnavailableError")
    return isinstance(error, tuple(getattr(ray.exceptions, name) for name in kinds))


def _again(
    batch: _Batch, error: Exception, waiting: deque[_Batch], *, lost: bool
) -> Iterator[tuple[int, WorkerDiedError]]:
    """Queue the jobs of a batch whose worker died, each alone; yield the failure of a job that had its attempts."""
    if len(batch.places) > 1:
        waiting.extend(_Batch([place]) for place in batch.places)
        return
    batch.faults += 1 if lost else 2
    if batch.faults < _MAX_FAULTS:
        waiting.append(batch)
    else:
        yield batch.places[0], WorkerDiedError(f"its worker process ended twice ({type(error).__name__} of Ray)")


def _do(work: Callable[[Job], Result], batch: list[Job]) -> list[Result | ScaError]:
    """Do a batch in a worker."""
    end_with_parent()
    return [call(work, job) for job in batch]


class _Model:
    """A worker that keeps the models of its work."""

    def __init__(self) -> None:
        end_with_parent()
        self._work: Callable[[Any], Any] | None = None

    def do(self, work: Callable[[Any], Any], batch: list[Any]) -> list[Any]:
        """Do a batch. `work` is the same in every call. The failure to load a model is the result of each job."""
        self._work = kept = self._work or work
        try:
            prepare(kept)
        except ScaError as error:
            return [error for _ in batch]
        return [call(kept, job) for job in batch]
