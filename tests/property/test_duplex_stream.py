"""For any ranks, loader workers and interruptions, every row is read once per epoch, in an order that the seed gives."""

import json

from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, IterableDataset

from sca.data.duplex.load.dataset import DuplexDataset
from sca.data.duplex.load.order import epoch_order, worker_share
from sca.data.duplex.load.stream import DuplexRows


class Numbers(DuplexDataset):
    """A data set whose rows are their numbers."""

    def __init__(self, sizes):
        self.sessions = [f"S{number}" for number, size in enumerate(sizes) for _ in range(size)]

    def __getitem__(self, index):
        return index


SIZES = st.lists(st.integers(1, 6), min_size=1, max_size=8)
DIVISION = {"world": st.integers(1, 4), "workers": st.integers(0, 3), "batch_size": st.integers(1, 4)}
ORDER = {"seed": st.integers(0, 9), "shuffle_sessions": st.integers(0, 3)}


def read_by_workers(rows):
    """Return what each worker of a rank reads."""
    order, share = rows._order(), rows._share()
    shares = [worker_share(share, n, rows._workers, rows._batch_size) for n in range(rows._workers)] or [share]
    return [[int(order[position]) for position in part] for part in shares]


@given(sizes=SIZES, **DIVISION, **ORDER)
def test_every_row_is_read_once(sizes, world, **arguments):
    data = Numbers(sizes)
    ranks = [DuplexRows(data, rank=rank, world=world, even=False, **arguments) for rank in range(world)]
    read = [row for rank in ranks for part in read_by_workers(rank) for row in part]
    assert sorted(read) == list(range(len(data)))
    assert sorted(row for rank in ranks for row in rank) == sorted(read)


@given(sizes=SIZES, **DIVISION, **ORDER)
def test_even_ranks_have_the_same_number_of_rows(sizes, world, **arguments):
    data = Numbers(sizes)
    ranks = [DuplexRows(data, rank=rank, world=world, **arguments) for rank in range(world)]
    read = [row for rank in ranks for row in rank]
    assert {len(rank) for rank in ranks} == {-(-len(data) // world)}
    assert set(read) == set(range(len(data)))
    assert len(read) - len(data) < world


@given(sizes=SIZES, even=st.booleans(), data=st.data(), **ORDER)
def test_an_interrupted_epoch_resumes_in_any_division(sizes, even, data, **order):
    """Interrupt an epoch twice; each part has its own ranks, workers and batches."""
    rows, state, read = Numbers(sizes), None, []
    for part in range(3):
        division = {name: data.draw(value) for name, value in DIVISION.items()}
        ranks = [DuplexRows(rows, rank=rank, **division, even=even, **order) for rank in range(division["world"])]
        for rank in ranks:
            if state is not None:
                rank.load_state_dict(json.loads(state))
        left = min(len(rank) for rank in ranks)
        used = data.draw(st.integers(0, left)) if part < 2 else None
        for rank in ranks:
            read += list(rank)[:used]
        if used is not None:
            states = {json.dumps(rank.state_dict(used)) for rank in ranks}
            assert len(states) == 1
            (state,) = states
    assert set(read) == set(range(len(rows)))
    if not even:
        assert len(read) == len(rows)


@given(sizes=SIZES, **ORDER)
def test_the_order_keeps_sessions_together(sizes, seed, shuffle_sessions):
    sessions = Numbers(sizes).sessions
    order = epoch_order(sessions, seed, 0, shuffle_sessions)
    assert sorted(order.tolist()) == list(range(len(sessions)))
    found = list(dict.fromkeys(sessions[row] for row in order))
    kept = max(1, shuffle_sessions)
    for number, session in enumerate(found):
        places = [at for at, row in enumerate(order) if sessions[row] == session]
        group = found[number // kept * kept :][:kept]
        assert all(sessions[order[at]] in group for at in range(min(places), max(places) + 1))


def test_epochs_differ_and_repeat():
    rows = DuplexRows(Numbers([3, 4, 5, 6]), seed=1)
    first = list(rows)
    rows.set_epoch(1)
    assert list(rows) != first
    rows.set_epoch(0)
    assert list(rows) == first
    assert isinstance(rows, IterableDataset)


def test_a_loader_returns_the_rows_in_the_order_of_the_state():
    division = {"seed": 2, "workers": 2, "batch_size": 2}
    rows = DuplexRows(Numbers([3, 4, 5, 3, 2]), **division)
    batches = [batch.tolist() for batch in DataLoader(rows, batch_size=2, num_workers=2)]
    assert [row for batch in batches for row in batch] == list(rows)
    used = sum(map(len, batches[:3]))
    resumed = DuplexRows(Numbers([3, 4, 5, 3, 2]), **division)
    resumed.load_state_dict(rows.state_dict(used))
    rest = [row for batch in DataLoader(resumed, batch_size=2, num_workers=2) for row in batch.tolist()]
    assert sorted(rest + [row for batch in batches[:3] for row in batch]) == list(range(17))
