"""How many processor cores this process may use: by its affinity, and by the quotas of its cgroups.

In a container with `--cpus 2` on a machine with 64 cores, the affinity still has 64. Sources: cpu.max (version 2) in
docs.kernel.org/admin-guide/cgroup-v2.html, cpu.cfs_quota_us (version 1) in docs.kernel.org/scheduler/sched-bwc.html.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

__all__ = ["usable_cores"]


def usable_cores(root: Path = Path("/")) -> int:
    """Return the number of cores, at least 1. A quota of 2.5 cores is 2.

    Args:
        root: The folder that has `proc` and `sys`, for tests.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([cores, *(int(quota) for quota in _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """Yield the quotas of the cgroups of this process and of those above them, in cores."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return
    mount = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        for folder in _from_the_root(path):
            for base in (mount, *(mount / name for name in (controllers, "cpu") if name)):
                with suppress(OSError, ValueError, ZeroDivisionError):
                    yield _quota(base / folder)


def _from_the_root(path: str) -> Iterator[str]:
    """Yield a path and its parents. In a container, the mount may show only the lower part of a path, or none of it."""
    parts = PurePosixPath(path.strip("/")).parts
    for end in range(len(parts) + 1):
        yield "/".join(parts[:end])


def _quota(folder: Path) -> float:
    """Return the quota of a cgroup in cores.

    Raises:
        OSError: It does not exist, or has no settings of the processor.
        ValueError: It has no quota.
    """
    if (folder / "cpu.max").exists():
        quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
    else:
        quota = (folder / "cpu.cfs_quota_us").read_text(encoding="utf-8")
        period = (folder / "cpu.cfs_period_us").read_text(encoding="utf-8")
    if quota.strip() in ("max", "-1"):
        raise ValueError("no quota")
    return int(quota) / int(period)
