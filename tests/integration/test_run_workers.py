"""Worker processes that die, and workers of a run that is killed."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from functools import partial

import pytest

from sca.data.runs.executor import WorkerDiedError
from sca.data.runs.incremental import IncrementalRun, Item
from sca.data.runs.ledger import Ledger, LedgerEntry
from sca.data.runs.local import ProcessExecutor
from sca.data.runs.summary import Outcome
from sca.errors import InputError, ScaError
from tests.helpers.processes import is_running
from tests.helpers.timeouts import until

SCRIPT = """
import os, sys, time
from pathlib import Path
from sca.data.runs.local import ProcessExecutor
from sca.data.runs.summary import Outcome

def work(folder):
    Path(folder, str(os.getpid())).touch()
    time.sleep(120)

if __name__ == "__main__":
    list(ProcessExecutor(2).run([sys.argv[1]] * 4, work))
"""


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    (tmp_path / "pids").mkdir()
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path / "pids")])
    try:
        until(lambda: len(pids(tmp_path)) == 2)
    finally:
        parent.kill()
        parent.wait()
    until(lambda: not any(map(is_running, pids(tmp_path))))


def kill_worker(job, folder, deadly, deaths):
    """Return the job. For the job `deadly`, kill this process with SIGKILL in the first `deaths` attempts."""
    attempts = folder / f"{job} attempts"
    with attempts.open("a") as file:
        file.write("x")
    if job == deadly and attempts.stat().st_size <= deaths:
        os.kill(os.getpid(), signal.SIGKILL)
    return job


def attempts(folder, job):
    return (folder / f"{job} attempts").stat().st_size


@pytest.mark.parametrize("workers", [2, 4])
def test_worker_killed_once_costs_one_retry(tmp_path, workers):
    jobs = list(range(8))
    work = partial(kill_worker, folder=tmp_path, deadly=2, deaths=1)
    assert sorted(ProcessExecutor(workers).run(jobs, work)) == [(job, job) for job in jobs]
    assert [attempts(tmp_path, job) for job in jobs] == [1, 1, 2, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("deadly", [0, 3, 7])
def test_worker_killed_twice_fails_only_its_own_job(tmp_path, deadly):
    jobs = list(range(8))
    work = partial(kill_worker, folder=tmp_path, deadly=deadly, deaths=9)
    results = dict(ProcessExecutor(3).run(jobs, work))
    error = results.pop(deadly)
    assert isinstance(error, WorkerDiedError)
    assert error.message == "its worker process was killed twice (SIGKILL), often for lack of memory: try fewer --jobs"
    assert results == {job: job for job in jobs if job != deadly}
    assert [attempts(tmp_path, job) for job in jobs] == [1 + (job == deadly) for job in jobs]


def test_several_jobs_that_kill_their_workers(tmp_path):
    results = dict(ProcessExecutor(3).run(list(range(6)), partial(end_process, code=3)))
    assert {job for job, result in results.items() if isinstance(result, WorkerDiedError)} == {1, 3, 5}
    assert results[1].message == "its worker process ended twice with exit code 3"
    assert [results[job] for job in (0, 2, 4)] == [0, 2, 4]


def end_process(job, code):
    if job % 2:
        os._exit(code)
    return job


def test_dead_worker_is_a_failed_entry_of_its_item(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    run = IncrementalRun(ledger, None, retry_failed=False)
    items = [Item(f"item{n}", n, key=f"key{n}") for n in range(5)]
    work = partial(kill_worker, folder=tmp_path, deadly=3, deaths=9)
    run.execute(items, work, keep, executor=ProcessExecutor(2), fatal=(ScaError,))
    run.settle()
    assert (run.summary.made, len(run.summary.failed)) == (4, 1)
    entries = ledger.entries()
    assert {name: entry.status for name, entry in entries.items()} == {
        f"item{n}": "failed" if n == 3 else "kept" for n in range(5)
    }
    reason = "its worker process was killed twice (SIGKILL), often for lack of memory: try fewer --jobs"
    assert entries["item3"] == LedgerEntry("item3", "key3", "failed", reason, retryable=True)


def keep(item, result):
    return Outcome(LedgerEntry(item.name, item.key, "kept"))


def test_sca_errors_are_results_and_other_errors_end_the_run(tmp_path):
    results = dict(ProcessExecutor(2).run([1, 2, 3, 4], refuse_even))
    assert (results[1], results[3], results[2].message, results[2].hint) == (1, 3, "2 is even", "give an odd one")
    with pytest.raises(ZeroDivisionError) as caught:
        list(ProcessExecutor(2).run([1, 0, 1, 1], divide))
    assert "in a worker process" in caught.value.__notes__[0]


def refuse_even(job):
    if job % 2 == 0:
        raise InputError(f"{job} is even", hint="give an odd one")
    return job


def divide(job):
    return 1 / job


def test_result_that_cannot_be_pickled_is_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="a result cannot be sent to the parent process"):
        list(ProcessExecutor(2).run([1, 2], make_lambda))


def make_lambda(job):
    return lambda: job


def test_workers_that_cannot_start_end_the_run(tmp_path):
    with pytest.raises(ScaError, match="worker processes cannot be started"):
        list(ProcessExecutor(2).run([1, 2, 3], Unloadable()))


class Unloadable:
    """Work that a worker process cannot unpickle."""

    def __call__(self, job):
        return job

    def __reduce__(self):
        return os._exit, (1,)


def test_workers_end_when_the_consumer_stops(tmp_path):
    work = partial(record_pid_and_wait, folder=tmp_path)
    (tmp_path / "pids").mkdir()
    with closing(ProcessExecutor(2).run([0, 1, 2, 3], work)) as results:
        assert next(results) == (0, 0)
        until(lambda: len(pids(tmp_path)) == 2)
    assert not any(map(is_running, pids(tmp_path)))


def record_pid_and_wait(job, folder):
    (folder / "pids" / str(os.getpid())).touch()
    time.sleep(120 if job else 0)
    return job


def pids(folder):
    return [int(path.name) for path in (folder / "pids").iterdir()]
