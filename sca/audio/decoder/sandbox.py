"""Limits of a decoder process: memory, descriptors, processor time, no writing, no programs, no TCP.

The limits are those of the operating system: POSIX resource limits, and Landlock on Linux, where the kernel has it. Windows
has neither.
Reading files stays possible. Sources: setrlimit(2), prctl(2), docs.kernel.org/userspace-api/landlock.html.
"""

import ctypes
import os
import signal
import struct
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

__all__ = ["confine", "landlock_version", "limit_cpu"]

_HAS_LIMITS = find_spec("resource") is not None
_DESCRIPTORS = 64
_NO_NEW_PRIVS = 38
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
"""System calls of Landlock; all architectures share these numbers."""
_VERSION = 1
_FILES_BITS = {1: 13, 2: 14, 3: 15, 4: 15}
"""The rights about files that each version of Landlock has; version 5 has 16."""
_READ = 1 << 2 | 1 << 3
"""Reading files and listing folders: not handled, so allowed. All other rights are handled and never granted."""
_TCP = 1 << 0 | 1 << 1
_SCOPES = 1 << 0 | 1 << 1
"""Abstract UNIX sockets and signals of processes outside."""


def confine(memory_bytes: int, *, tcp: bool = False, devices: bool = False) -> None:
    """Limit this process, for good. What the system lacks is left out.

    Args:
        memory_bytes: The memory that may be added to what is mapped now.
        tcp: Whether TCP is allowed, for streams.
        devices: Whether all files may be opened for writing, as cameras must be.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
    if not _HAS_LIMITS:
        return
    import resource

    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, _DESCRIPTORS)
    _lower(resource.RLIMIT_FSIZE, 0)
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + memory_bytes)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 and not devices:
            _restrict_files(libc, tcp=tcp)


def landlock_version(libc: ctypes.CDLL) -> int:
    """Return the version of Landlock that the kernel has; below 1 without it."""
    return int(libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION))


def limit_cpu(seconds: int) -> None:
    """End this process with SIGXCPU when it uses more processor time from now on."""
    if not _HAS_LIMITS:
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(time.process_time()) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _lower(kind: int, most: int) -> None:
    import resource

    _, hard = resource.getrlimit(kind)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(kind, (most, most))


def _restrict_files(libc: ctypes.CDLL, *, tcp: bool) -> None:
    """Forbid writing files, programs, TCP unless it is allowed, and signals to other processes, where there is Landlock."""
    version = landlock_version(libc)
    if version < 1:
        return
    files = ((1 << _FILES_BITS.get(version, 16)) - 1) & ~_READ
    rules = struct.pack("=QQQ", files, _TCP if version >= 4 and not tcp else 0, _SCOPES if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    handle = libc.syscall(_CREATE_RULESET, rules, ctypes.c_size_t(size), 0)
    if handle >= 0:
        libc.syscall(_RESTRICT_SELF, handle, 0)
        os.close(handle)
