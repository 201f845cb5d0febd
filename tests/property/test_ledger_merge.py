"""Ledgers of shards: merged whatever their order, repetitions and torn last lines, and each item in one shard."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from sca.data.runs.shards import Shard, entries_of_shards, merge_ledgers, shard_files
from sca.data.runs.store.entry import LedgerEntry, line_of

ENTRY = st.builds(
    LedgerEntry,
    item=st.sampled_from("abcdef"),
    key=st.sampled_from(["", "k1", "k2"]),
    status=st.sampled_from(["kept", "dropped", "failed"]),
    reason=st.none() | st.text(max_size=5),
    extra=st.dictionaries(st.sampled_from("xy"), st.integers(), max_size=2),
)
LEDGERS = st.lists(st.lists(ENTRY, max_size=8), max_size=5)


@given(LEDGERS, st.randoms())
def test_the_order_of_ledgers_changes_nothing(ledgers, draw):
    shuffled = draw.sample(ledgers, len(ledgers))
    assert merge_ledgers(shuffled) == merge_ledgers(ledgers)


@given(LEDGERS)
def test_repeated_ledgers_change_nothing(ledgers):
    merged = merge_ledgers(ledgers)
    assert merge_ledgers([*ledgers, *ledgers]) == merged
    assert merge_ledgers([*ledgers, merged.values()]) == merged


@given(LEDGERS)
def test_merging_in_parts_is_merging_at_once(ledgers):
    half = len(ledgers) // 2
    parts = [merge_ledgers(ledgers[:half]).values(), merge_ledgers(ledgers[half:]).values()]
    assert merge_ledgers(parts) == merge_ledgers(ledgers)


@given(LEDGERS)
def test_a_finished_item_is_never_lost(ledgers):
    last = [{entry.item: entry for entry in ledger} for ledger in ledgers]
    merged = merge_ledgers(ledgers)
    assert merged.keys() == {item for ledger in last for item in ledger}
    for item, entry in merged.items():
        candidates = [ledger[item] for ledger in last if item in ledger]
        assert entry in candidates
        assert entry.status != "failed" or all(one.status == "failed" for one in candidates)


@given(st.lists(ENTRY, min_size=1, max_size=6), st.data())
def test_a_torn_last_line_is_ignored(entries, data):
    lines = [line_of(entry) for entry in entries]
    cut = data.draw(st.integers(0, len(lines[-1]) - 3))
    with TemporaryDirectory() as folder:
        ledger = Path(folder, "ledger.jsonl")
        file = Shard(2, 3).file_of(ledger)
        file.parent.mkdir(parents=True)
        file.write_bytes(b"".join(lines[:-1]) + lines[-1][:cut])
        assert shard_files(ledger) == [file]
        assert entries_of_shards(ledger) == merge_ledgers([entries[:-1]])


@given(st.lists(st.text(), max_size=20), st.integers(1, 9))
def test_each_item_is_in_one_shard(names, count):
    shards = [Shard(index, count) for index in range(1, count + 1)]
    assert all(sum(shard.takes(name) for shard in shards) == 1 for name in names)
