"""Requests in threads that an interrupt abandons: those of `concurrent.futures` keep an interrupted process alive."""

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import TypeVar

__all__ = ["in_threads"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(work: Callable[[Item], Result], items: Sequence[Item], threads: int) -> list[Result]:
    """Return the results of `work` for all items, in the order of their end.

    The first exception of `work` is raised when the calls in progress have ended; an interrupt does not wait for them.

    Args:
        work: Makes the requests of one item.
        items: The items.
        threads: How many are done at a time.
    """
    waiting: SimpleQueue[Item] = SimpleQueue()
    for item in items:
        waiting.put(item)
    ended: SimpleQueue[tuple[list[Result], BaseException | None]] = SimpleQueue()
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            try:
                ended.put(([work(waiting.get_nowait())], None))
            except Empty:
                return
            except BaseException as error:  # noqa: BLE001 - the boundary of the thread: the caller raises it
                ended.put(([], error))
                return

    started = [threading.Thread(target=serve, daemon=True) for _ in range(min(threads, len(items)))]
    for thread in started:
        thread.start()
    results: list[Result] = []
    try:
        for _ in items:
            result, error = ended.get()
            if error is not None:
                stopped.set()
                for thread in started:
                    thread.join()
                raise error
            results += result
    finally:
        stopped.set()
    return results
