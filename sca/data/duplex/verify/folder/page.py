"""Verify that the verdict, numbers, tables and plots of `report.html` are those of the data, and that its links work."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sca.data.duplex.inspect.html import tiles
from sca.data.duplex.inspect.report_page import verdict_html
from sca.data.duplex.report.distributions import plots
from sca.data.duplex.report.survey import Survey
from sca.data.duplex.report.tables import tables
from sca.data.duplex.report.verdict import verdict_of
from sca.textutil import first_line

__all__ = ["page_problems"]

_DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


def page_problems(root: Path, report: Mapping[str, Any], found: Survey) -> Iterator[str]:
    """Yield what is wrong with `report.html`.

    Args:
        root: The data set.
        report: The content of the recomputed report.
        found: What the rows of the data set show.
    """
    try:
        text = (root / "report.html").read_text(encoding="utf-8")
        block = _DATA.search(text)
        data = json.loads(block[1]) if block else {}
        found_tiles = dict(data["tiles"])
        found_plots = {plot["title"]: list(zip(plot["labels"], plot["values"], strict=True)) for plot in data["plots"]}
        found_tables = {table["title"]: table for table in data.get("tables", ())}
        pages = [str(page) for page in data.get("pages", {}).values()]
    except FileNotFoundError:
        yield "report.html is missing"
        return
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield f"report.html cannot be read: {first_line(error)}"
        return
    for label, value in tiles(report):
        # A page of an older version can have fewer numbers, but not other ones.
        if found_tiles.get(label, value) != value:
            yield f"report.html: {label} is {found_tiles[label]}, it should be {value}"
    for table in tables(report, found):
        # A page of an older version can have fewer tables, or other columns, but not other cells.
        before = found_tables.get(table.title)
        wanted = json.loads(json.dumps(asdict(table)))
        if before is not None and before.get("columns") == wanted["columns"] and before != wanted:
            yield f"report.html: the table {table.title!r} has other values than the data"
    if 'id="verdict"' in text and verdict_html(report) not in text:
        yield f"report.html: the verdict is not that of the data, which is: {verdict_of(report).sentence}"
    for page in pages:
        if not (root / page).is_file():
            yield f"report.html: links to {page}, which does not exist; sca inspect --pages writes it"
    for plot in plots(report, found.histograms):
        expected = list(zip(plot.labels, plot.values, strict=True))
        if found_plots.get(plot.title, expected) != expected:
            yield f"report.html: the plot {plot.title!r} has other values than the rows"
