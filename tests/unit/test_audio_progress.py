"""What a run shows of its progress without a terminal."""

from sca.cli.shared.progress import AudioProgress
from sca.data.runs.ledger import LedgerEntry
from sca.data.runs.summary import Outcome


def ended(item, audio_s):
    return Outcome(LedgerEntry(item, "key", "kept"), audio_s)


def test_last_line_has_the_length_that_was_made(capsys):
    """The length before is an estimate."""
    progress = AudioProgress("conversations", None, quiet=False)
    progress.on_start(4, 2, 144.0)
    progress.on_item_end(ended("a", 36.0))
    progress.on_item_end(ended("b", 36.0))
    assert "conversations: 2 of 2 done (b), 0.02 of 0.02 h of audio" in capsys.readouterr().err


def test_run_that_starts_again_counts_all_items(capsys):
    """As `sca synth --hours` does, until there is enough."""
    progress = AudioProgress("conversations", None, quiet=False)
    progress.on_start(1, 1, 100.0)
    progress.on_item_end(ended("a", 36.0))
    progress.on_start(2, 1, 100.0)
    progress.on_item_end(ended("b", 36.0))
    first, last = capsys.readouterr().err.splitlines()
    assert "1 of 1 done (a), 0.01 of 0.01 h" in first
    assert "2 of 2 done (b), 0.02 of 0.02 h" in last


def test_unknown_lengths_are_not_a_total(capsys):
    progress = AudioProgress("files", None, quiet=False)
    progress.on_start(1, 1, 0.0)
    progress.on_item_end(ended("a", 36.0))
    assert "1 of 1 done (a), 0.01 h of audio" in capsys.readouterr().err
