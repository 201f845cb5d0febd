"""Measure `sca browse` with many rows: the index, filters, sorting, distributions, and the page in Chromium.

    python scripts/bench/browse.py [--rows 100000] [--runs 5] [--no-page]

Conditions: one process; the rows of the demo conversation, repeated under other ids and sessions with random lengths;
a warm page cache. `open` is with the index in the cache. Times of the page are seconds until the page has drawn:
`first_paint` from the start of loading in a new tab, `filter` from a click on a name of a distribution, `sort` from a click on a
heading, `scroll` from a jump to the middle of the table. Medians of all runs.

Prints a table, then one JSON line.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from sca.browse.browser import Browser

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def write_rows(root: Path, rows: int) -> None:
    """Build the demo data set, and repeat its rows."""
    import pyarrow as pa

    from sca.config import load_settings
    from sca.data.datasets.arrow import iter_batches
    from sca.data.duplex.build.dataset import build_duplex
    from sca.resources import demo_corpus

    with demo_corpus() as corpus:
        build_duplex(corpus, root, load_settings(overrides={"duplex.model_path": "builtin:qwen"}, env={}))
    (file,) = (root / "train").glob("*.arrow")
    table = pa.Table.from_batches([pa.RecordBatch.from_pydict(b.to_pydict(), b.schema) for b in iter_batches(file)])
    random = np.random.default_rng(0)
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as out:
        for first in range(0, rows, 1000):
            numbers = np.arange(first, min(first + 1000, rows))
            part = table.take(numbers % table.num_rows)
            sessions = [f"S{number // 4:06d}" for number in numbers]
            for name, values in (
                ("session_id", sessions),
                ("row_id", [f"{session}:a>b:{number:06d}" for session, number in zip(sessions, numbers, strict=True)]),
                ("n_chunks", random.integers(20, 250, len(numbers))),
                ("speaker", [f"G{number % 300:04d}" for number in numbers]),
            ):
                at = part.schema.get_field_index(name)
                part = part.set_column(at, part.schema.field(at), pa.array(values, part.schema.field(at).type))
            out.write_table(part.combine_chunks())


def timed(action: Callable[[], object], runs: int) -> float:
    """Return the median of the seconds that an action takes."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return median(times)


def measure_server(root: Path, cache: Path, runs: int) -> "tuple[Browser, dict[str, float]]":
    """Measure what the server does for a request."""
    from sca.browse.app import open_browser
    from sca.browse.messages import Filter, MarkRequest, RowsRequest

    def open_once() -> "Browser":
        return open_browser(str(root), None, root.with_name("drops.jsonl"), cache)

    start = time.perf_counter()
    open_once()
    found = {"first_index_s": time.perf_counter() - start, "open_s": timed(open_once, runs)}
    browser = open_once()
    browser.rows(RowsRequest(filter=Filter(text="warm")))
    some = Filter(ranges={"seconds": (20.0, 40.0)}, choices={"speaker": ["G0001", "G0002", "G0003"]})
    requests: dict[str, Callable[[], object]] = {
        "first_page_s": lambda: browser.rows(RowsRequest()),
        "filter_s": lambda: browser.rows(RowsRequest(filter=some)),
        "text_s": lambda: browser.rows(RowsRequest(filter=Filter(text="the"))),
        "sort_s": lambda: browser.rows(RowsRequest(sort="seconds", descending=True)),
        "sort_names_s": lambda: browser.rows(RowsRequest(sort="speaker")),
        "distributions_s": lambda: browser.histograms(Filter()),
        "filtered_distributions_s": lambda: browser.histograms(some),
        "mark_s": lambda: browser.mark(MarkRequest(rows=["S000000:a>b:000000"], mark="drop")) and browser.undo(),
    }
    return browser, found | {name: timed(action, runs) for name, action in requests.items()}


def measure_page(browser: "Browser", rows: int, runs: int) -> dict[str, float]:
    """Measure the page in Chromium."""
    import uvicorn
    from playwright.sync_api import sync_playwright

    from sca.browse.app import make_app
    from sca.config import load_settings
    from sca.infer.server.app import connection_limits
    from sca.infer.server.transport.uvicorn_server import listen, server_config

    path = shutil.which("chromium")
    assert path, "chromium is missing"
    with listen("127.0.0.1", 0) as listener, sync_playwright() as play:
        settings = load_settings(env={})
        limits = connection_limits(settings.serve, lambda status: None)
        server = uvicorn.Server(server_config(make_app(browser, settings), limits))
        thread = threading.Thread(target=server.run, args=[[listener]])
        thread.start()
        chromium = play.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        times: dict[str, list[float]] = {"first_paint_s": [], "sort_s": [], "scroll_s": [], "filter_s": []}
        for _ in range(runs):
            page = chromium.new_page(viewport={"width": 1400, "height": 900})
            steps = _steps(page, f"http://127.0.0.1:{listener.getsockname()[1]}", rows)
            for name, (action, drawn) in steps.items():
                start = time.perf_counter()
                action()
                page.wait_for_selector(drawn, state="attached")
                times[name].append(time.perf_counter() - start)
            page.close()
        chromium.close()
        server.should_exit = True
        thread.join()
    return {name: median(values) for name, values in times.items()}


def _steps(page: "Page", url: str, rows: int) -> dict[str, tuple[Callable[[], object], str]]:
    """Return what is done in a page, and the selector of what is drawn then."""
    jump = f"document.getElementById('grid').scrollTop = {rows // 2} * 34"
    return {
        "first_paint_s": (lambda: page.goto(url), "html[data-ready]"),
        "sort_s": (lambda: page.click("#head button >> text=Length"), "#head [aria-sort=ascending]"),
        "scroll_s": (lambda: page.evaluate(jump), f"#rows tr[aria-rowindex='{rows // 2 + 2}']:has(td.id)"),
        "filter_s": (lambda: page.click("#plot-speaker .names button >> nth=0"), "#chips button"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--no-page", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sca-bench-") as folder:
        root = Path(folder) / "data"
        write_rows(root, given.rows)
        browser, server = measure_server(root, Path(folder) / "cache", given.runs)
        page = {} if given.no_page else measure_page(browser, given.rows, given.runs)
    for place, values in (("server", server), ("page", page)):
        for name, seconds in values.items():
            print(f"{place:7} {name:26} {seconds:8.3f} s")
    load = os.getloadavg()[0]
    print(json.dumps({"rows": given.rows, "load": round(load, 2), "server": server, "page": page}))


if __name__ == "__main__":
    main()
