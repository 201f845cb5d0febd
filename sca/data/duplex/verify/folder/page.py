"""Verify that the numbers and plots of `report.html` are those of the data."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sca.data.duplex.inspect.html import tiles
from sca.data.duplex.report.distributions import Plot
from sca.textutil import first_line

__all__ = ["page_problems"]

_DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


def page_problems(root: Path, report: Mapping[str, Any], plots: list[Plot]) -> Iterator[str]:
    """Yield what is wrong with `report.html`.

    Args:
        root: The data set.
        report: The content of the recomputed report.
        plots: The plots of the data set.
    """
    try:
        text = (root / "report.html").read_text(encoding="utf-8")
        block = _DATA.search(text)
        data = json.loads(block[1]) if block else {}
        found_tiles = dict(data["tiles"])
        found_plots = {plot["title"]: list(zip(plot["labels"], plot["values"], strict=True)) for plot in data["plots"]}
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
    for plot in plots:
        expected = list(zip(plot.labels, plot.values, strict=True))
        if found_plots.get(plot.title, expected) != expected:
            yield f"report.html: the plot {plot.title!r} has other values than the rows"
