"""The bounded queue, the pool and the batcher: order, refusals, errors that stay where they belong, batches in virtual time."""

import threading
import time
from concurrent.futures import CancelledError

import numpy as np
import pytest

from sca.infer.turn.serving.batcher import BatchPolicy, MicroBatcher, run_batch
from sca.infer.turn.serving.model_pool import BusyError, Job, JobQueue, ModelError, ModelPool, Prediction


class Gated:
    """A model that answers when it is let, and remembers in which thread."""

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


class Batched(Gated):
    def __init__(self, gate=None):
        super().__init__(gate)
        self.batches = []

    def batch(self, items, size):
        self.started.set()
        if self.gate is not None:
            self.gate.wait(60)
        self.batches.append((len(items), size))
        if any(x[0] < 0 for x in items):
            raise RuntimeError("poisoned")
        return np.array([x[0] for x in items], np.float32)


def question(value):
    return lambda: np.array([value], np.float32)


@pytest.fixture
def gate():
    gate = threading.Event()
    yield gate
    gate.set()


def close(runner):
    runner.close(60)
    assert not ours()


def ours():
    """The threads of pools and batchers."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("turn-")]


def test_every_model_works_in_a_thread_of_its_own(gate):
    models = [Gated(gate), Gated(gate)]
    pool = ModelPool(models, max_queue=0)
    futures = [pool.submit(question(0.25)), pool.submit(question(0.75))]
    assert all(model.started.wait(60) for model in models)
    gate.set()
    assert [future.result(60).probability for future in futures] == [0.25, 0.75]
    assert len(models[0].threads | models[1].threads) == 2
    close(pool)


def test_a_full_queue_refuses_at_once_and_the_accepted_are_answered(gate):
    model = Gated(gate)
    pool = ModelPool([model], max_queue=2)
    futures = [pool.submit(question(0.5)) for _ in range(3)]
    assert model.started.wait(60)
    took_s = []
    for _ in range(20):
        started_s = time.perf_counter()
        with pytest.raises(BusyError, match="3 requests") as refused:
            pool.submit(question(0.5))
        took_s.append(time.perf_counter() - started_s)
    assert min(took_s) < 0.005  # a machine that is held up makes some of them slow, and a wait in the pool all
    assert not any(future.done() for future in futures)
    assert refused.value.retry_after_s >= 1
    gate.set()
    assert [future.result(60).probability for future in futures] == [0.5] * 3
    assert pool.submit(question(0.1)).result(60).queued_s >= 0
    close(pool)


@pytest.mark.parametrize("bad", [-1.0, float("nan"), 2.0])
def test_an_error_belongs_to_the_one_who_asked(bad):
    pool = ModelPool([Gated()], max_queue=8)
    futures = [pool.submit(question(value)) for value in (0.1, bad, 0.9)]
    assert isinstance(futures[0].result(60), Prediction)
    with pytest.raises((RuntimeError, ModelError)):
        futures[1].result(60)
    assert futures[2].result(60).probability == pytest.approx(0.9)
    close(pool)


def test_a_question_taken_back_is_not_answered(gate):
    model = Gated(gate)
    pool = ModelPool([model], max_queue=2)
    first, second = pool.submit(question(0.5)), pool.submit(question(-1.0))
    assert model.started.wait(60)
    assert second.cancel()
    gate.set()
    assert first.result(60).probability == 0.5
    with pytest.raises(CancelledError):
        second.result(60)
    close(pool)


def test_closing_answers_what_was_asked_and_refuses_the_rest(gate):
    pool = ModelPool([Gated(gate)], max_queue=5)
    futures = [pool.submit(question(0.5)) for _ in range(3)]
    threading.Timer(0.05, gate.set).start()
    pool.close(60)
    assert [future.result(0).probability for future in futures] == [0.5] * 3
    with pytest.raises(BusyError, match="stopping"):
        pool.submit(question(0.5))


@pytest.mark.parametrize("make", [lambda: ModelPool([Gated()], 5), lambda: MicroBatcher(Batched(), POLICY, 5)])
def test_when_it_is_closed_the_last_answer_is_given_however_slow_its_thread_is(make):
    runner = make()
    done = runner.queue.done

    def slow(jobs, spent_s):
        done(jobs, spent_s)
        time.sleep(0.4)  # what stands between the count and the answer

    runner.queue.done = slow
    future = runner.submit(question(0.5))
    runner.close(60)
    assert future.result(0).probability == 0.5
    assert not ours()


def test_closing_without_time_refuses_those_who_wait(gate):
    model = Gated(gate)
    pool = ModelPool([model], max_queue=5)
    first, second = pool.submit(question(0.5)), pool.submit(question(0.5))
    assert model.started.wait(60)
    pool.close(0)
    with pytest.raises(BusyError, match="stopping"):
        second.result(60)
    gate.set()
    assert first.result(60).probability == 0.5
    for thread in ours():
        thread.join(60)


def test_retry_after_follows_the_queue():
    queue = JobQueue(1000, workers=2, clock=lambda: 0.0)
    assert queue.retry_after_s() == 1
    for _ in range(100):
        queue.done(0, 0)
        queue.put(Job(question(0.5), 0.0))
    for _ in range(60):
        queue.busy += 1
        queue.done(1, 0.2)
    assert queue.retry_after_s() == pytest.approx(1 + 100 * 0.2 / 2, abs=1)


# The batch policy, in virtual time.

POLICY = BatchPolicy((4, 8), 0.002)


def test_a_batch_goes_when_it_is_full_or_due():
    assert POLICY.due_s(1, 10.0) == 10.002
    assert POLICY.due_s(7, 10.0) == 10.002
    assert POLICY.due_s(8, 10.0) < 0
    assert [POLICY.take(n) for n in (1, 8, 20)] == [1, 8, 8]


def test_a_batch_is_padded_to_the_next_bucket():
    assert [POLICY.padded_size(n) for n in (1, 4, 5, 8)] == [4, 4, 8, 8]
    with pytest.raises(ValueError, match="at most 8"):
        POLICY.padded_size(9)


def simulate(arrivals_s, policy, cost_s):
    """When each batch began and of how many, for a device that needs `cost_s` a batch: the batcher's rule, without threads."""
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


def test_the_rule_in_virtual_time():
    assert simulate([0.0], POLICY, 0.01) == [(0.002, 1)]
    assert simulate([0.0, 0.001, 0.0015], POLICY, 0.01) == [(0.002, 3)]
    assert simulate([0.0] * 8, POLICY, 0.01) == [(0.0, 8)]
    # Who waited for the device has waited long enough.
    assert simulate([0.0, 0.005, 0.006], POLICY, 0.02) == [(0.002, 1), (0.022, 2)]
    assert simulate([0.0] * 20, POLICY, 0.01) == [(0.0, 8), (0.01, 8), (0.02, 4)]


def test_a_batch_with_one_bad_question_answers_the_others():
    model = Batched()
    jobs = [Job(question(value), 0.0) for value in (0.1, -1.0, 0.9)]
    jobs.append(Job(lambda: 1 / 0, 0.0))
    outcomes = run_batch(model, jobs, POLICY)
    assert outcomes[0] == pytest.approx(0.1)
    assert isinstance(outcomes[1], RuntimeError)
    assert outcomes[2] == pytest.approx(0.9)
    assert isinstance(outcomes[3], ZeroDivisionError)
    assert model.batches == [(3, 4), (1, 4), (1, 4), (1, 4)]


def test_those_who_wait_while_the_device_works_go_together(gate):
    model = Batched(gate)
    batcher = MicroBatcher(model, BatchPolicy((4, 8), 0.0), max_queue=20)
    first = batcher.submit(question(0.5))
    assert model.started.wait(60)
    rest = [batcher.submit(question(i / 10)) for i in range(6)]
    assert rest[5].cancel()
    gate.set()
    assert first.result(60).batch_size == 1
    assert [future.result(60).batch_size for future in rest[:5]] == [5] * 5
    assert model.batches == [(1, 4), (5, 8)]
    close(batcher)


def test_a_full_batch_does_not_wait_and_a_lone_one_waits_for_its_window():
    batcher = MicroBatcher(Batched(), BatchPolicy((2, 4), 600.0), max_queue=20)
    futures = [batcher.submit(question(0.5)) for _ in range(4)]
    assert [future.result(60).batch_size for future in futures] == [4] * 4
    lone = batcher.submit(question(0.5))
    with pytest.raises(TimeoutError):
        lone.result(0.05)
    batcher.close(60)  # and does not when the server stops
    assert lone.result(0).batch_size == 1


def test_the_batcher_refuses_at_once_too(gate):
    model = Batched(gate)
    batcher = MicroBatcher(model, BatchPolicy((1,), 0.0), max_queue=1)
    futures = [batcher.submit(question(0.5)), batcher.submit(question(0.5))]
    with pytest.raises(BusyError):
        batcher.submit(question(0.5))
    gate.set()
    assert [future.result(60).probability for future in futures] == [0.5, 0.5]
    close(batcher)
