"""Run a generator in a thread that stays a limited number of items ahead of its reader."""

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import TypeVar

__all__ = ["read_ahead"]

T = TypeVar("T")

_POLL_S = 0.05


def read_ahead(source: Callable[[threading.Event], Iterator[T]], most: int) -> Generator[T, None, None]:
    """Yield the items of a generator, which runs in a thread.

    When this generator is closed, the event of the source is set, the source is closed at its next item, and the thread
    has ended when `close` returns.

    Args:
        source: Makes the generator, in the thread. It should return soon when the event is set.
        most: The most items that wait to be read. The thread then waits, so that memory is bounded.

    Yields:
        The items. An exception of the source is raised after them.
    """
    waiting: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(most)
    closed = threading.Event()

    def put(item: T | None, error: BaseException | None) -> bool:
        while not closed.is_set():
            with suppress(queue.Full):
                waiting.put((item, error), timeout=_POLL_S)
                return True
        return False

    def run() -> None:
        items = source(closed)
        try:
            for item in items:
                if not put(item, None):
                    return
        except BaseException as error:  # noqa: BLE001 - raised by the reader
            put(None, error)
        else:
            put(None, StopIteration())
        finally:
            if isinstance(items, Generator):
                items.close()

    thread = threading.Thread(target=run, name="sca read ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]  # an item, because `error` is not set
    finally:
        closed.set()
        thread.join()
