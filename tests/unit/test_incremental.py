"""An incremental run: what is left to do, what is recorded, and how it ends."""

import errno
import json
import subprocess
import sys
import threading

import pytest

from sca.data.runs.incremental import IncrementalRun, Item
from sca.data.runs.ledger import Ledger, LedgerEntry
from sca.data.runs.local import ProcessExecutor, SerialExecutor, ThreadExecutor
from sca.data.runs.progress import ItemProgress, NullProgress
from sca.data.runs.summary import ItemReason, Outcome
from sca.errors import InputError, OutputError, ScaError, UpstreamError

EXECUTORS = [SerialExecutor(), ThreadExecutor(3), ProcessExecutor(2)]
ITEMS = [Item(f"item{n}", n, key=f"key{n}", audio_s=float(n)) for n in range(6)]


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger.jsonl")


def start(ledger, *, retry_failed=False, listener=None):
    return IncrementalRun(ledger, None, retry_failed=retry_failed, listener=listener)


def names(items):
    return [item.name for item in items]


def square(job):
    if job == 3:
        raise InputError("three is not allowed", hint="give another")
    return job * job


def keep(item, result):
    if result == 25:
        return Outcome(LedgerEntry(item.name, item.key, "dropped", "too large"))
    return Outcome(LedgerEntry(item.name, item.key, "kept", notes=("even",) * (result % 2 == 0)), audio_s=float(result))


# --- what is left ---


def test_items_with_key_and_output_are_done(ledger):
    ledger.settle([LedgerEntry(f"item{n}", f"key{n}", "kept") for n in range(4)])
    run = start(ledger)
    todo = run.plan(ITEMS, lambda item: item.name != "item1")
    assert names(todo) == ["item1", "item4", "item5"]
    assert (run.summary.already, run.summary.made, run.summary.total) == (3, 0, 3)


def test_items_with_another_key_are_not_done(ledger):
    ledger.settle([LedgerEntry("item0", "other key", "kept"), LedgerEntry("item1", "other key", "failed", "reason")])
    assert names(start(ledger).plan(ITEMS[:2], lambda item: True)) == ["item0", "item1"]


def test_dropped_items_need_no_output(ledger):
    ledger.settle([LedgerEntry("item0", "key0", "dropped", "too small")])
    run = start(ledger)
    assert run.plan(ITEMS[:1], lambda item: False) == []
    assert run.summary.dropped == [("item0", "too small")]


@pytest.mark.parametrize("retry_failed", [False, True])
def test_failed_items_are_tried_again_on_request(ledger, retry_failed):
    ledger.settle([LedgerEntry("item0", "key0", "failed", "no luck")])
    run = start(ledger, retry_failed=retry_failed)
    assert names(run.plan(ITEMS[:1], lambda item: True)) == ["item0"] * retry_failed
    assert run.summary.old_failures == (not retry_failed)
    assert run.summary.failed == [ItemReason("item0", "no luck")] * (not retry_failed)


@pytest.mark.parametrize(("key", "recorded"), [("", "key0"), ("key0", ""), ("key0", "key0")])
def test_an_empty_key_matches_an_old_failure(ledger, key, recorded):
    ledger.settle([LedgerEntry("item0", recorded, "failed", "no luck")])
    assert start(ledger).leave_old_failure("item0", key)


# --- the work ---


@pytest.mark.parametrize("executor", EXECUTORS, ids=lambda executor: type(executor).__name__)
def test_every_executor_leaves_the_same_ledger(ledger, executor):
    run = start(ledger)
    run.execute(run.plan(ITEMS, lambda item: True), square, keep, executor=executor)
    run.settle()
    summary = run.summary
    assert (summary.made, summary.already, summary.audio_s, summary.total) == (4, 0, 0.0 + 1 + 4 + 16, 6)
    assert summary.dropped == [("item5", "too large")]
    assert summary.failed == [("item3", "three is not allowed")]
    assert sorted(summary.notes) == [("item0", "even"), ("item2", "even"), ("item4", "even")]
    assert ledger.path.read_text() == (
        '{"item": "item0", "key": "key0", "status": "kept", "notes": ["even"]}\n'
        '{"item": "item1", "key": "key1", "status": "kept"}\n'
        '{"item": "item2", "key": "key2", "status": "kept", "notes": ["even"]}\n'
        '{"item": "item3", "key": "key3", "status": "failed", "reason": "three is not allowed"}\n'
        '{"item": "item4", "key": "key4", "status": "kept", "notes": ["even"]}\n'
        '{"item": "item5", "key": "key5", "status": "dropped", "reason": "too large"}\n'
    )


def test_result_is_recorded_before_the_ledger_has_it(ledger):
    seen = []

    def record(item, result):
        seen.append((item.name, set(ledger.entries())))
        return keep(item, result)

    start(ledger).execute(ITEMS[:2], square, record, executor=SerialExecutor())
    assert seen == [("item0", set()), ("item1", {"item0"})]


def test_interrupted_run_continues(ledger):
    def interrupt(job):
        if job == 2:
            raise KeyboardInterrupt
        return job * job

    first = start(ledger)
    with pytest.raises(KeyboardInterrupt):
        first.execute(ITEMS, interrupt, keep, executor=SerialExecutor())
    second = start(ledger)
    todo = second.plan(ITEMS, lambda item: True)
    assert names(todo) == ["item2", "item3", "item4", "item5"]
    second.execute(todo, square, keep, executor=SerialExecutor())
    second.settle()
    settled = ledger.path.read_bytes()
    ledger.path.unlink()
    unbroken = start(ledger)
    unbroken.execute(ITEMS, square, keep, executor=SerialExecutor())
    unbroken.settle()
    assert ledger.path.read_bytes() == settled


@pytest.mark.parametrize("executor", EXECUTORS, ids=lambda executor: type(executor).__name__)
def test_fatal_error_of_an_item_ends_the_run(ledger, executor):
    run = start(ledger)
    with pytest.raises(OutputError, match="disk is full"):
        run.execute(ITEMS, fill_disk, keep, executor=executor)
    assert "item2" not in ledger.entries()


def fill_disk(job):
    if job == 2:
        raise OutputError("the disk is full")
    return job


def divide(job):
    return 1 // (job - 2)


@pytest.mark.parametrize("fatal", [(OutputError,), (ScaError,)])
@pytest.mark.parametrize("executor", EXECUTORS, ids=lambda executor: type(executor).__name__)
def test_unexpected_exception_is_the_failure_of_its_item(ledger, executor, fatal):
    run = start(ledger)
    run.execute(ITEMS, divide, keep, executor=executor, fatal=fatal)
    assert run.summary.made == 5
    ((name, reason),) = run.summary.failed
    assert name == "item2"
    assert reason.startswith("unexpected ZeroDivisionError: integer division or modulo by zero (a bug of sca")
    entry = ledger.entries()["item2"]
    assert entry.retryable
    assert entry.extra["traceback"].startswith("Traceback (most recent call last):")
    assert "in divide\n" in entry.extra["traceback"]


def full_disk(job):
    if job == 2:
        raise OSError(errno.ENOSPC, "No space left on device")
    return job


@pytest.mark.parametrize("executor", EXECUTORS, ids=lambda executor: type(executor).__name__)
def test_full_disk_without_a_file_name_ends_the_run(ledger, executor):
    with pytest.raises(OutputError, match="disk is full"):
        start(ledger).execute(ITEMS, full_disk, keep, executor=executor)


@pytest.mark.parametrize(
    ("error", "retryable"),
    [(InputError("x"), False), (OutputError("x"), True), (UpstreamError("x"), True), (ScaError("x"), True)],
)
def test_failures_of_the_input_are_not_retryable(ledger, error, retryable):
    def fail(job):
        raise error

    run = start(ledger)
    run.execute(ITEMS[:1], fail, keep, executor=SerialExecutor(), fatal=())
    assert ledger.entries()["item0"].retryable is retryable


_SHORT_OF_MEMORY = """
import resource, sys
from pathlib import Path
from sca.data.runs.incremental import IncrementalRun, Item
from sca.data.runs.ledger import Ledger, LedgerEntry
from sca.data.runs.local import SerialExecutor, ThreadExecutor
from sca.data.runs.summary import Outcome

limit = 2 << 30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
run = IncrementalRun(Ledger(Path(sys.argv[1])), None, retry_failed=False)
items = [Item(f"item{n}", size << 20, "key") for n, size in enumerate([1, 4000, 2])]
for executor in (SerialExecutor(), ThreadExecutor(2)):
    run.execute(items, bytearray, lambda item, made: Outcome(LedgerEntry(item.name, "key", "kept")), executor=executor)
"""


def test_lack_of_memory_is_the_failure_of_its_item(ledger):
    subprocess.run([sys.executable, "-c", _SHORT_OF_MEMORY, str(ledger.path)], check=True)
    lines = ledger.path.read_text().splitlines()
    found = [
        (entry["item"], entry["status"], entry.get("reason"), entry.get("retryable"))
        for entry in map(json.loads, lines)
    ]
    expected = [
        ("item0", "kept", None, None),
        ("item1", "failed", "there is not enough memory", True),
        ("item2", "kept", None, None),
    ]
    assert found[:3] == expected, "one after the other"
    assert sorted(found[3:], key=str) == expected, "in threads"


def test_other_entries_stay_or_go(ledger):
    ledger.settle([LedgerEntry("other", "k", "kept")])
    run = start(ledger)
    run.execute(ITEMS[:1], square, keep, executor=SerialExecutor())
    run.settle()
    assert set(ledger.entries()) == {"other", "item0"}
    run.settle(keep_others=False)
    assert set(ledger.entries()) == {"item0"}


# --- progress ---


class Recorder(NullProgress):
    def __init__(self):
        self.calls = []

    def on_start(self, total, todo, audio_s):
        self.calls.append((total, todo, audio_s))

    def on_item_end(self, outcome):
        self.calls.append((outcome.entry.item, outcome.entry.status, outcome.audio_s))


def test_listener_gets_start_and_ends(ledger):
    ledger.settle([LedgerEntry("item0", "key0", "kept")])
    recorder = Recorder()
    run = start(ledger, listener=recorder)
    todo = run.plan(ITEMS[:4], lambda item: True)
    run.execute(todo, square, keep, executor=SerialExecutor())
    assert recorder.calls == [
        (4, 3, 6.0),
        ("item1", "kept", 1.0),
        ("item2", "kept", 4.0),
        ("item3", "failed", 0.0),
    ]
    run.execute(ITEMS[4:5], square, keep, executor=SerialExecutor(), show_progress=False)
    assert len(recorder.calls) == 4
    assert run.summary.made == 3


def test_null_progress_ignores_everything(ledger):
    progress = NullProgress()
    progress.on_start(1, 1, 0.0)
    progress.on_progress(ItemProgress("item"))
    progress.on_item_end(Outcome(LedgerEntry("item", "", "kept")))


# --- threads ---


def test_threads_work_at_the_same_time():
    barrier = threading.Barrier(3)
    assert sorted(ThreadExecutor(3).run([1, 2, 3], lambda job: (barrier.wait(60), job)[1])) == [(1, 1), (2, 2), (3, 3)]


def test_threads_end_with_the_run():
    stop = threading.Event()
    ended = []

    def work(job):
        if job == 0:
            return job
        stop.wait(60)
        ended.append(job)
        return job

    results = ThreadExecutor(2, on_stop=stop.set).run([0, 1, 2, 3], work)
    assert next(results) == (0, 0)
    results.close()
    assert set(ended) <= {1, 2}, "no further job is begun"
    assert ended


def test_thread_that_hangs_is_abandoned():
    release = threading.Event()

    def work(job):
        if job:
            release.wait(60)
        return job

    results = ThreadExecutor(2, grace_s=0.05).run([0, 1], work)
    assert next(results) == (0, 0)
    results.close()
    assert [thread for thread in threading.enumerate() if thread.name == "sca-worker"], "it was not waited for"
    release.set()


def test_on_stop_is_not_called_after_a_complete_run():
    calls = []
    list(ThreadExecutor(2, on_stop=lambda: calls.append(1)).run([1, 2], lambda job: job))
    assert calls == []


def test_other_errors_of_a_thread_end_the_run():
    def work(job):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(ThreadExecutor(2).run([1, 2], work))
