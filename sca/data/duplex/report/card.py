"""The dataset card (`README.md`) of a duplex data set and of its exports."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sca.data.datasets.card import CardConfig, hub_configs, save_readme
from sca.data.duplex.report.verdict import verdict_of, words_against_sound
from sca.data.duplex.report.wording import (
    interpolated_share,
    placement_leak,
    placement_name,
    repairs_made,
    unlabelled_text,
    word_times,
)
from sca.textutil import counted

__all__ = ["arrow_configs", "arrow_opening", "card_body", "write_duplex_card"]

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
    share = interpolated_share(report["align_source"])
    leak = placement_leak(counted(report["leak"]["placement_tokens"], "token"), share)
    chunk_s = frames / audio["frame_hz"]
    conversations, rows = counted(sessions["kept"], "conversation"), counted(report["rows"], "training row")
    placeholders, tokens = counted(frames, "placeholder"), counted(text, "token")
    repairs = f"\n| repairs | {made.replace('|', ' ')} |" if (made := repairs_made(report)) else ""
    error = f"{placement['mean_error_s']:.3f} / {placement['p95_error_s']:.2f} / {placement['max_late_s']:.2f} s"
    return f"""
# Full-duplex conversations

{conversations}, {sessions["hours"]:.2f} hours, {rows}. Each row is a part of a
conversation from one side: the other side is heard (16 kHz), this side is spoken (24 kHz), on a grid of {chunk_s:g} s.
Per chunk `input_ids` contains {placeholders} for audio tokens, then one silence token or {tokens} of text.

{_verdict_line(report)}

{opening.strip()}

## Verification

| | |
|---|---|
| tokenizer | `{report["made_with"]["tokenizer"]["name"]}` |
| words in rows | {coverage["words_in_rows"]} of {coverage["words"]} |
| words against sound | {words_against_sound(report)} |{repairs}
| tokens, dropped or left out | {placement["tokens"]}, {coverage["tokens_dropped"] + coverage["tokens_dropped_on_request"]} |
| unlabelled speech | {unlabelled_text(report)} |
| {placement_name(share)}, mean / p95 / latest | {error} |
| leak, by placement | {leak} |
| segments | {kinds} |
| word times from | {sources} |
| silent chunks | {report["chunks"]["silent_share"]:.1%} |
{_more_rows(report)}
All numbers are in `report.json`. `sca verify` recomputes them from the files.

## Before sharing

The recordings and words are those of the corpus that this data set was made from: its licence and the consent of its
speakers apply. Add `license:` and `language:` to the lines at the top.
"""


def _verdict_line(report: Mapping[str, Any]) -> str:
    verdict = verdict_of(report)
    word = {"ok": "ok", "look": "look here", "broken": "broken", "unknown": "not known"}[verdict.level]
    return f"**{word}**: {verdict.sentence}"


def _more_rows(report: Mapping[str, Any]) -> str:
    """Return the rows of the table that reports of earlier versions do not have."""
    rows = {"error of the word times": word_times(interpolated_share(report["align_source"]))}
    bleed, sources, rate = report["bleed"], report.get("sources"), report.get("text_rate")
    if (sessions := bleed.get("sessions")) is not None:
        rows["sessions with cross-talk"] = f"{len(sessions)}, {bleed['share']:.1%} of the solo speech"
    if rate is not None:
        rows["tokens per second of speech"] = f"{rate['tokens_a_second']:.2f}, room for {rate['room_a_second']:.2f}"
    if sources is not None:
        rates = ", ".join(f"{hz} Hz {count}" for hz, count in sources["rates"].items())
        rows["recordings by sample rate"] = f"{rates}; {sources['upsampled_spoken']} resampled up to 24 kHz"
    rows["skipped lines and files"] = str(report["skipped"])
    splits = report.get("by_split") or {}
    for name, split in splits.items() if len(splits) > 1 else ():
        rows[f"split {name}"] = (
            f"{counted(split['rows'], 'row')}, {split['hours']:.2f} h, {counted(split['sessions'], 'session')}, "
            f"{counted(split['speakers'], 'speaker')}, {split['mean_error_s']:.3f} s mean error"
        )
    return "".join(f"| {label} | {value} |\n" for label, value in rows.items() if value)
