"""The ledger is readable after a crash."""

import pytest

from sca.data.runs.ledger import Ledger, LedgerEntry
from sca.errors import InputError


def entry(item, status="kept", **more):
    return LedgerEntry(item, f"key of {item}", status, **more)


def test_last_entry_of_an_item_counts(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(entry("a", "failed", reason="no luck", retryable=True))
    ledger.append(entry("b", notes=("one", "two"), extra={"bytes": 3}))
    ledger.append(entry("a"))
    assert ledger.entries() == {"a": entry("a"), "b": entry("b", notes=("one", "two"), extra={"bytes": 3})}


@pytest.mark.parametrize("torn", [1, 20, 60])
def test_incomplete_last_line_is_ignored_and_removed(tmp_path, torn):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(entry("a"))
    whole = ledger.path.read_bytes()
    ledger.append(entry("b" * 5000))
    ledger.path.write_bytes(ledger.path.read_bytes()[: len(whole) + torn])
    assert ledger.entries() == {"a": entry("a")}
    ledger.append(entry("c"))
    assert ledger.entries() == {"a": entry("a"), "c": entry("c")}


def test_file_with_only_an_incomplete_line(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.path.write_bytes(b'{"item": "a", "ke')
    assert ledger.entries() == {}
    ledger.append(entry("c"))
    assert ledger.entries() == {"c": entry("c")}


def test_settled_files_are_sorted(tmp_path):
    one, two = Ledger(tmp_path / "one.jsonl"), Ledger(tmp_path / "two.jsonl")
    one.settle([entry("b"), entry("a")])
    two.append(entry("x"))
    two.settle([entry("a"), entry("b")])
    assert one.path.read_bytes() == two.path.read_bytes()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_invalid_line_is_named(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.path.write_text('{"item": 1}\n{"other": 2}\n')
    with pytest.raises(InputError, match=r"ledger\.jsonl:1: not a ledger line"):
        ledger.entries()
