"""Run a program that downloads into a folder: with its progress, and an end if nothing arrives any more."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import IO

from sca.children.ending import ending_with_parent
from sca.errors import OutputError, UpstreamError

__all__ = ["BytesListener", "disk_error", "run_download", "stalled"]

BytesListener = Callable[[int], None]
"""Receives the bytes that are there so far, several times per second."""

_POLL_S = 0.2
_LAST_LINES_S = 10.0


def run_download(
    command: Sequence[str], folder: Path, *, stall_s: float, listener: BytesListener
) -> tuple[int | None, str]:
    """Run a program in a folder until it ends, or until the files in the folder do not grow for some time.

    Its standard input is a pipe that closes when this process ends, however it ends; where the system can, it kills the
    program then.

    Args:
        command: The program and its arguments.
        folder: The current folder of the program. `tmp` in it is for its temporary files.
        stall_s: The program is ended if nothing arrives for so many seconds.
        listener: Receives the progress.

    Returns:
        The exit status, or None if nothing arrived any more; and what was written to stderr.
    """
    environment = os.environ | {"TMPDIR": str(folder / "tmp"), "PIP_NO_COLOR": "1", "NO_COLOR": "1"}
    process = subprocess.Popen(
        [*ending_with_parent(), *command],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    # Read by a thread, because a file for it could not be written on a full disk.
    log: list[str] = []
    reader = Thread(target=_read_into, args=(process.stderr, log), daemon=True)
    reader.start()
    try:
        status = _wait(process, folder, stall_s, listener)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()
    reader.join(_LAST_LINES_S)  # a process that the program left behind may hold the pipe
    return status, "".join(log)


def stalled(what: str, stall_s: float) -> UpstreamError:
    """Return the error of a download that does not go on."""
    return UpstreamError(
        f"cannot fetch {what}: nothing arrived for {stall_s:g} s",
        hint="run the command again, or give more time with --timeout",
    )


def disk_error(log: str, status: int, folder: Path) -> OutputError | None:
    """Return an error if a program failed because a folder cannot take its files; None if it failed for another reason.

    Args:
        log: What it wrote to stderr.
        status: Its exit status.
        folder: The folder.
    """
    text = log.lower()
    if "no space left" in text or "os error 28" in text or "enospc" in text or "quota" in text:
        return OutputError(
            f"the disk is full while writing {folder}",
            hint="free some space, or name a cache folder on another disk in SCA_CACHE_DIR",
        )
    if "file too large" in text or "os error 27" in text or "efbig" in text or status == -signal.SIGXFSZ:
        return OutputError(f"a file in {folder} is larger than a limit on this process allows")
    return None


def _read_into(stream: IO[str], lines: list[str]) -> None:
    with stream:
        lines.extend(stream)


def _wait(process: "subprocess.Popen[str]", folder: Path, stall_s: float, listener: BytesListener) -> int | None:
    """Return the exit status of the process; None if what it writes does not grow for `stall_s`."""
    size, most, since = -1, 0, time.monotonic()
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(_POLL_S)
        now = _bytes_in(folder)
        if now != size:
            size, most, since = now, max(most, now), time.monotonic()
            listener(most)  # temporary files are deleted in between
        elif time.monotonic() - since > stall_s:
            return None


def _bytes_in(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # temporary files come and go
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 - several times per second
    return total
