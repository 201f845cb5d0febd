"""Run one function over many items on this machine, in this process or in several, and hand results out as they come.

The items decide nothing about where they run, and the function must not either: what it returns is the same either way.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import TypeVar

from sca.errors import ScaError

__all__ = ["cores", "run"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(items: Sequence[Item], work: Callable[[Item], Result], jobs: int) -> Iterator[tuple[Item, Result | ScaError]]:
    """Yield `(item, result)` in the order they finish; a `ScaError` of an item is its result, any other error ends the run.

    work: picklable when `jobs` is more than 1. At most two items a worker are under way, so memory stays bounded.
    """
    if jobs <= 1 or len(items) <= 1:
        for item in items:
            yield item, _attempt(work, item)
        return
    yield from _run_pool(items, work, min(jobs, len(items)))


def _attempt(work: Callable[[Item], Result], item: Item) -> Result | ScaError:
    try:
        return work(item)
    except ScaError as error:
        return error


def _run_pool(
    items: Sequence[Item], work: Callable[[Item], Result], jobs: int
) -> Iterator[tuple[Item, Result | ScaError]]:
    # spawn: a forked child would inherit the threads' locks of onnxruntime, Arrow and the progress display.
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_begin_worker)
    pending: dict[Future[Result | ScaError], Item] = {}
    waiting = iter(items)
    try:
        while True:
            while len(pending) < 2 * jobs and (item := next(waiting, None)) is not None:
                pending[pool.submit(_attempt, work, item)] = item
            if not pending:
                break
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield pending.pop(future), future.result()
        pool.shutdown()
    except BrokenProcessPool as error:
        raise ScaError(
            "a worker process ended without a word",
            hint="often out of memory: try fewer --jobs; what is finished is kept",
        ) from error
    finally:
        # Reached with work pending only by an error or an interrupt: nothing half-done is worth waiting for.
        for process in list((getattr(pool, "_processes", None) or {}).values()):
            if pending:
                process.terminate()
        pool.shutdown(wait=True, cancel_futures=True)


def _begin_worker() -> None:
    # Ctrl-C reaches the whole process group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="sca-parent", daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed cannot say so, and its workers would wait for items forever, or write where a second run writes."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
