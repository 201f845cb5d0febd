"""The number of usable cores, with the files of cgroups of both versions."""

import os

import pytest

from sca.cores import usable_cores


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    (tmp_path / "proc/self").mkdir(parents=True)
    return tmp_path


def cgroup(root, lines, **files):
    (root / "proc/self/cgroup").write_text(lines)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(("quota", "cores"), [("max", 8), ("200000", 2), ("250000", 2), ("50000", 1), ("9900000", 8)])
@pytest.mark.parametrize("place", ["", "app.slice/", "app.slice/a.scope/"])
def test_version_2(root, quota, cores, place):
    """A quota of the process's own group, of one above it, or of a container whose mount is its own group."""
    cgroup(root, "0::/app.slice/a.scope\n", **{f"{place}cpu.max": f"{quota} 100000\n"})
    assert usable_cores(root) == cores


def test_the_lowest_quota_counts(root):
    cgroup(root, "0::/a/b\n", **{"a/cpu.max": "300000 100000\n", "a/b/cpu.max": "max 100000\n", "cpu.max": "4000 1000"})
    assert usable_cores(root) == 3


@pytest.mark.parametrize("mount", ["cpu,cpuacct/docker/x/", "cpu/docker/x/", "cpu/"])
@pytest.mark.parametrize(("quota", "cores"), [("-1", 8), ("150000", 1), ("400000", 4)])
def test_version_1(root, mount, quota, cores):
    files = {f"{mount}cpu.cfs_quota_us": f"{quota}\n", f"{mount}cpu.cfs_period_us": "100000\n"}
    lines = "12:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n1:name=systemd:/\n"
    cgroup(root, lines, **files)
    assert usable_cores(root) == cores


def test_without_cgroups(root, tmp_path, monkeypatch):
    assert usable_cores(tmp_path / "none") == 8
    cgroup(root, "damaged\n0::/\n", **{"cpu.max": "much\n"})
    assert usable_cores(root) == 8
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores(root) == 1
