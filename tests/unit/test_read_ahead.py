"""A generator in a thread: order, errors, the limit, and the end."""

import threading

import pytest

from sca.infer.speech.read_ahead import read_ahead


def test_items_come_in_order():
    assert list(read_ahead(lambda closed: iter(range(100)), 3)) == list(range(100))


def test_an_error_comes_after_the_items():
    def source(closed):
        yield 1
        raise ValueError("broken")

    items = read_ahead(source, 2)
    assert next(items) == 1
    with pytest.raises(ValueError, match="broken"):
        next(items)


def test_the_source_waits_for_the_reader():
    made, full = [], threading.Event()

    def source(closed):
        for number in range(1000):
            made.append(number)
            if number == 4:  # one read, three waiting, one that waits for them
                full.set()
            yield number

    items = read_ahead(source, 3)
    assert next(items) == 0
    assert full.wait(20)
    items.close()
    assert len(made) <= 6


def test_closing_ends_the_source():
    ended, seen = threading.Event(), []

    def source(closed):
        try:
            while not closed.is_set():
                yield 1
            seen.append("closed")
        finally:
            ended.set()

    items = read_ahead(source, 1)
    next(items)
    items.close()
    assert ended.is_set()
    with pytest.raises(StopIteration):
        next(items)
