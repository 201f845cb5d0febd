"""Batches within a bound: results as one at a time, and less after a lack of memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sca.data.batches.by_length import LengthBatches, is_out_of_memory
from sca.errors import InputError


class Device:
    """A model on a device with so much memory."""

    def __init__(self, memory, error=MemoryError):
        self.memory, self.error, self.sizes, self.failures = memory, error, [], 0

    def __call__(self, batch):
        size = len(batch) * max(len(item) for item in batch)
        if size > self.memory:
            self.failures += 1
            raise self.error("CUDA out of memory")
        self.sizes.append(size)
        return [item.upper() for item in batch]


TEXTS = st.lists(st.text("ab", max_size=20), max_size=40)


@given(TEXTS, st.integers(1, 200), st.integers(0, 5))
def test_results_are_those_of_one_at_a_time(items, most, most_items):
    device = Device(10**9)
    found = LengthBatches(most, most_items=most_items).run(items, list(map(len, items)), device)
    assert found == [item.upper() for item in items]
    assert all(size <= max(most, 20) for size in device.sizes)


@given(TEXTS, st.integers(20, 100))
def test_batches_that_do_not_fit_are_halved(items, memory):
    device, batches = Device(memory), LengthBatches(800)
    assert batches.run(items, list(map(len, items)), device) == [item.upper() for item in items]
    assert device.failures <= 6
    device.failures = 0
    batches.run(items, list(map(len, items)), device)
    assert device.failures == 0, "the size that failed is not tried again"


def test_item_that_does_not_fit_alone_fails():
    with pytest.raises(MemoryError):
        LengthBatches(100).run(["a" * 30], [30], Device(20))


def test_other_errors_are_raised_at_once():
    device = Device(1, error=lambda _: InputError("the model is broken"))
    with pytest.raises(InputError):
        LengthBatches(100).run(["aa", "bb"], [2, 2], device)
    assert device.failures == 1


def test_errors_of_memory_are_recognized():
    wrapped = InputError("the model failed")
    wrapped.__cause__ = RuntimeError("Failed to allocate memory for requested buffer of size 1073741824")
    assert is_out_of_memory(wrapped)
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"))
    assert is_out_of_memory(type("OutOfMemoryError", (RuntimeError,), {})())
    assert not is_out_of_memory(RuntimeError("expected a tensor of 3 dimensions"))
