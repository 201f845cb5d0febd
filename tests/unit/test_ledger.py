"""The ledger is readable after a crash."""

import pickle

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


def test_entries_stay_those_of_the_moment_of_opening(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(entry("a"))
    ledger.append(entry("b"))
    opened = ledger.entries()
    ledger.settle([entry("b", "failed"), entry("c")])
    opened["b"] = entry("b", "dropped")
    del opened["a"]
    assert dict(opened) == {"b": entry("b", "dropped")}
    assert pickle.loads(pickle.dumps(ledger.entries())) == {"b": entry("b", "failed"), "c": entry("c")}


@pytest.mark.parametrize("line", ["[]", "1", '{"item": "a", "key": "", "status": "kept", "other": 1}', "{", "\xff"])
def test_invalid_line_before_the_last_is_refused(tmp_path, line):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(entry("a"))
    ledger.path.write_bytes(ledger.path.read_bytes() + line.encode("latin-1") + b"\n")
    ledger.append(entry("b"))
    with pytest.raises(InputError, match=r"ledger\.jsonl:2: not a ledger line .*"):
        ledger.entries()


def test_ledger_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "ledger.jsonl").mkdir()
    with pytest.raises(InputError, match=r"ledger\.jsonl cannot be read"):
        Ledger(tmp_path / "ledger.jsonl").entries()
