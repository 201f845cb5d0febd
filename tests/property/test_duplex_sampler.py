"""For any number of rows and ranks and any interruption, one rank reads every row, in one order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from sca.data.duplex.load.sampler import ResumableSampler
from sca.errors import InputError, UsageError

SIZES = {"n_rows": st.integers(1, 60), "world": st.integers(1, 5), "seed": st.integers(0, 9)}


def ranks(n_rows, world, seed, state=None):
    samplers = [ResumableSampler(n_rows, seed=seed, rank=rank, world=world) for rank in range(world)]
    for sampler in samplers:
        if state is not None:
            sampler.load_state_dict(state)
    return samplers


@given(**SIZES)
def test_ranks_share_an_epoch_evenly(n_rows, world, seed):
    samplers = ranks(n_rows, world, seed)
    read = [list(sampler) for sampler in samplers]
    assert {len(rows) for rows in read} == {len(samplers[0])} == {-(-n_rows // world)}
    in_order = [row for step in zip(*read, strict=True) for row in step]
    assert sorted(in_order[:n_rows]) == list(range(n_rows))


@given(**SIZES, later_world=st.integers(1, 5), data=st.data())
def test_interrupted_epoch_resumes_in_any_world(n_rows, world, seed, later_world, data):
    samplers = ranks(n_rows, world, seed)
    steps = data.draw(st.integers(0, len(samplers[0])))
    before = [row for step in zip(*(list(s)[:steps] for s in samplers), strict=True) for row in step]
    resumed = ranks(n_rows, later_world, seed, samplers[0].state_dict(steps))
    after = [row for step in zip(*resumed, strict=True) for row in step]
    whole = list(ResumableSampler(n_rows, seed=seed))
    assert (before[:n_rows] + after)[:n_rows] == whole


def test_epochs_differ_and_repeat():
    sampler = ResumableSampler(50)
    first = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first
    sampler.set_epoch(0)
    assert list(sampler) == first


def test_loader_with_workers_resumes_where_training_stopped():
    sampler = ResumableSampler(12, seed=3)
    whole = list(sampler)
    batches = iter(DataLoader(range(12), sampler=sampler, batch_size=2, num_workers=2))
    used = next(batches).tolist()  # the workers are several batches ahead by now
    resumed = ResumableSampler(12, seed=3)
    resumed.load_state_dict(sampler.state_dict(len(used)))
    rest = [row for batch in DataLoader(range(12), sampler=resumed, batch_size=2) for row in batch.tolist()]
    assert used + rest == whole


def test_rejects_arguments_that_do_not_fit():
    with pytest.raises(UsageError, match="rank 2 is not in a world of 2"):
        ResumableSampler(5, rank=2, world=2)
    with pytest.raises(UsageError, match="at least one row"):
        ResumableSampler(0)
    with pytest.raises(UsageError, match="9 rows used"):
        ResumableSampler(5).state_dict(9)
    with pytest.raises(InputError, match="n_rows = 5, this run has 6"):
        ResumableSampler(6).load_state_dict(ResumableSampler(5).state_dict(2))
