"""The tables of `report.html`: what to look at, and numbers by session, split and sample rate.

A table has a level, as has a cell where a number alone does not show whether it is good. The page shows a level with a
colour, a sign and a word. A cell can name a row or a session: the page links it to its view if there is one, and shows
the command that displays it otherwise.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sca.data.duplex.report.survey import SHOWN_FINDINGS, SHOWN_ROWS, Survey, WorstRow
from sca.data.duplex.report.verdict import BAD_FLAGS, Level
from sca.data.duplex.report.wording import interpolated_share, placement_leak, placement_name, word_times
from sca.textutil import counted
from sca.units import HEARD_HZ, SPOKEN_HZ

__all__ = ["Cell", "Table", "tables"]

_SHOWN_SESSIONS = 20
_REASONS = {
    "speech": "of it, outside the utterances",
    "unintelligible": "of it, marked as unintelligible",
    "past_end": "of it, after the end of the recording",
    "overlap": "of it, several speakers on one channel",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell.

    Attributes:
        text: Its text.
        level: How it is marked.
        target: Id of the row or session to display.
    """

    text: str
    level: Level | None = None
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        title: Its title.
        level: How it is marked; None for numbers that are neither good nor bad.
        note: What it contains, or why it is empty.
        columns: The headings.
        rows: The cells of each row.
    """

    title: str
    level: Level | None
    note: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()


def tables(report: Mapping[str, Any], found: Survey) -> list[Table]:
    """Return the tables of a data set. Numbers that a report of an earlier version does not have are left out.

    Args:
        report: The content of `report.json`.
        found: What its rows show.
    """
    return [
        table
        for table in (
            _findings(report, found),
            _worst_rows(found),
            _placement(report),
            _unlabelled(report),
            _crosstalk(report),
            _text_rate(report),
            _skipped(report),
            _sources(report),
            _splits(report),
        )
        if table is not None
    ]


def _findings(report: Mapping[str, Any], found: Survey) -> Table:
    title, evidence = "Words against sound", report.get("evidence")
    if evidence is None:
        return Table(title, "unknown", "Not measured. sca build-duplex measures it in its next run.")
    findings = evidence["findings"]
    if not findings:
        return Table(title, "ok", f"No finding in {counted(len(evidence['tracks']), 'track')}.")
    rows = tuple(
        (
            Cell(finding["kind"].replace("_", " "), "look"),
            Cell(" ".join(filter(None, (finding["session"], finding["speaker"])))),
            Cell(f"{finding['at_s']:.2f}\u00a0s"),
            Cell(finding["message"]),
            Cell("", target=found.rows_of_findings.get(number, finding["session"])),
        )
        for number, finding in enumerate(findings[:SHOWN_FINDINGS])
    )
    note = f"{counted(len(findings), 'finding')}, the worst first. {_more(len(findings), SHOWN_FINDINGS)}".strip()
    return Table(title, "look", note, ("finding", "session, speaker", "at", "what was found", "show"), rows)


def _worst_rows(found: Survey) -> Table:
    title = "Rows to look at"
    if not found.worst:
        return Table(title, "ok", "No row has a late token, or a cut that is not in silence.")
    rows = tuple(
        (
            Cell(row.row_id),
            Cell(f"{row.seconds:.2f}\u00a0s"),
            Cell(f"{row.late_s:.2f} s" if row.late_s else "in time", "look" if "lag" in row.flags else None),
            Cell(", ".join(row.flags) or "none", "look" if _is_bad(row) else None),
            Cell("", target=row.row_id),
        )
        for row in found.worst
    )
    level: Level = "look" if any(map(_is_bad, found.worst)) else "ok"
    note = (
        f"The rows with the latest tokens and the worst cuts, at most {SHOWN_ROWS}. "
        f"sca inspect DATA --pages {SHOWN_ROWS} links them to pages with audio."
    )
    return Table(title, level, note, ("row", "length", "latest token", "flags", "show"), rows)


def _is_bad(row: WorstRow) -> bool:
    return any(flag in BAD_FLAGS for flag in row.flags)


def _placement(report: Mapping[str, Any]) -> Table:
    placement, leak, share = report["placement"], report["leak"], interpolated_share(report["align_source"])
    times = word_times(share)
    error = f"{placement['mean_error_s']:.3f} s mean, {placement['p95_error_s']:.2f} s p95"
    extremes = f"{placement['max_late_s']:.2f} s late, {placement['max_early_s']:.2f} s early"
    leaked = placement_leak(counted(leak["placement_tokens"], "token"), share)
    known: Level = "broken" if leak["placement_tokens"] else "unknown" if share else "ok"
    lagged = f"{counted(leak['lagged_tokens'], 'token')}, {leak['lagged_s']:.2f} s in all"
    rows = (
        (Cell(placement_name(share)), Cell(error)),
        (Cell("at most"), Cell(extremes)),
        *([(Cell("error of the word times"), Cell(times, "unknown"))] if times else []),
        (Cell("leak, by placement"), Cell(leaked, known)),
        (Cell("tokens that lag past the onset of their word"), Cell(lagged)),
    )
    return Table("Placement of tokens", known, "Text tokens against the chunk of their word.", ("what", "found"), rows)


def _unlabelled(report: Mapping[str, Any]) -> Table | None:
    found = report.get("unlabelled")
    if found is None:
        return None
    title = "Unlabelled speech"
    if not (found["speech_s"] or found["chunks"]):
        return Table(title, "ok", "None: no chunk is without labels.")
    rows = (
        (Cell("speech without words"), Cell(f"{found['speech_s']:.2f} s")),
        *(
            (Cell(_REASONS.get(reason, reason)), Cell(f"{seconds:.2f} s"))
            for reason, seconds in found["by_reason"].items()
        ),
        (Cell("chunks without labels"), Cell(f"{found['chunks']} ({found['chunks_s']:.2f} s)")),
    )
    note = "Words that are not known, so silence is not taught there. Segments left out count as chunks only."
    return Table(title, None, note, ("what", "found"), rows)


def _crosstalk(report: Mapping[str, Any]) -> Table | None:
    bleed, duplex = report["bleed"], report["made_with"]["duplex"]
    sessions = bleed.get("sessions")
    if sessions is None:
        return None
    title, limit, gated = "Cross-talk by session", duplex["max_bleed"], duplex["on_bleed"] == "gate"
    if not sessions:
        return Table(title, "ok", f"None in {bleed['tried_s']:.1f} s in which one speaker speaks alone.")
    shown: list[tuple[Mapping[str, Any], Level]] = [
        (one, "look" if one["share"] > limit and not gated else "ok") for one in sessions[:_SHOWN_SESSIONS]
    ]
    rows = tuple(
        (
            Cell(one["session"]),
            Cell(f"{one['share']:.1%}", level),
            Cell(f"{one['bleed_s']:.1f} s of {one['tried_s']:.1f}\u00a0s"),
            Cell(f"{one['gated_s']:.1f}\u00a0s"),
            Cell("", target=one["session"]),
        )
        for one, level in shown
    )
    note = (
        f"In {len(sessions)} of {counted(report['sessions']['kept'], 'session')}; the limit is {limit:.0%} of the solo speech. "
        f"{_more(len(sessions), _SHOWN_SESSIONS)}"
    ).strip()
    worst: Level = "look" if any(level == "look" for _, level in shown) else "ok"
    return Table(title, worst, note, ("session", "share", "cross-talk", "silenced", "show"), rows)


def _text_rate(report: Mapping[str, Any]) -> Table | None:
    rate = report.get("text_rate")
    if rate is None:
        return None
    level: Level = "ok" if rate["sufficient"] else "look"
    used, advised = report["made_with"]["duplex"]["text_tokens_per_chunk"], rate["advised_tokens_per_chunk"]
    advice = (
        "no number prevents late tokens: check the word times"
        if advised is None
        else f"--text-tokens {advised} (or auto)"
    )
    rows = [
        (Cell("tokens per second of speech"), Cell(f"{rate['tokens_a_second']:.2f}", level)),
        (Cell(f"room for, with {counted(used, 'token')} per chunk"), Cell(f"{rate['room_a_second']:.2f}")),
        (Cell("tokens that are late"), Cell(f"{rate['late_share']:.1%}", level)),
        *([] if rate["sufficient"] else [(Cell("use"), Cell(advice))]),
    ]
    return Table(
        "Room for the text",
        level,
        "Text tokens per second of speech against the room of the grid.",
        ("what", "found"),
        tuple(rows),
    )


def _skipped(report: Mapping[str, Any]) -> Table:
    title, skipped, first = "Skipped lines and files", report["skipped"], report.get("skipped_first", [])
    if not skipped:
        return Table(title, "ok", "None.")
    note = f"{counted(skipped, 'line or file', 'lines or files')}; ledger.jsonl has all of a session with the reasons."
    return Table(title, None, note, ("the first of them",), tuple((Cell(line),) for line in first))


def _sources(report: Mapping[str, Any]) -> Table | None:
    sources = report.get("sources")
    if sources is None:
        return None
    rows = tuple(
        (Cell(f"{int(rate):,} Hz"), Cell(str(count)), _resampled(int(rate), HEARD_HZ), _resampled(int(rate), SPOKEN_HZ))
        for rate, count in sources["rates"].items()
    )
    note = "Audio that is resampled up has no more bandwidth than its recording."
    columns = ("sample rate", "recordings", "heard, 16 kHz", "spoken, 24 kHz")
    return Table("Sample rates of the recordings", None, note, columns, rows)


def _resampled(rate: int, target: int) -> Cell:
    if rate == target:
        return Cell("as recorded")
    return Cell("resampled up" if rate < target else "resampled down")


def _splits(report: Mapping[str, Any]) -> Table | None:
    splits = report.get("by_split")
    if splits is None:
        return None
    columns = (
        *("split", "rows", "hours", "sessions", "speakers", "mean error", "latest token", "silent chunks"),
        "word times from",
    )
    return Table("Splits", None, "No speaker is in two splits.", columns, tuple(_split_rows(splits)))


def _split_rows(splits: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[Cell, ...]]:
    for name, split in splits.items():
        sources = ", ".join(f"{source} {count}" for source, count in split["align_source"].items()) or "none"
        values: Sequence[str] = (
            *(name, str(split["rows"]), f"{split['hours']:.2f}", str(split["sessions"]), str(split["speakers"])),
            *(
                f"{split['mean_error_s']:.3f} s",
                f"{split['max_late_s']:.2f} s",
                f"{split['silent_share']:.1%}",
                sources,
            ),
        )
        yield tuple(map(Cell, values))


def _more(count: int, shown: int) -> str:
    return f"{count - shown} more are in report.json." if count > shown else ""
