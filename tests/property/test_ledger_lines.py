"""The ledger returns what was written, whatever is torn, repeated or in which order."""

import json
from dataclasses import asdict

from hypothesis import given, settings
from hypothesis import strategies as st

from sca.data.runs.ledger import Ledger, LedgerEntry
from sca.data.runs.store.entry import line_of, parse_line

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
ENTRIES = st.builds(
    LedgerEntry,
    item=TEXT,
    key=TEXT,
    status=st.sampled_from(["kept", "dropped", "failed"]),
    reason=st.none() | TEXT,
    retryable=st.booleans(),
    notes=st.lists(TEXT, max_size=2).map(tuple),
    extra=st.dictionaries(TEXT, VALUES, max_size=3),
)


@given(ENTRIES)
def test_a_line_is_that_of_the_json_module(entry):
    fields = {name: value for name, value in asdict(entry).items() if value not in (None, {}, (), False)}
    for name in ("item", "key", "status"):
        fields[name] = getattr(entry, name)
    assert line_of(entry) == json.dumps(fields, ensure_ascii=False).encode() + b"\n"
    assert parse_line(line_of(entry)) == entry


@settings(deadline=None, max_examples=60)
@given(written=st.lists(ENTRIES, max_size=8), torn=st.none() | ENTRIES, data=st.data())
def test_last_entry_of_each_item_survives_a_torn_line(tmp_path_factory, written, torn, data):
    ledger = Ledger(tmp_path_factory.mktemp("torn") / "ledger.jsonl")
    tail = b"" if torn is None else line_of(torn)
    kept = data.draw(st.integers(0, max(0, len(tail) - 2)))
    ledger.path.write_bytes(b"".join(map(line_of, written)) + tail[:kept])
    expected = {entry.item: entry for entry in written}
    found = ledger.entries()
    assert dict(found) == expected
    assert list(found) == list(expected)
    ledger.append(LedgerEntry("new", "", "kept"))
    assert dict(ledger.entries()) == expected | {"new": LedgerEntry("new", "", "kept")}


@settings(deadline=None, max_examples=60)
@given(first=st.lists(ENTRIES, max_size=6), order=st.randoms())
def test_settled_bytes_depend_on_the_entries_only(tmp_path_factory, first, order):
    folder = tmp_path_factory.mktemp("settled")
    entries = list({entry.item: entry for entry in first}.values())
    one, two = Ledger(folder / "one.jsonl"), Ledger(folder / "two.jsonl")
    one.settle(entries)
    order.shuffle(entries)
    for entry in entries:
        two.append(entry)
    two.settle(two.entries().values())
    assert one.path.read_bytes() == two.path.read_bytes()
