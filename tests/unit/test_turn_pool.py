"""The job queue, the model pool and the micro-batcher."""

import contextlib
import threading
import time
from concurrent.futures import CancelledError

import numpy as np
import pytest

from sca.infer.turn.models.model import DeviceLostError, DeviceMemoryError
from sca.infer.turn.serving.batcher import BatchPolicy, MicroBatcher
from sca.infer.turn.serving.model_pool import BusyError, Job, JobQueue, ModelError, ModelPool, Prediction


class BlockingModel:
    """A model that runs only after its event is set, and records its threads."""

    name, device, dtype, window_samples = "gated", "cpu", "float32", 100

    def __init__(self, gate=None):
        self.gate, self.threads, self.started = gate, set(), threading.Event()

    def __call__(self, x):
        self.threads.add(threading.get_ident())
        self.started.set()
        if self.gate is not None:
            self.gate.wait(60)
        if x[0] < 0:
            raise RuntimeError("poisoned")
        return float(x[0])


class BlockingBatchModel(BlockingModel):
    def __init__(self, gate=None):
        super().__init__(gate)
        self.batches, self.rows = [], ({}, {})

    def reserve(self, rows):
        self.reserved = rows

    def stage(self, side, row, x):
        assert row < self.reserved
        self.rows[side][row] = x

    def run(self, side, rows, size):
        items = [self.rows[side][row] for row in rows]
        self.started.set()
        if self.gate is not None:
            self.gate.wait(60)
        assert [self.rows[side][row] for row in rows] == items  # nothing is staged over a batch that runs
        self.batches.append((len(items), size))
        if any(x[0] < 0 for x in items):
            raise RuntimeError("poisoned")
        return np.array([x[0] for x in items], np.float32)


def constant(value):
    return lambda: np.array([value], np.float32)


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


def close(models):
    models.close(60)
    assert not model_threads()


def model_threads():
    """Return the threads of pools and batchers."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("turn-")]


def test_each_model_has_its_own_thread(gate):
    models = [BlockingModel(gate), BlockingModel(gate)]
    pool = ModelPool(models, max_queue=0)
    futures = [pool.submit(constant(0.25)), pool.submit(constant(0.75))]
    assert all(model.started.wait(60) for model in models)
    gate.set()
    assert [future.result(60).probability for future in futures] == [0.25, 0.75]
    assert len(models[0].threads | models[1].threads) == 2
    close(pool)


class NoWaiting:
    """A condition on which waiting fails the test."""

    def __init__(self, condition):
        self.condition = condition

    def __enter__(self):
        return self.condition.__enter__()

    def __exit__(self, *error):
        return self.condition.__exit__(*error)

    def notify(self):
        self.condition.notify()

    def wait(self, timeout=None):
        raise AssertionError("the queue waited")

    def wait_for(self, predicate, timeout=None):
        raise AssertionError("the queue waited")


def test_full_queue_rejects_at_once(gate):
    model = BlockingModel(gate)
    pool = ModelPool([model], max_queue=2)
    futures = [pool.submit(constant(0.5)) for _ in range(3)]
    assert model.started.wait(60)
    pool.queue.changed = NoWaiting(pool.queue.changed)
    for _ in range(20):
        with pytest.raises(BusyError, match="3 requests") as rejected:
            pool.submit(constant(0.5))
    pool.queue.changed = pool.queue.changed.condition
    assert not any(future.done() for future in futures)
    assert rejected.value.retry_after_s >= 1
    gate.set()
    assert [future.result(60).probability for future in futures] == [0.5] * 3
    assert pool.submit(constant(0.1)).result(60).queued_s >= 0
    close(pool)


@pytest.mark.parametrize("bad", [-1.0, float("nan"), 2.0])
def test_an_error_affects_only_its_job(bad):
    pool = ModelPool([BlockingModel()], max_queue=8)
    futures = [pool.submit(constant(value)) for value in (0.1, bad, 0.9)]
    assert isinstance(futures[0].result(60), Prediction)
    with pytest.raises((RuntimeError, ModelError)):
        futures[1].result(60)
    assert futures[2].result(60).probability == pytest.approx(0.9)
    close(pool)


def test_cancelled_job_is_not_run(gate):
    model = BlockingModel(gate)
    pool = ModelPool([model], max_queue=2)
    first, second = pool.submit(constant(0.5)), pool.submit(constant(-1.0))
    assert model.started.wait(60)
    assert second.cancel()
    gate.set()
    assert first.result(60).probability == 0.5
    with pytest.raises(CancelledError):
        second.result(60)
    close(pool)


def test_close_finishes_jobs_and_rejects_new_ones(gate):
    pool = ModelPool([BlockingModel(gate)], max_queue=5)
    futures = [pool.submit(constant(0.5)) for _ in range(3)]
    threading.Timer(0.05, gate.set).start()
    pool.close(60)
    assert [future.result(0).probability for future in futures] == [0.5] * 3
    with pytest.raises(BusyError, match="stopping"):
        pool.submit(constant(0.5))


@pytest.mark.parametrize(
    "make", [lambda: ModelPool([BlockingModel()], 5), lambda: MicroBatcher(BlockingBatchModel(), POLICY, 5)]
)
def test_close_delivers_the_last_result_of_a_slow_thread(make):
    models = make()
    done = models.queue.done

    def slow(jobs, spent_s):
        done(jobs, spent_s)
        time.sleep(0.4)  # between counting a job and delivering its result

    models.queue.done = slow
    future = models.submit(constant(0.5))
    models.close(60)
    assert future.result(0).probability == 0.5
    assert not model_threads()


def test_close_without_time_rejects_waiting_jobs(gate):
    model = BlockingModel(gate)
    pool = ModelPool([model], max_queue=5)
    first, second = pool.submit(constant(0.5)), pool.submit(constant(0.5))
    assert model.started.wait(60)
    pool.close(0)
    with pytest.raises(BusyError, match="stopping"):
        second.result(60)
    gate.set()
    assert first.result(60).probability == 0.5
    for thread in model_threads():
        thread.join(60)


def test_retry_after_depends_on_the_queue():
    queue = JobQueue(1000, workers=2, clock=lambda: 0.0)
    assert queue.retry_after_s() == 1
    for _ in range(100):
        queue.done(0, 0)
        queue.put(Job(constant(0.5), 0.0))
    for _ in range(60):
        queue.busy += 1
        queue.done(1, 0.2)
    assert queue.retry_after_s() == pytest.approx(1 + 100 * 0.2 / 2, abs=1)


# The batch policy, in virtual time.

POLICY = BatchPolicy((4, 8), 0.002)


def test_batch_is_run_when_full_or_due():
    assert POLICY.due_s(1, 10.0) == 10.002
    assert POLICY.due_s(7, 10.0) == 10.002
    assert POLICY.due_s(8, 10.0) < 0
    assert [POLICY.take(n) for n in (1, 8, 20)] == [1, 8, 8]


def test_batch_is_padded_to_the_next_bucket():
    assert [POLICY.padded_size(n) for n in (1, 4, 5, 8)] == [4, 4, 8, 8]
    with pytest.raises(ValueError, match="at most 8"):
        POLICY.padded_size(9)


def simulate(arrivals_s, policy, cost_s):
    """Apply the rule of the batcher without threads, and return (start, size) of each batch for a device that takes `cost_s`."""
    now, batches, left = 0.0, [], sorted(arrivals_s)
    while left:
        now = max(now, left[0])
        while True:
            waiting = [at for at in left if at <= now]
            due = policy.due_s(len(waiting), waiting[0])
            coming = [at for at in left if now < at < due]
            if due <= now or not coming:
                now = max(now, due)
                break
            now = coming[0]
        taken = policy.take(len([at for at in left if at <= now]))
        batches.append((round(now, 4), taken))
        left, now = left[taken:], now + cost_s
    return batches


def test_policy_in_virtual_time():
    assert simulate([0.0], POLICY, 0.01) == [(0.002, 1)]
    assert simulate([0.0, 0.001, 0.0015], POLICY, 0.01) == [(0.002, 3)]
    assert simulate([0.0] * 8, POLICY, 0.01) == [(0.0, 8)]
    # Jobs that waited for the device do not wait for others.
    assert simulate([0.0, 0.005, 0.006], POLICY, 0.02) == [(0.002, 1), (0.022, 2)]
    assert simulate([0.0] * 20, POLICY, 0.01) == [(0.0, 8), (0.01, 8), (0.02, 4)]


def test_faulty_job_does_not_fail_its_batch():
    model = BlockingBatchModel()
    batcher = MicroBatcher(model, BatchPolicy((4,), 600.0), max_queue=0)
    futures = [batcher.submit(constant(value)) for value in (0.1, -1.0)]
    with pytest.raises(ZeroDivisionError):  # at once: it is not part of the batch
        batcher.submit(lambda: 1 / 0).result(60)
    futures += [batcher.submit(constant(value)) for value in (0.9, 0.5)]
    assert [futures[i].result(60).probability for i in (0, 2, 3)] == pytest.approx([0.1, 0.9, 0.5])
    with pytest.raises(RuntimeError, match="poisoned"):
        futures[1].result(60)
    assert model.batches == [(4, 4), (1, 4), (1, 4), (1, 4), (1, 4)]
    close(batcher)


class SmallDevice(BlockingBatchModel):
    """A device whose memory suffices for `most` rows."""

    def __init__(self, most):
        super().__init__()
        self.most = most

    def run(self, side, rows, size):
        if len(rows) > self.most:
            raise DeviceMemoryError("the memory of cuda does not suffice")
        return super().run(side, rows, size)


def test_batch_that_is_too_large_is_halved():
    model = SmallDevice(2)
    batcher = MicroBatcher(model, BatchPolicy((2, 6), 600.0), max_queue=0)
    futures = [batcher.submit(constant(i / 10)) for i in range(6)]
    assert [future.result(60).probability for future in futures] == pytest.approx([i / 10 for i in range(6)])
    assert model.batches == [(1, 2), (2, 2), (1, 2), (2, 2)]
    close(batcher)


def test_request_that_is_too_large_for_the_device_fails_clearly():
    batcher = MicroBatcher(SmallDevice(0), BatchPolicy((2,), 600.0), max_queue=0)
    futures = [batcher.submit(constant(0.5)) for _ in range(2)]
    for future in futures:
        with pytest.raises(ModelError, match="memory of cuda does not suffice, even for one request"):
            future.result(60)
    close(batcher)


@pytest.mark.parametrize("in_staging", [False, True])
def test_lost_device_fails_all_jobs_and_is_reported_once(gate, in_staging):
    class LostDevice(BlockingBatchModel):
        def run(self, side, rows, size):
            super().run(side, rows, size)
            raise DeviceLostError("the device cuda does not answer any more: unspecified launch failure")

        def stage(self, side, row, x):
            super().stage(side, row, x)
            if in_staging:
                raise DeviceLostError("the device cuda does not answer any more: unspecified launch failure")

    model, reported = LostDevice(gate), []
    batcher = MicroBatcher(model, BatchPolicy((1,), 0.0), max_queue=5)
    batcher.on_lost = reported.append
    futures = []
    with contextlib.suppress(BusyError):  # the first job may already be lost
        futures.extend(batcher.submit(constant(0.5)) for _ in range(3))
    gate.set()
    for future in futures:
        with pytest.raises(DeviceLostError, match="unspecified launch failure"):
            future.result(60)
    batcher.close(60)
    assert reported == [batcher.lost]
    assert batcher.lost.exit_code == 6
    with pytest.raises(BusyError):
        batcher.submit(constant(0.5))
    assert not model_threads()


def test_next_batch_is_staged_while_one_runs(gate):
    """The rows of the next batch are on the device before the present batch is done."""
    model = BlockingBatchModel(gate)
    batcher = MicroBatcher(model, BatchPolicy((4,), 0.0), max_queue=20)
    first = batcher.submit(constant(0.5))
    assert model.started.wait(60)
    staged = [threading.Event() for _ in range(3)]

    def prepare(i):
        staged[i].set()
        return np.array([i / 10], np.float32)

    rest = [batcher.submit(lambda i=i: prepare(i)) for i in range(3)]
    assert all(event.wait(60) for event in staged)
    assert not first.done()
    gate.set()
    assert [future.result(60).probability for future in rest] == pytest.approx([0.0, 0.1, 0.2])
    assert model.batches == [(1, 4), (3, 4)]
    close(batcher)


def test_jobs_that_wait_for_the_device_are_batched(gate):
    model = BlockingBatchModel(gate)
    batcher = MicroBatcher(model, BatchPolicy((4, 8), 0.0), max_queue=20)
    first = batcher.submit(constant(0.5))
    assert model.started.wait(60)
    rest = [batcher.submit(constant(i / 10)) for i in range(6)]
    assert rest[5].cancel()
    gate.set()
    assert first.result(60).batch_size == 1
    assert [future.result(60).batch_size for future in rest[:5]] == [5] * 5
    assert model.batches == [(1, 4), (5, 8)]
    close(batcher)


def test_full_batch_does_not_wait_and_a_single_job_does():
    batcher = MicroBatcher(BlockingBatchModel(), BatchPolicy((2, 4), 600.0), max_queue=20)
    futures = [batcher.submit(constant(0.5)) for _ in range(4)]
    assert [future.result(60).batch_size for future in futures] == [4] * 4
    lone = batcher.submit(constant(0.5))
    with pytest.raises(TimeoutError):
        lone.result(0.05)
    batcher.close(60)  # which ends when the server stops
    assert lone.result(0).batch_size == 1


def test_batcher_rejects_at_once(gate):
    model = BlockingBatchModel(gate)
    batcher = MicroBatcher(model, BatchPolicy((1,), 0.0), max_queue=1)
    futures = [batcher.submit(constant(0.5)), batcher.submit(constant(0.5))]
    with pytest.raises(BusyError):
        batcher.submit(constant(0.5))
    gate.set()
    assert [future.result(60).probability for future in futures] == [0.5, 0.5]
    close(batcher)
