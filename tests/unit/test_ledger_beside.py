"""The ledgers of `download` and `transcode` in one folder."""

import pytest

from sca.data.runs.beside import ledger_beside
from sca.data.runs.ledger import Ledger, LedgerEntry
from sca.data.runs.owner import CONVERT, claim
from sca.data.runs.status import read_status
from sca.errors import OutputError

VIDEO = LedgerEntry("abcdefghijk", "youtube abcdefghijk", "verified", extra={"file": "a.webm"})
FAILED = LedgerEntry("lmnopqrstuv", "url https://example.org/v", "failed", "HTTP 403")
SOUND = LedgerEntry("a.webm", "0f0e", "kept", extra={"seconds": 3.0})
EMPTY = LedgerEntry("b.webm", "", "failed", "b.webm is empty (0 bytes)")


def stages(folder):
    return [(status.stage, sorted(status.counts.items())) for status in read_status(folder)]


@pytest.mark.parametrize(
    ("first", "before", "second", "entry"),
    [("download", [VIDEO, FAILED], "transcode", SOUND), ("transcode", [SOUND, EMPTY], "download", VIDEO)],
)
def test_two_commands_have_two_ledgers(tmp_path, first, before, second, entry):
    ledger = ledger_beside(tmp_path, first)
    assert ledger.path == tmp_path / "ledger.jsonl"
    ledger.settle(before)
    other = ledger_beside(tmp_path, second)
    (tmp_path / "archive.txt").touch()  # whichever command came first
    assert other.path == tmp_path / ".sca" / f"{second}.jsonl"
    assert other.entries() == {}
    other.append(entry)
    assert [ledger_beside(tmp_path, command).path for command in (first, second)] == [ledger.path, other.path]
    assert [stage for stage, _ in stages(tmp_path)] == ["download", "transcode"]


def test_common_ledger_of_an_earlier_version_is_divided(tmp_path):
    Ledger(tmp_path / "ledger.jsonl").settle([VIDEO, FAILED, SOUND, EMPTY])
    assert ledger_beside(tmp_path, "transcode").entries() == {"a.webm": SOUND, "b.webm": EMPTY}
    assert ledger_beside(tmp_path, "download").path == tmp_path / "ledger.jsonl"


def test_killed_download_keeps_its_ledger(tmp_path):
    (tmp_path / ".incomplete").mkdir()
    assert ledger_beside(tmp_path, "transcode").path == tmp_path / ".sca" / "transcode.jsonl"
    assert ledger_beside(tmp_path, "download").path == tmp_path / "ledger.jsonl"


def test_data_set_is_no_folder_for_files(tmp_path):
    claim(tmp_path, CONVERT)
    with pytest.raises(OutputError, match="those of sca convert"):
        ledger_beside(tmp_path, "transcode")
