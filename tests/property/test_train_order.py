"""For any rows, settings and number of processes, an epoch reads every row once, and continues where it stopped."""

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sca.config import load_settings
from sca.errors import ConfigError, UsageError
from sca.train.batches.order import BatchOrder
from sca.train.batches.plan import pack_rows

CHOICES = st.fixed_dictionaries(
    {
        "packing": st.booleans(),
        "length_groups": st.booleans(),
        "batch_size": st.integers(1, 4),
        "shuffle_sessions": st.integers(0, 3),
        "workers": st.integers(0, 3),
        "seed": st.integers(0, 3),
    }
)


def train(**values):
    values = {"batch_tokens": 100} | values
    return load_settings(overrides={f"train.{name}": value for name, value in values.items()}, env={}).train


@st.composite
def data(draw):
    """Draw the length of each row, and its session."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=8))
    sessions = [f"s{number}" for number, size in enumerate(sizes) for _ in range(size)]
    return draw(st.lists(st.integers(1, 100), min_size=len(sessions), max_size=len(sessions))), sessions


@settings(max_examples=40)
@given(data(), CHOICES, st.integers(1, 3), st.integers(0, 2))
def test_processes_read_every_row_once(rows, chosen, world, epoch):
    lengths, sessions = rows
    orders = [BatchOrder(lengths, sessions, train(**chosen), rank=rank, world=world) for rank in range(world)]
    for order in orders:
        order.set_epoch(epoch)
    read = [list(order) for order in orders]
    assert {len(batches) for batches in read} == {len(orders[0])}
    every = sorted({tuple(batch) for batches in read for batch in batches})
    assert sorted(row for batch in every for row in batch) == list(range(len(lengths)))
    repeated = sum(map(len, read)) - len(every)
    assert 0 <= repeated < world
    groups = chosen["shuffle_sessions"] or len(lengths)
    for batch in every:
        assert len({int(sessions[row][1:]) // groups for row in batch}) == 1
        fits = sum(lengths[row] for row in batch) <= 100 if chosen["packing"] else len(batch) <= chosen["batch_size"]
        assert fits
    assert 0 < orders[0].fill <= 1
    # The order is that of the epoch, whatever was read before.
    again = BatchOrder(lengths, sessions, train(**chosen), rank=0, world=world)
    list(again)
    again.set_epoch(epoch)
    assert list(again) == read[0]


@given(st.lists(st.integers(1, 100), max_size=40))
def test_packs_cannot_be_joined(lengths):
    packs = pack_rows(np.arange(len(lengths)), lengths, 100)
    sums = sorted(sum(lengths[row] for row in pack) for pack in packs)
    assert sum(sums) == sum(lengths)
    assert all(size <= 100 for size in sums)
    assert len(sums) < 2 or sums[0] + sums[1] > 100


def test_lengths_in_a_batch_are_similar():
    lengths = np.random.default_rng(0).integers(50, 600, 400).tolist()
    fills = [
        BatchOrder(lengths, ["s"] * 400, train(batch_size=8, length_groups=grouped, batch_tokens=600)).fill
        for grouped in (True, False)
    ]
    assert fills[0] > 0.9 > 0.7 > fills[1]
    packed = BatchOrder(lengths, ["s"] * 400, train(packing=True, batch_tokens=2000))
    assert packed.fill > 0.98


def test_epochs_have_other_batches():
    order = BatchOrder(list(range(1, 61)), ["s"] * 60, train(batch_size=2))
    first = list(order)
    order.set_epoch(1)
    assert sorted(map(tuple, order)) != sorted(map(tuple, first))


def test_sessions_stay_together():
    """A process and its workers read few sessions at a time, for data whose audio is fetched by session."""
    sessions = [f"s{number:02}" for number in range(12) for _ in range(10)]
    order = BatchOrder([10] * 120, sessions, train(batch_size=2, shuffle_sessions=2, workers=2), rank=1, world=2)
    batches = list(order)
    for worker in range(2):
        read = [sessions[batch[0]] for batch in batches[worker::2]]
        groups = [key for key, _ in groupby(read, lambda name: int(name[1:]) // 2)]
        assert len(groups) == len(set(groups))


def test_order_names_what_is_wrong():
    with pytest.raises(ConfigError, match="a row has 101 tokens, and a packed sequence at most 100"):
        BatchOrder([5, 101], ["s", "s"], train(packing=True))
    with pytest.raises(UsageError, match="rank 2 is not in a world of 2"):
        BatchOrder([5], ["s"], train(), rank=2, world=2)
    with pytest.raises(UsageError, match="at least one row"):
        BatchOrder([], [], train())
