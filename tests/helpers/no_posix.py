"""Removes from this process what Windows does not have: modules, functions and signals of POSIX. Imported for that.

Modules of Python and of other packages that have a version of their own for Windows are imported before.
"""

import asyncio  # noqa: F401
import multiprocessing.pool  # noqa: F401
import os
import select
import selectors  # noqa: F401
import shutil  # noqa: F401
import signal
import subprocess  # noqa: F401
import sys

import filelock  # noqa: F401
import psutil  # noqa: F401

MISSING = {
    os: "O_CLOEXEC O_NOFOLLOW fchmod fork getloadavg getpgid getuid geteuid killpg mkfifo readv register_at_fork"
    " sched_getaffinity set_blocking setsid statvfs sysconf writev",
    signal: "SIGALRM SIGHUP SIGKILL SIGPIPE SIGUSR1 SIGUSR2 SIGXCPU SIGXFSZ alarm pthread_sigmask setitimer",
    select: "epoll poll",
}

for _module in ("fcntl", "grp", "pwd", "resource", "termios", "tty"):
    sys.modules[_module] = None
for _owner, _names in MISSING.items():
    for _name in _names.split():
        if hasattr(_owner, _name):
            delattr(_owner, _name)
