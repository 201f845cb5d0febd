"""The short form of `scripts/chaos_scale.py`: something is killed at a random moment, and nothing is lost or doubled."""

import random
import shutil

import pytest

from scripts import chaos_scale


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """The unbroken run, made once: each test has folders of its own beside it."""
    return chaos_scale.Bench(tmp_path_factory.mktemp("chaos"), 12, 0.02)


@pytest.mark.parametrize("what", ["worker", "main"])
def test_a_process_is_killed(bench, what):
    result = chaos_scale.kill_processes(bench, what, "local", 1, random.Random(1))
    assert result["wrong"] == []


def test_an_interrupt_rolls_back_and_a_second_ends(bench):
    result = chaos_scale.interrupt(bench, random.Random(1), ("local", "threads"))
    assert result["wrong"] == []


@pytest.mark.parametrize("case", ["denied", "full"])
def test_an_output_that_is_refused(bench, case):
    assert chaos_scale.CASES[case](bench, random.Random(1))["wrong"] == []


def test_a_node_of_ray_is_killed(tmp_path):
    assert chaos_scale.kill_nodes(tmp_path, 12, 0.05, 1, random.Random(1))["wrong"] == []


def test_a_difference_is_found(bench, tmp_path):
    out = shutil.copytree(bench.whole, tmp_path / "out")
    assert bench.differences(out) == []
    (out / "i00003").write_bytes(b"other")
    (out / "i00005").unlink()
    assert bench.differences(out) == ["i00003", "i00005"]
