"""Run the parts of a long measurement, each in a process of its own, so that none of them ends the others."""

import json
import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

Note = Callable[[str, Any], None]
"""Adds a measurement to the report."""


@dataclass(frozen=True)
class Part:
    """A part of the run.

    Attributes:
        name: Its name.
        work: Measures, and notes each result. The second argument is whether the run is dry.
        limit_s: Seconds until it is stopped.
    """

    name: str
    work: Callable[[Note, bool], None]
    limit_s: float


def _child(part: Part, dry: bool, results: Connection) -> None:
    """Run a part in its process. Its output goes to stderr."""
    os.setsid()  # so that its children end with it
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    status = 0
    try:
        part.work(lambda name, value: results.send((name, value)), dry)
    except BaseException as error:  # noqa: BLE001 - reported
        traceback.print_exc()
        first = next(iter(str(error).splitlines()), "")
        results.send(("failed", f"{type(error).__name__}: {first}"))
        status = 1
    results.close()
    sys.stderr.flush()
    os._exit(status)


def run_part(part: Part, dry: bool, limit_s: float) -> dict[str, Any]:
    """Run a part and return what it noted, `seconds`, `processor_s`, and `failed` if it failed or was stopped.

    Args:
        part: The part.
        dry: Whether it is dry.
        limit_s: Seconds until it is stopped.
    """
    print(f"== {part.name}, at most {limit_s:.0f} s", file=sys.stderr, flush=True)
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    process = fork.Process(target=_child, args=(part, dry, sender))
    began, used_s = time.monotonic(), _processor_s()
    process.start()
    sender.close()
    found: dict[str, Any] = {}
    try:
        while receiver.poll(max(0.0, began + limit_s - time.monotonic())):
            name, value = receiver.recv()
            found[name] = value
        found["failed"] = f"stopped after {limit_s:.0f} s"
    except EOFError:
        process.join(10)
        if process.exitcode and "failed" not in found:
            found["failed"] = f"the process ended with {process.exitcode}"
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid or 0, signal.SIGKILL)
    if process.is_alive():
        process.kill()
    process.join()
    receiver.close()
    found |= {"seconds": round(time.monotonic() - began, 1), "processor_s": round(_processor_s() - used_s, 1)}
    print(f"   {part.name}: {json.dumps(found)}", file=sys.stderr, flush=True)
    return found


def _processor_s() -> float:
    """Return the processor time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_parts(parts: Sequence[Part], dry: bool, limit_s: float) -> dict[str, Any]:
    """Run parts one after the other.

    Args:
        parts: The parts.
        dry: Whether they are dry.
        limit_s: Seconds for all of them. A part without time left is not run.

    Returns:
        The results by part, the names of those that failed, and the seconds.
    """
    began = time.monotonic()
    found: dict[str, dict[str, Any]] = {}
    for part in parts:
        left_s = began + limit_s - time.monotonic()
        if left_s < 1:
            found[part.name] = {"failed": "not run: no time was left"}
        else:
            found[part.name] = run_part(part, dry, min(part.limit_s, left_s))
    failed = [name for name, results in found.items() if "failed" in results]
    return {"parts": found, "failed": failed, "seconds": round(time.monotonic() - began, 1)}
