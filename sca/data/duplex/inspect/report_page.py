"""Write `report.html`: the verdict, what to look at, and the numbers and distributions of a data set."""

import html
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sca.data.duplex.inspect.html import tiles, write_frame
from sca.data.duplex.inspect.page_files import present_pages, remove_outdated_pages
from sca.data.duplex.report.distributions import plots
from sca.data.duplex.report.survey import Survey
from sca.data.duplex.report.tables import tables
from sca.data.duplex.report.verdict import verdict_of
from sca.data.duplex.report.wording import interpolated_share, repairs_made, word_times

__all__ = ["NAME", "verdict_html", "write_report_page"]

NAME = "report.html"

_WORDS = {"ok": ("✓", "ok"), "look": ("▲", "look here"), "broken": ("✗", "broken"), "unknown": ("?", "not known")}


def write_report_page(root: Path, report: Mapping[str, Any], found: Survey) -> int:
    """Write the page and return its size in bytes. It links the pages of rows that exist in the folder `inspect`.

    Args:
        root: The data set.
        report: The content of `report.json`.
        found: What its rows show.
    """
    remove_outdated_pages(root, report)
    data: dict[str, object] = {
        "tiles": tiles(report),
        "plots": [asdict(plot) for plot in plots(report, found.histograms)],
        "tables": [asdict(table) for table in tables(report, found)],
        "pages": present_pages(root, report),
        "view": None,
    }
    times = word_times(interpolated_share(report["align_source"]))
    notes = [f"Word times: {times}"] * bool(times) + [made for made in (repairs_made(report),) if made]
    subtitle = verdict_html(report) + "".join(f'<p class="soft">{html.escape(note)}.</p>' for note in notes)
    body = (
        '<p class="soft" id="browse" hidden>All rows with filters and sound: <code></code></p><div id="tables"></div>'
    )
    return write_frame(root / NAME, "A full-duplex data set", subtitle, data, body)


def verdict_html(report: Mapping[str, Any]) -> str:
    """Return the verdict about a report as HTML, so that the page shows it without its script too."""
    verdict = verdict_of(report)
    sign, word = _WORDS[verdict.level]
    mark = f'<strong class="mark {verdict.level}"><span aria-hidden="true">{sign}</span> {word}</strong>'
    return f'<p class="verdict {verdict.level}" id="verdict">{mark} <span dir="auto">{html.escape(verdict.sentence)}</span></p>'
