"""The dataset card (`README.md`) of a duplex data set and of its exports."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sca.data.datasets.card import CardConfig, hub_configs, save_readme
from sca.textutil import counted

__all__ = ["arrow_configs", "arrow_opening", "card_body", "verdict", "write_duplex_card"]

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def arrow_configs(splits: Sequence[str]) -> list[CardConfig]:
    """Return the tables of the folder that `sca build-duplex` writes."""
    return [
        CardConfig("default", {split: f"{split}/*.arrow" for split in splits}, default=True),
        CardConfig("storage", {"storage": "storage/*.arrow"}),
    ]


def arrow_opening() -> str:
    """Return the Markdown that shows how to open the folder that `sca build-duplex` writes."""
    return """
```python
import datasets

rows = datasets.load_dataset("PATH")  # splits of rows
storage = datasets.load_dataset("PATH", "storage")  # audio and words, one record per speaker of a conversation
both = datasets.load_from_disk("PATH")  # the same, mapped from the local folder
```

With sca installed, `sca.load("PATH")` returns the rows with their audio, and `sca verify PATH` verifies them.
"""


def verdict(report: Mapping[str, Any]) -> str:
    """Return the verdict about words and sound in the content of a `report.json`."""
    evidence = report.get("evidence")
    if evidence is None:
        return "not measured"
    found = evidence["findings"]
    return f"look here: {counted(len(found), 'place')}" if found else "ok"


def write_duplex_card(root: Path, report: Mapping[str, Any], configs: Sequence[CardConfig], opening: str) -> None:
    """Write `README.md`. It does not contain the name of the folder, so the same data gives the same card.

    Args:
        root: The data set or export.
        report: The content of `report.json`.
        configs: The tables that `datasets.load_dataset` can open.
        opening: How to open the data, in Markdown.
    """
    from huggingface_hub import DatasetCardData

    metadata = DatasetCardData(
        pretty_name="Full-duplex conversations",
        task_categories=["automatic-speech-recognition", "text-to-speech"],
        tags=["full-duplex", "spoken-dialogue", "audio", "sca"],
        size_categories=[next((name for most, name in _SIZES if report["rows"] < most), "n>1M")],
        configs=hub_configs(configs) or None,
    )
    save_readme(root, metadata, card_body(report, opening).lstrip())


def card_body(report: Mapping[str, Any], opening: str) -> str:
    """Return the text of the card below its metadata.

    Args:
        report: The report of the data set.
        opening: The first paragraph.
    """
    sessions, placement, coverage = report["sessions"], report["placement"], report["coverage"]
    duplex, audio = report["made_with"]["duplex"], report["made_with"]["audio"]
    frames, text = audio["frames_per_chunk"], duplex["text_tokens_per_chunk"]
    kinds = ", ".join(counted(count, kind) for kind, count in sorted(report["segments"].items())) or "none"
    sources = ", ".join(f"{name} {count}" for name, count in sorted(report["align_source"].items())) or "none"
    # Interpolated times are estimates, so the distance to them is not an error against the sound.
    measured = "placement against the times used" if report["align_source"].get("interpolated") else "token-time error"
    chunk_s = frames / audio["frame_hz"]
    conversations, rows = counted(sessions["kept"], "conversation"), counted(report["rows"], "training row")
    placeholders, tokens = counted(frames, "placeholder"), counted(text, "token")
    error = f"{placement['mean_error_s']:.3f} / {placement['p95_error_s']:.2f} / {placement['max_late_s']:.2f} s"
    return f"""
# Full-duplex conversations

{conversations}, {sessions["hours"]:.2f} hours, {rows}. Each row is a part of a
conversation from one side: the other side is heard (16 kHz), this side is spoken (24 kHz), on a grid of {chunk_s:g} s.
Per chunk `input_ids` contains {placeholders} for audio tokens, then one silence token or {tokens} of text.

{opening.strip()}

## Verification

| | |
|---|---|
| tokenizer | `{report["made_with"]["tokenizer"]["name"]}` |
| words in rows | {coverage["words_in_rows"]} of {coverage["words"]} |
| words against sound | {verdict(report)} |
| tokens, dropped | {placement["tokens"]}, {coverage["tokens_dropped"]} |
| {measured}, mean / p95 / latest | {error} |
| segments | {kinds} |
| word times from | {sources} |
| silent chunks | {report["chunks"]["silent_share"]:.1%} |

All numbers are in `report.json`. `sca verify` recomputes them from the files.

## Before sharing

The recordings and words are those of the corpus that this data set was made from: its licence and the consent of its
speakers apply. Add `license:` and `language:` to the lines at the top.
"""
