"""The executor of Ray, on a Ray that starts on this machine: once for all tests of this file."""

import os
import signal
import sys
import time
from contextlib import closing
from functools import partial

import pytest
import soundfile

from sca.data.media.transcode import AudioFormat, transcode
from sca.data.runs.cluster.ray import RayExecutor
from sca.data.runs.cluster.ray_start import connect
from sca.data.runs.executor import WorkerDiedError
from sca.errors import InputError, MissingToolError
from tests.helpers import corpus


@pytest.fixture(scope="module")
def executor():
    with closing(RayExecutor(workers=2)) as ray:
        yield ray


def deadly(job, folder, deaths):
    """Return the job; the job 5 ends its process in the first `deaths` attempts, and the job 7 cannot be read."""
    with (folder / f"{job}").open("a") as attempts:
        attempts.write("x")
    if job == 5 and (folder / f"{job}").stat().st_size <= deaths:
        os.kill(os.getpid(), signal.SIGKILL)
    if job == 7:
        raise InputError("job 7 cannot be read")
    return job


class Model:
    """Work with a model: counts how often it is loaded in its process."""

    def __init__(self, missing=False):
        self.missing, self.loads = missing, 0

    def load(self):
        if self.missing:
            raise MissingToolError("the model is missing")
        self.loads = self.loads or 1

    def __call__(self, job):
        return job, os.getpid(), self.loads


def test_a_killed_worker_costs_one_retry(executor, tmp_path):
    results = dict(executor.run(range(40), partial(deadly, folder=tmp_path, deaths=2)))
    assert results.pop(7).message == "job 7 cannot be read"
    assert results == {job: job for job in range(40) if job != 7}
    assert (tmp_path / "5").stat().st_size == 3  # in its batch, alone, and alone again


def test_a_worker_killed_again_fails_only_its_job(executor, tmp_path):
    results = dict(executor.run(range(8), partial(deadly, folder=tmp_path, deaths=9)))
    assert isinstance(results.pop(5), WorkerDiedError)
    assert isinstance(results.pop(7), InputError)
    assert results == {job: job for job in range(8) if job not in (5, 7)}


def test_a_model_is_loaded_once_per_worker(executor):
    executor.workers, before = 2, executor.workers
    results = list(executor.run(range(10), Model()))
    executor.workers = before
    assert sorted(job for job, _ in results) == list(range(10))
    assert len({result[1] for _, result in results}) == 2
    assert {result[2] for _, result in results} == {1}


def test_a_model_that_is_missing_is_the_result(executor):
    results = list(executor.run(range(2), Model(missing=True)))
    assert all(isinstance(result, MissingToolError) for _, result in results)


def test_results_that_wait_hold_the_work_back(executor, tmp_path):
    results = executor.run(range(60), partial(deadly, folder=tmp_path, deaths=0))
    next(results)
    time.sleep(0.5)  # what is in flight goes on, and nothing else begins
    assert len(list(tmp_path.iterdir())) <= 4 * 3
    results.close()


def test_transcode_gives_the_same_bytes(executor, tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(3):
        soundfile.write(tmp_path / "in" / f"{number}.wav", corpus.tone(1.0 + number, 16_000), 16_000)
    for name, where in (("here", None), ("ray", executor)):
        summary = transcode(tmp_path / "in", tmp_path / name, AudioFormat(), extensions="wav", executor=where)
        assert (summary.made, summary.failed) == (3, [])
    assert corpus.tree_bytes(tmp_path / "ray") == corpus.tree_bytes(tmp_path / "here")


def test_ray_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingToolError, match="needs the package ray"):
        connect(None, 1)
