#!/usr/bin/env python3
"""Draw docs/inspect.png: the page of `sca inspect` for the demo conversation, in Chromium.

    python scripts/make_pictures.py [--output docs/inspect.png]

Needs playwright and Chromium (`scripts/test --prepare`). The picture depends on the fonts of the machine.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from sca.cli.main import app
from sca.resources import demo_corpus

OUT = Path(__file__).resolve().parents[1] / "docs" / "inspect.png"
MAX_BYTES = 150_000
WIDTH, HEIGHT = 1000, 530


def draw(page_file: Path, output: Path) -> None:
    """Write a picture of the upper part of a page."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("make_pictures: no Chromium found; install it with: bash scripts/test --prepare")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(page_file.as_uri())
        page.wait_for_load_state()
        page.screenshot(path=output)
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=OUT)
    output = parser.parse_args().output
    with demo_corpus() as corpus, tempfile.TemporaryDirectory() as folder:
        data, page = Path(folder, "data"), Path(folder, "page.html")
        app(["build-duplex", str(corpus), "--output", str(data), "--quiet"], standalone_mode=False)
        app(["inspect", str(data), "0", "--html", str(page)], standalone_mode=False)
        draw(page, output)
    if output.stat().st_size > MAX_BYTES:
        raise SystemExit(f"make_pictures: {output} has {output.stat().st_size} bytes, more than {MAX_BYTES}")


if __name__ == "__main__":
    main()
